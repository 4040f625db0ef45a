"""What the Envoy of a shared listener is told: Envoy itself checks each file."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from beamlit_controller.api.addresses import Address
from beamlit_controller.api.settings import SharedListener, SharedRoute
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.envoy import command, shared_listener
from beamlit_controller.envoy.gateway_params import GatewayParams

LLAMA, EMBED, MAIN = ModelKey("default", "llama"), ModelKey("default", "embed"), ModelKey("listener", "main")


def rendered(directory: Path, *routes: SharedRoute) -> dict[str, str]:
    shared = SharedListener(Address("127.0.0.1", 8088), routes)
    params = GatewayParams(
        node=str(MAIN),
        directory=str(directory),
        front="127.0.0.1:8088",
        stats="127.0.0.1:0",
        admin="unix:admin.sock",
        shares="unix:shares.sock",
    )
    gateways = {LLAMA: "0.0.0.0:8080", EMBED: "[::1]:8082"}
    return shared_listener.files(MAIN, shared, params, gateways=gateways)


def resources(files: dict[str, str], name: str) -> list[dict[str, Any]]:
    return list(json.loads(files[name])["resources"])


def test_gateways_are_reached_where_they_listen_and_one_of_all_addresses_at_loopback(tmp_path: Path) -> None:
    clusters = resources(rendered(tmp_path, SharedRoute(LLAMA, model="a"), SharedRoute(EMBED)), "cds.json")

    endpoints = [each["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"] for each in clusters]
    assert [each["address"]["socket_address"]["address"] for each in endpoints] == ["::1", "127.0.0.1"]


def test_without_routes_by_model_no_body_is_read_and_no_list_of_models_is_told(tmp_path: Path) -> None:
    files = rendered(tmp_path, SharedRoute(LLAMA, path_prefix="/llama"), SharedRoute(EMBED))

    (table,) = resources(files, "rds-front.json")
    assert "lua" not in files["lds.json"]
    assert [route["name"] for route in table["virtual_hosts"][0]["routes"]] == [
        "probe",
        "probe",
        "shared",
        "shared",
        "nobody",
    ]


@pytest.mark.system
def test_envoy_takes_the_files(tmp_path: Path) -> None:
    routes = (
        SharedRoute(LLAMA, model='a"\\ö]]', path_prefix="/a.(b", strip_prefix=True),
        SharedRoute(EMBED, host="::1", header=("x-team", "se%arch")),
        SharedRoute(EMBED),
    )
    for name, text in rendered(tmp_path, *routes).items():
        (tmp_path / name).write_text(text)

    words = [*command.command(tmp_path, concurrency=1), "--mode", "validate"]
    said = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert said.returncode == 0, said.stderr
