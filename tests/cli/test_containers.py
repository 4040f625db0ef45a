"""The commands that containers run: what is said when they can't."""

import os
import subprocess
from pathlib import Path

import pytest

from beamlit_controller.cli import cluster
from fakes import commands

pytestmark = pytest.mark.system  # each starts a process


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KUBECONFIG": "/nowhere/config"}
    return commands.typed(*arguments, environment=environment)


def test_without_a_way_to_the_api_server_it_says_so(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("config: {}\n")

    done = run(
        "cluster",
        f"--settings={settings}",
        "--shares-address=a.b.svc:1",
        "--gateway-image=x",
        "--web-listen=127.0.0.1:0",
    )

    assert done.returncode == 1
    assert "beamlit-controller: can't connect to the API server" in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_with_a_mistake_are_refused_with_the_field(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("config: {metricInformer: {typ: prometheus}}\n")

    done = run("cluster", f"--settings={settings}", "--shares-address=a.b.svc:1", "--gateway-image=x")

    assert done.returncode == 1
    assert "config.metricInformer.typ" in done.stderr


def test_to_release_without_a_way_to_the_api_server_is_an_error_too() -> None:
    done = run("release", "--namespace=somewhere")

    assert done.returncode == 1
    assert "can't connect to the API server" in done.stderr


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{namespaces: [models], gateway: {tolerations: [{}]}}", "can't connect to the API server"),
        ("{namespaces: [Models]}", "config.namespaces has to be known"),
        ("[]", "config.namespaces has to be known"),
        ("{", "config.namespaces has to be known"),
    ],
)
def test_to_release_of_the_settings_only_the_namespaces_have_to_be_right(
    tmp_path: Path, config: str, said: str
) -> None:
    """After an upgrade to values that the controller refuses, it could not be uninstalled either."""
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"config: {config}\n")

    done = run("release", f"--settings={settings}")

    assert done.returncode == 1
    assert f"{settings}: " in done.stderr
    assert said in done.stderr


def test_a_gateway_that_is_not_there_is_drained_at_once(tmp_path: Path) -> None:
    done = run("drain", f"--admin={tmp_path / 'admin.sock'}")

    assert done.returncode == 0
    assert "gateway not drained" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("search models.svc.example.org svc.example.org example.org\nnameserver 10.0.0.1\n", "example.org"),
        ("nameserver 10.0.0.1\nsearch lan\n", "cluster.local"),
        ("", "cluster.local"),
    ],
    ids=["in a pod", "elsewhere", "empty"],
)
def test_the_clusters_domain_is_what_pods_search(tmp_path: Path, text: str, domain: str) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(text)

    assert cluster._domain(file) == domain  # noqa: SLF001 - no command prints it
