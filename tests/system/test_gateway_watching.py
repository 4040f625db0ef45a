"""What a gateway tells of itself, to whom, and what it does not tell."""

import json
import stat
from pathlib import Path

import psutil
import pytest

import builders
from beamlit_controller.core.spec import ModelKey
from fakes import client
from fakes.gateway import free_port, gateway, to
from fakes.upstream import Exchange, upstream

pytestmark = pytest.mark.system


async def test_the_access_log_tells_where_each_request_went_and_why_and_no_secret(tmp_path: Path) -> None:
    secrets = (
        ("authorization", "Bearer hush"),
        ("cookie", "hush"),
        ("x-api-key", "hush"),
        ("x-request-id", "request-1"),
    )
    async with (
        upstream("local") as local,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local]) as gate,
    ):
        await client.ask(gate.front, "/v1/completions?key=hush", headers=secrets)
        await gate.offload(100)
        await client.ask(gate.front, "/v1/completions")
        await client.ask(gate.front, "/metrics")
        await remote.stop()
        await client.ask(gate.front, "/v1/completions")
        await gate.offload(0)
        await remote.start()
        await local.stop()
        await client.ask(gate.front, "/v1/completions")
        requests = [line for line in await gate.log(6) if "remote_failure" not in line]
        text = (tmp_path / "access.log").read_text()

    assert [(line["side"], line["route"], line["reason"], line["attempts"]) for line in requests] == [
        ("local", "local", "local", 1),
        ("remote", "share", "share", 1),
        ("local", "keep", "kept", 1),
        ("local", "share", "remote-failed", 2),
        ("remote", "local", "unavailable", 2),
    ]
    assert "hush" not in text
    first = requests[0]
    assert first["upstream"] == local.address
    assert {key: first[key] for key in ("request_id", "method", "path", "protocol", "code", "bytes_sent", "flags")} == {
        "request_id": "request-1",
        "method": "POST",
        "path": "/v1/completions",
        "protocol": "HTTP/1.1",
        "code": 200,
        "bytes_sent": len(b"local"),
        "flags": "-",
    }


async def test_counts_every_request_by_side_route_and_code(tmp_path: Path) -> None:
    async def busy(exchange: Exchange) -> None:
        await exchange.respond(status="429 Too Many Requests")

    async with (
        upstream("local", busy) as local,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], access_log="") as gate,
    ):
        for _ in range(3):
            await client.ask(gate.front)
        await gate.offload(100)
        for _ in range(2):
            await client.ask(gate.front)
        await client.ask(gate.front, "/metrics")
        counted = await gate.requests()
        page = (await client.get(gate.params.stats, "/stats/prometheus")).body.content.decode()

    assert counted == {
        ("local", "local", "429"): 3,
        ("remote", "share", "200"): 2,
        ("local", "keep", "429"): 1,
    }
    assert 'envoy_offload_request_ms_count{side="local"} 4' in page
    assert 'envoy_offload_first_byte_ms_count{side="remote"} 2' in page
    assert not (tmp_path / "access.log").exists()


async def test_probes_are_not_counted_and_no_client_can_pass_for_one(tmp_path: Path) -> None:
    async with (
        upstream("local") as local,
        gateway(builders.spec(), tmp_path, local=[local]) as gate,
    ):
        probe = await client.get(gate.front, "/-/offload/ready", headers=(("x-offload-probe", gate.params.node),))
        other = await client.get(gate.front, "/-/offload/ready", headers=(("x-offload-probe", "another"),))
        disguised = await client.ask(gate.front, "/v1/models", headers=(("x-offload-probe", gate.params.node),))
        unmarked = await client.get(gate.front, "/-/offload/ready")
        counted = await gate.requests()
        lines = await gate.log(2)

    assert (probe.body.content, probe.header("x-offload-served-by")) == (b"ready\n", None)
    assert other.line[1] == "503"
    assert (disguised.body.content, unmarked.body.content) == (b"local", b"local")
    assert not any(request.header("x-offload-probe") for request in local.requests)
    assert counted == {("local", "local", "200"): 2}
    assert [line["path"] for line in lines] == ["/v1/models", "/-/offload/ready"]


async def test_no_client_hides_a_refused_request_from_log_and_counters(tmp_path: Path) -> None:
    headers = (("x-offload-probe", "q"), ("connection", "upgrade"), ("upgrade", "odd"), ("content-length", "0"))
    async with upstream("local") as local, gateway(builders.spec(), tmp_path, local=[local]) as gate:
        async with client.connect(gate.front) as asker:
            await asker.send_head("POST /v1/chat HTTP/1.1", headers)
            refused = await asker.head()
        counted = await gate.requests()
        [line] = await gate.log(1)

    assert refused.line[1] == "403"
    assert (line["path"], line["code"]) == ("/v1/chat", 403)
    assert sum(counted.values()) == 1


async def test_nothing_of_a_stranger_passes_the_listener_for_figures(tmp_path: Path) -> None:
    headers = (("authorization", "Bearer mine"), ("x-envoy-upstream-alt-stat-name", "odd"), ("cookie", "a=b"))
    async with upstream("local") as local, gateway(builders.spec(), tmp_path, local=[local]) as gate:
        reached = await client.get(gate.params.stats, "/-/offload/reach", headers=headers)
        with_query = await client.get(gate.params.stats, "/-/offload/reach?a=b", headers=headers)
        [request] = local.requests

    assert (reached.line[1], with_query.line[1]) == ("200", "404")
    assert reached.header("x-envoy-upstream-service-time") is not None
    assert request.line[1] == "/"
    assert {name for name, _ in request.headers}.isdisjoint({name for name, _ in headers})


async def test_strangers_may_read_the_figures_and_nothing_else(tmp_path: Path) -> None:
    async with (
        upstream("local") as local,
        gateway(builders.spec(), tmp_path, local=[local]) as gate,
    ):
        allowed = [await _status(gate.params.stats, "GET", path) for path in ("/ready", "/stats/prometheus")]
        paths = (
            "/",
            "/help",
            "/stats",
            "/config_dump",
            "/quitquitquit",
            "/runtime_modify?a=b",
            "/stats/prometheus/",
        )
        tricks = ("/stats/prometheus/../../quitquitquit", "//quitquitquit", "/ready/../quitquitquit")
        refused = [await _status(gate.params.stats, "GET", path) for path in (*paths, *tricks)]
        posted = [await _status(gate.params.stats, "POST", path) for path in ("/ready", "/stats/prometheus", *paths)]
        still_there = await _status(gate.front, "GET", "/")

    assert allowed == ["200", "200"]
    assert {*refused, *posted} == {"404"}
    assert still_there == "200"


async def test_the_admin_interface_is_on_no_network(tmp_path: Path) -> None:
    async with gateway(builders.spec(), tmp_path, share=None) as gate:
        listening = {
            connection.laddr.port
            for connection in psutil.Process(gate.process.pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        listeners = await gate.admin("/listeners")
        mode = stat.S_IMODE((tmp_path / "admin.sock").stat().st_mode)

    assert listening == {int(address.rpartition(":")[2]) for address in (gate.params.front, gate.params.stats)}
    assert "front" in listeners
    assert mode == 0o600


async def test_is_not_ready_while_another_has_its_port(tmp_path: Path) -> None:
    port = f"127.0.0.1:{free_port()}"
    async with upstream("local") as local:
        (tmp_path / "first").mkdir()
        (tmp_path / "second").mkdir()
        other = builders.spec(key=ModelKey("models", "other"))
        async with gateway(builders.spec(), tmp_path / "first", local=[local], front=port) as first:
            with pytest.raises(AssertionError, match="the gateway is ready"):
                async with gateway(other, tmp_path / "second", local=[], front=port, wait=1):
                    pass
            answer = await client.ask(first.front)

    assert answer.body.content == b"local"


async def test_can_listen_on_whatever_ports_are_free(tmp_path: Path) -> None:
    async with (
        upstream("local") as local,
        gateway(builders.spec(), tmp_path, local=[local], front="127.0.0.1:0") as gate,
    ):
        statuses = json.loads(await gate.admin("/listeners?format=json"))["listener_statuses"]
        ports = {status["name"]: status["local_address"]["socket_address"]["port_value"] for status in statuses}
        answer = await client.ask(f"127.0.0.1:{ports['front']}")

    assert answer.body.content == b"local"


async def _status(address: str, method: str, path: str) -> str:
    return (await client.get(address, path, method=method)).line[1]
