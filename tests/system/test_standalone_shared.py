"""One address for several models: real Envoys, the command as users run it."""

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from fakes import client, load
from fakes.controller import Controller, controller
from fakes.http1 import Message
from fakes.ports import free_port
from fakes.upstream import Upstream, upstream
from waiting import eventually

pytestmark = pytest.mark.system

JSON = ("content-type", "application/json")
LLAMA, EMBED = "default/llama", "default/embed"
ROUTES = [
    {"pathPrefix": "/embed", "stripPrefix": True, "to": EMBED},
    {"host": "embed.test", "to": EMBED},
    {"header": "x-team", "value": "search", "to": EMBED},
    {"model": "llama-3", "to": LLAMA},
    {"model": "bge-größe", "to": EMBED},
]


def manifest(name: str, remote: str) -> dict[str, Any]:
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {
            "serviceRef": {"name": name, "targetPort": 8000},
            "offloadingConfig": {
                "remoteBackend": {"scheme": "http", "host": remote},
                "behavior": {"percentage": 0},
            },
        },
    }


@dataclass(frozen=True)
class Shared:
    """Two models behind one address."""

    address: str
    llama: Upstream
    embed: Upstream
    running: Controller

    async def ask(self, body: bytes = b"", path: str = "/v1/chat/completions", **headers: str) -> Message:
        """Ask the shared address."""
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        async with client.connect(self.address) as connection:
            return await connection.post(path, body, headers=[JSON, *named])

    async def chosen(self, body: bytes = b"", path: str = "/v1/chat/completions", **headers: str) -> str:
        """Return which model's server was asked, and for what path; the status if none was."""
        before = len(self.llama.requests), len(self.embed.requests)
        answer = await self.ask(body, path, **headers)
        if len(self.llama.requests) > before[0]:
            return f"llama {self.llama.requests[-1].line[1]}"
        if len(self.embed.requests) > before[1]:
            return f"embed {self.embed.requests[-1].line[1]}"
        return answer.line[1]


@asynccontextmanager
async def shared(routes: list[dict[str, Any]] = ROUTES) -> AsyncIterator[Shared]:
    """Run a controller with two models, and a listener that they share."""
    address, second = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    async with (
        upstream("remote") as remote,
        upstream("llama") as llama,
        upstream("embed") as embed,
        controller(manifest("llama", remote.address), local=[llama.address]) as running,
    ):
        settings = json.loads((running.folder / "settings.yaml").read_text())
        standalone = settings["config"]["standalone"]
        standalone["services"][EMBED] = [embed.address]
        standalone["listen"][EMBED] = second
        standalone["sharedListeners"] = {"main": {"address": address, "routes": routes}}
        (running.folder / "new").write_text(json.dumps(settings))
        running.write(manifest("embed", remote.address), "embed.yaml")
        (running.folder / "new").rename(running.folder / "settings.yaml")
        found = Shared(address, llama, embed, running)
        await eventually(lambda: _both_answer(found, second), within=60, what="both models and the listener answer")
        yield found


async def _both_answer(found: Shared, second: str) -> bool:
    with suppress(OSError):
        answers = (await client.ask(found.running.front, "/"), await client.ask(second, "/"), await found.ask())
        return all(answer.line[1] != "503" for answer in answers)
    return False


async def test_the_model_is_chosen_by_path_host_header_or_the_name_in_the_body() -> None:
    async with shared() as models:
        assert await models.chosen(b'{"messages": [], "model": "llama-3"}') == "llama /v1/chat/completions"
        assert await models.chosen('{"model": "bge-größe"}'.encode(), "/v1/embeddings") == "embed /v1/embeddings"
        assert await models.chosen(b'{"mod\\u0065l": "bge-gr\\u00f6\\u00dfe"}') == "embed /v1/chat/completions"
        assert await models.chosen(b"", "/v1/realtime?x=1&model=llama-3") == "llama /v1/realtime?x=1&model=llama-3"
        assert await models.chosen(b'{"model": "llama-3"}', "/embed/v1/embeddings?a=/b") == "embed /v1/embeddings?a=/b"
        assert await models.chosen(b"{}", "/embed") == "embed /"
        assert await models.chosen(b'{"model": "llama-3"}', host="EMBED.test:80") == "embed /v1/chat/completions"
        assert await models.chosen(b'{"model": "llama-3"}', x_team="search") == "embed /v1/chat/completions"
        assert (
            await models.chosen(b'{"model": "llama-3", "pad": "' + b"x" * 2**21 + b'"}') == "llama /v1/chat/completions"
        )


async def test_a_name_behind_large_strings_is_found_and_one_behind_endless_tokens_is_not() -> None:
    """A body of 31 MiB of `[],` blocked the listener for 6 s, for all of its models."""
    size = 24 * 2**20
    image = b'{"url": "data:image/png;base64,' + b"iVBORw0K" * (size // 8) + b'"}'
    escaped = b'"' + b'say \\"hi\\", then \\\\ and more ' * 40_000 + b'"'
    async with shared() as models:
        for large in (image, escaped, b"[" + b"1234, " * 150_000 + b"0]"):
            assert await models.chosen(b'{"x": %s, "model": "llama-3"}' % large) == "llama /v1/chat/completions"
        for unit in (b"[],", b",", b'{"":0},', b" ", b"7"):
            endless = unit * (size // len(unit))
            assert await models.chosen(b'{"x": [%s0], "model": "llama-3"}' % endless) == "404", unit
            assert await models.chosen(b'{"model": "llama-3", "x": [%s0]}' % endless) == "llama /v1/chat/completions"
        for inside in (b'\\"', b"\\\\"):
            endless = b'"' + inside * (size // 2) + b'"'
            assert await models.chosen(b'{"x": %s, "model": "llama-3"}' % endless) == "404", inside


async def test_what_names_no_model_for_sure_is_refused_in_words() -> None:
    async with shared() as models:
        for body in (
            b"",
            b"{}",
            b'{"model": "gpt"}',
            b'{"model": "llama-3", "model": "bge-gr\xc3\xb6\xc3\x9fe"}',
            b'{"inner": {"model": "llama-3"}}',
            b'["model", "llama-3"]',
            b'{"model": ["llama-3"]}',
            b'{"model": "llama-3"',
            b'{"model": "llama-3"} {"model": "llama-3"}',
            b'{"model": "llama-3" "llama-3"}',
            b'{"model": }',
            b'{"model": "llama-3\\n"}',
            b"\xff{",
        ):
            assert await models.chosen(body) == "404", body
        assert await models.chosen(b"", x_offload_model="llama-3") == "404"
        assert await models.chosen(b"", "/embedded/v1") == "404"
        refused = json.loads((await models.ask(b'{"model": "gpt"}')).body.content)
        listed = json.loads((await client.get(models.address, "/v1/models")).body.content)

    assert refused["error"]["code"] == "model_not_found"
    assert "llama-3, bge-größe" in refused["error"]["message"]
    assert [each["id"] for each in listed["data"]] == ["llama-3", "bge-größe"]


async def test_what_must_stay_stays_however_its_path_is_spelled_at_the_shared_address() -> None:
    async with shared([{"pathPrefix": "/a", "stripPrefix": True, "to": LLAMA}, {"to": LLAMA}]) as models:
        running = models.running
        await running.override("llama", "100%")
        await eventually(lambda: _decided(running, 100), what="all that may leave does")

        for path in (
            "/metrics",
            "/a/metrics",
            "/a//metrics",
            "/x/../metrics",
            "/a/./metrics",
            "/a/%6detrics",
            "/a;x/../metrics",
        ):
            before = len(models.llama.requests)
            answer = await models.ask(b"", path)
            assert (answer.header(load.SERVED_BY), len(models.llama.requests)) == ("local", before + 1), path


async def test_a_restart_and_an_upgrade_of_the_settings_lose_no_request_at_the_shared_address() -> None:
    async with (
        shared([*ROUTES, {"to": LLAMA}]) as models,
        load.asking(models.address, connections=2, pause=0.01) as tally,
    ):
        pids = models.running.log.count("gateway adopted")
        os.kill(models.running.pid or 0, signal.SIGHUP)

        await eventually(lambda: models.running.log.count("gateway adopted") >= pids + 3, within=60)
        before = tally.total
        await eventually(lambda: tally.total > before + 10)
        models.running.terminate()
        assert tally.failed == []
    assert not models.running.state.exists()


async def _decided(running: Controller, percentage: int) -> bool:
    with suppress(httpx2.HTTPError):
        models = (await running.answer())["models"]
        return any(each["name"] == "llama" and each["decision"]["percentage"] == percentage for each in models)
    return False
