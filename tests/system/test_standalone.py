"""The whole product on one machine: the command as users run it, real Envoys, a real Prometheus, real sockets."""

import asyncio
import os
import signal
import time
from typing import Any

import httpx2
import pytest

from fakes import client, http, load
from fakes.controller import Controller, controller
from fakes.model_server import model_server
from fakes.prometheus import prometheus
from fakes.upstream import Exchange, Upstream, upstream
from waiting import eventually

pytestmark = pytest.mark.system

QUEUE = "vllm:num_requests_waiting"
RESTARTS = 4


def manifest(remote: str, metric: dict[str, Any], *, direct: bool = False) -> dict[str, Any]:
    """Return a model that offloads half, and takes it back after a second of low demand."""
    behavior = {"percentage": 50, "release": {"stabilizationWindowSeconds": 1}}
    spec = {
        "serviceRef": {"name": "llama", "targetPort": 8000},
        "offloadingConfig": {
            "remoteBackend": {"scheme": "http", "host": remote},
            "behavior": behavior,
            "metrics": [metric],
        },
    }
    if direct:
        spec["metricServiceRef"] = {"name": "llama", "targetPort": 8000}
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "llama"},
        "spec": spec,
    }


def external(name: str, **fields: object) -> dict[str, Any]:
    return {
        "type": "External",
        "external": {"metric": {"name": name, **fields}, "target": {"type": "Value", "value": 10}},
    }


WAITING = {
    "type": "Pods",
    "pods": {"metric": {"name": QUEUE}, "target": {"type": "AverageValue", "averageValue": 10}},
}
# As the users' page has it: the target stands below `metric`.
NESTED = {
    "type": "External",
    "external": {
        "metric": {
            "name": "my_custom_metric_in_prom",
            "selector": {"matchLabels": {"my_label": "value"}},
            "target": {"type": "Value", "value": 10},
        }
    },
}


async def served(running: Controller, side: str) -> bool:
    answer = await client.ask(running.front, "/")
    return answer.header(load.SERVED_BY) == side


@pytest.mark.parametrize(
    ("series", "metric"),
    [
        ('my_custom_metric_in_prom{my_label="value"}', NESTED),
        (
            'my_custom_metric_in_prom{my_label="value"}',
            external('2 * max(my_custom_metric_in_prom{my_label="value"}) / 2'),
        ),
    ],
    ids=["name and matchLabels", "PromQL"],
)
async def test_prometheus_engages_at_the_threshold_and_releases(series: str, metric: dict[str, Any]) -> None:
    async with (
        upstream("remote") as remote,
        model_server() as local,
        prometheus(scrape=[local.address]) as prom,
    ):
        local.metrics |= {series: 10, 'my_custom_metric_in_prom{my_label="other"}': 1000}
        await prom.scraped(series)
        async with controller(
            manifest(remote.address, metric), local=[local.address], prometheus=prom.address
        ) as running:
            assert (await running.metric())["value"] == "10"
            assert (await running.model())["decision"]["percentage"] == 0

            local.metrics[series] = 10.001
            await running.reaches(50)
            tally = await load.ask(running.front, requests=10_000)

            local.metrics[series] = 1
            await running.reaches(0, within=60)
            after = await load.ask(running.front, requests=200)

    assert tally.good == 10_000
    assert 4_800 <= tally.by("remote") <= 5_200  # four standard deviations; test_gateway_split holds it to one point
    assert after.by("local") == 200


async def test_a_prometheus_that_is_killed_and_comes_back_changes_nothing() -> None:
    async with upstream("remote") as remote, model_server(load=50) as local, prometheus(scrape=[local.address]) as prom:
        await prom.scraped("load")
        running_one = controller(
            manifest(remote.address, external("load")), local=[local.address], prometheus=prom.address
        )
        async with running_one as running, load.asking(running.front, connections=4) as tally:
            await running.reaches(50)

            await prom.stop(kill=True)
            await eventually(lambda: missing(running, "ConnectionFailed"))
            assert (await running.model())["decision"]["percentage"] == 50

            await prom.start()
            await eventually(lambda: missing(running, None))
            assert (await running.model())["decision"]["percentage"] == 50

    assert tally.failed == []
    assert tally.good == tally.total


async def missing(running: Controller, reason: str | None) -> bool:
    found = (await running.metric())["missing"]
    return (found and found["reason"]) == reason


async def test_metrics_straight_from_the_servers_engage_and_release() -> None:
    async with (
        upstream("remote") as remote,
        model_server(vllm__num_requests_waiting=3) as local,
        controller(manifest(remote.address, WAITING, direct=True), local=[local.address]) as running,
    ):
        assert await served(running, "local")

        local.metrics[QUEUE] = 30
        await running.reaches(50)
        await eventually(lambda: served(running, "remote"))

        local.metrics[QUEUE] = 0
        await running.reaches(0)


async def test_a_killed_envoy_comes_back_with_the_share() -> None:
    async with (
        upstream("remote") as remote,
        model_server(vllm__num_requests_waiting=30) as local,
        controller(manifest(remote.address, WAITING, direct=True), local=[local.address]) as running,
    ):
        await running.reaches(50)
        (before,) = running.gateway_pids()

        os.kill(before, signal.SIGKILL)
        await eventually(lambda: running.gateway_pids() not in ([], [before]))
        await eventually(lambda: answers(running))
        await eventually(lambda: connected(running))
        tally = await load.ask(running.front, requests=2_000)

        assert (await running.model())["gateway"]["restarts"] == 1

    assert tally.good == 2_000
    assert 900 <= tally.by("remote") <= 1_100


async def answers(running: Controller) -> bool:
    try:
        return (await client.ask(running.front, "/")).line[1] == "200"
    except OSError:
        return False


async def connected(running: Controller) -> bool:
    return (await running.model())["gateway"]["connected"]


async def test_a_killed_controller_leaves_envoy_serving_and_the_next_goes_on() -> None:
    async with (
        upstream("remote") as remote,
        model_server(vllm__num_requests_waiting=30) as local,
        controller(manifest(remote.address, WAITING, direct=True), local=[local.address]) as running,
    ):
        await running.reaches(50)
        before = running.gateway_pids()
        since = (await running.model())["decision"]["since"]

        async with load.asking(running.front, connections=4) as tally:
            await running.kill()
            without = await load.ask(running.front, requests=2_000)
            del local.metrics[QUEUE]
            await running.start()
            resumed = await running.model()

        assert running.gateway_pids() == before
        assert resumed["gateway"]["adopted"]

    assert (without.good, without.total) == (2_000, 2_000)
    assert 900 <= without.by("remote") <= 1_100
    assert (resumed["decision"]["percentage"], resumed["decision"]["since"]) == (50, since)
    assert [(change["percentage"], change["at"]) for change in resumed["changes"]] == [(50, since)]
    assert resumed["metrics"][0]["missing"]["reason"] == "NoSeries"
    assert tally.failed == []
    assert tally.good == tally.total


async def test_sigterm_lets_requests_end_and_leaves_nothing_behind() -> None:
    release = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        if exchange.request.line[1] == "/slow":
            await release.wait()
        await exchange.respond(f"{QUEUE} 0\n".encode())

    async with (
        upstream("remote") as remote,
        upstream("local", slow) as local,
        controller(manifest(remote.address, WAITING, direct=True), local=[local.address]) as running,
    ):
        async with asyncio.TaskGroup() as group:
            request = group.create_task(client.ask(running.front, "/slow"))
            await eventually(lambda: asked(local, "/slow"))

            running.terminate()
            await eventually(lambda: "stopping" in running.log)
            release.set()

        assert await running.ended() == 0
        assert request.result().line[1] == "200"
        assert running.gateway_pids() == []
        assert not running.state.exists()


async def test_restarts_lose_no_request_where_gateways_are_left_serving() -> None:
    async with (
        upstream("remote") as remote,
        model_server(vllm__num_requests_waiting=30) as local,
        controller(
            manifest(remote.address, WAITING, direct=True), local=[local.address], flags=("--leave-gateways",)
        ) as running,
    ):
        await running.reaches(50)
        before = running.gateway_pids()
        async with load.asking(running.front, connections=4) as tally:
            for _ in range(RESTARTS):
                running.terminate()
                assert await running.ended() == 0
                await running.start()

        assert running.gateway_pids() == before
        assert (await running.model())["decision"]["percentage"] == 50

        running.terminate()
        assert await running.ended() == 0
        code, said = await running.command("stop", f"--state-dir={running.state}")

        assert (code, running.gateway_pids(), (running.state / "gateways").exists()) == (0, [], False), said

    assert tally.failed == []
    assert tally.good == tally.total


async def test_stop_while_a_controller_runs_says_so_and_ends_nothing() -> None:
    async with (
        upstream("remote") as remote,
        model_server(vllm__num_requests_waiting=0) as local,
        controller(manifest(remote.address, WAITING, direct=True), local=[local.address]) as running,
    ):
        code, said = await running.command("stop", f"--state-dir={running.state}")

        assert code == 1
        assert "another controller is using" in said
        assert len(running.gateway_pids()) == 1


async def test_a_person_s_word_and_the_history_outlive_a_restart() -> None:
    async with (
        upstream("remote") as remote,
        model_server(vllm__num_requests_waiting=0) as local,
        controller(manifest(remote.address, WAITING, direct=True), local=[local.address]) as running,
    ):
        said = await running.override("llama", "25%", "--for=1h", "--reason=a rehearsal", "--author=ada")
        await running.reaches(25)
        unknown = await running.override("gemma", "25%")

        running.terminate()
        assert await running.ended() == 0
        await running.start()
        await running.reaches(25)
        resumed = await running.model()

        cleared = await running.override("llama", "--clear")
        await running.reaches(0)

    assert (said[0], cleared[0], unknown[0]) == (0, 0, 1)
    assert "default/llama: 25 % until" in said[1]
    assert "no model default/gemma; there are: default/llama" in unknown[1]
    assert resumed["decision"]["reason"] == "Overridden"
    assert "by ada, a rehearsal" in resumed["decision"]["message"]
    assert [change["percentage"] for change in resumed["changes"]] == [25, 0, 25]


def asked(server: Upstream, path: str) -> bool:
    return any(request.line[1] == path for request in server.requests)


async def test_a_broken_manifest_leaves_the_last_good_one_in_force_also_after_a_restart() -> None:
    async with upstream("remote") as remote, model_server(vllm__num_requests_waiting=30) as local:
        good = manifest(remote.address, WAITING, direct=True)
        async with controller(good, local=[local.address]) as running:
            await running.reaches(50)

            good["spec"]["offloadingConfig"]["behavior"]["percentage"] = 500
            running.write(good)
            await eventually(lambda: problem(running, "spec.offloadingConfig.behavior.percentage"))
            assert "manifest rejected" in running.log
            assert (await running.model())["decision"]["percentage"] == 50

            await running.kill()
            await running.start()
            assert await problem(running, "spec.offloadingConfig.behavior.percentage")
            assert (await running.model())["decision"]["percentage"] == 50

            good["spec"]["offloadingConfig"]["behavior"]["percentage"] = 20
            running.write(good)
            await running.reaches(20)
            assert (await running.answer())["problems"] == []


async def problem(running: Controller, field: str) -> bool:
    return any(each["field"] == field for each in (await running.answer())["problems"])


async def test_a_deleted_manifest_takes_its_gateway_with_it() -> None:
    async with (
        upstream("remote") as remote,
        model_server(vllm__num_requests_waiting=0) as local,
        controller(manifest(remote.address, WAITING, direct=True), local=[local.address]) as running,
    ):
        (running.manifests / "llama.yaml").unlink()

        await eventually(lambda: running.gateway_pids() == [])
        await eventually(lambda: gone(running))


async def gone(running: Controller) -> bool:
    return (await running.answer())["models"] == []


async def test_a_changed_remote_is_followed_without_a_restart() -> None:
    async with (
        upstream("one") as one,
        upstream("two") as two,
        model_server(vllm__num_requests_waiting=30) as local,
        controller(manifest(one.address, WAITING, direct=True), local=[local.address]) as running,
    ):
        await running.reaches(50)
        before = running.gateway_pids()

        async with load.asking(running.front, connections=4) as tally:
            await eventually(lambda: len(one.requests) > 0)
            running.write(manifest(two.address, WAITING, direct=True))
            await eventually(lambda: len(two.requests) > 0)

        assert running.gateway_pids() == before

    assert tally.failed == []
    assert tally.good == tally.total


def answer_of(value: object, *, kind: str = "vector", **more: object) -> http.Respond:
    """Answer as Prometheus does, as of now."""

    async def respond(request: http.Request, writer: asyncio.StreamWriter) -> None:
        result = (
            [{"metric": {}, "value": [time.time(), value]}] if kind == "vector" and value is not None else value or []
        )
        document = {"status": "success", "data": {"resultType": kind, "result": result}, **more}
        await http.json(document)(request, writer)

    return respond


BAD: dict[str, tuple[http.Respond, str]] = {
    "empty": (answer_of(None), "NoSeries"),
    "NaN": (answer_of("NaN"), "NotANumber"),
    "+Inf": (answer_of("+Inf"), "Infinite"),
    "-Inf": (answer_of("-Inf"), "Infinite"),
    "matrix": (answer_of([{"metric": {}, "values": [[0, "1"]]}], kind="matrix"), "UnexpectedResultType"),
    "string": (answer_of([0, "1"], kind="string"), "UnexpectedResultType"),
    "status error": (http.json({"status": "error", "errorType": "execution", "error": "boom"}), "QueryFailed"),
    "warnings": (answer_of("100", warnings=["a store is down"]), "QueryWarnings"),
    "503": (http.page(b"busy", status=503), "HTTPError"),
    "HTML": (http.page(b"<html>log in</html>", content_type="text/html"), "MalformedAnswer"),
    "redirect": (http.redirect("/elsewhere"), "Redirected"),
    "1 GB": (http.huge(10**9, content_type="application/json"), "AnswerTooLarge"),
    "endless": (http.endless(content_type="application/json"), "AnswerTooLarge"),
    "gzip bomb": (http.bomb(2**28), "AnswerTooLarge"),
    "slow": (http.silence, "TimedOut"),
    "hang up": (http.hang_up, "ConnectionFailed"),
}


async def test_bad_answers_leave_the_share_as_it_was_and_show_their_reason() -> None:
    shown: dict[str, tuple[str, int]] = {}
    async with upstream("remote") as remote, upstream("local") as local, http.serve(answer_of("100")) as prom:
        running_one = controller(
            manifest(remote.address, external("load")), local=[local.address], prometheus=prom.address
        )
        async with running_one as running:
            await running.reaches(50)

            for kind, (respond, reason) in BAD.items():
                prom.respond = respond
                await eventually(lambda reason=reason: unread(running, reason), what=f"{kind} is {reason}")
                shown[kind] = (reason, (await running.model())["decision"]["percentage"])
                prom.respond = answer_of("5")
                await eventually(lambda: missing(running, None), what=f"reads again after {kind}")
                prom.respond = answer_of("100")
                await eventually(lambda: over(running), what=f"is over again after {kind}")

    assert shown == {kind: (reason, 50) for kind, (_, reason) in BAD.items()}


async def unread(running: Controller, reason: str) -> bool:
    found = (await running.metric())["missing"]
    return bool(found) and found["reason"] == reason


async def over(running: Controller) -> bool:
    return (await running.model())["verdict"]["judgement"] == "over"


async def test_a_gateway_whose_address_is_taken_says_so_and_serves_once_it_is_free() -> None:
    async with upstream("remote") as remote, upstream("squatter") as squatter, model_server() as local:
        local.metrics[QUEUE] = 0
        taken = {"default/llama": squatter.address}
        running_one = controller(
            manifest(remote.address, WAITING, direct=True), local=[local.address], listen=taken, ready=False
        )
        async with running_one as running:
            await eventually(lambda: "gateway can't listen" in running.log, what="the log says so")
            assert f"cannot bind '{squatter.address}'" in running.log
            assert not await ready(running)

            await squatter.stop()
            await eventually(lambda: ready(running), what="it serves")


async def ready(running: Controller) -> bool:
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as web:
        return (await web.get(f"http://{running.web}/readyz")).status_code == 200


async def test_the_web_endpoints_answer_and_only_read() -> None:
    async with (
        upstream("remote") as remote,
        model_server(vllm__num_requests_waiting=0) as local,
        controller(manifest(remote.address, WAITING, direct=True), local=[local.address]) as running,
        httpx2.AsyncClient(base_url=f"http://{running.web}", trust_env=False, verify=False, timeout=60) as web,
    ):
        assert (await web.get("/healthz")).status_code == 200
        assert (await web.get("/readyz")).status_code == 200
        metrics = (await web.get("/metrics")).text
        assert (await web.post("/models")).status_code == 405

    assert 'beamlit_gateways_connected{name="llama",namespace="default"} 1.0' in metrics


async def test_a_second_controller_on_the_same_state_is_refused() -> None:
    async with (
        upstream("remote") as remote,
        model_server(vllm__num_requests_waiting=0) as local,
        controller(manifest(remote.address, WAITING, direct=True), local=[local.address]) as running,
    ):
        second = Controller(running.folder, running.front, running.web)
        await second.launch()

        assert await second.ended() == 1
        assert "another controller is using" in running.log
        assert len(running.gateway_pids()) == 1
