"""The connection to the API server: whatever objects hold, lines are lines and answers are bounded."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster, User

from beamlit_controller.core.spec import ModelKey
from beamlit_controller.kubernetes import managed_objects, watch_lines
from beamlit_controller.kubernetes.api_server import LONGEST, ApiError, ApiServer
from beamlit_controller.kubernetes.list_chunks import Collection
from beamlit_controller.kubernetes.managed_objects import ManagedObject
from beamlit_controller.kubernetes.paths import CONFIG_MAPS
from beamlit_controller.kubernetes.reflector import Reflector
from fakes import hold_up, http


@asynccontextmanager
async def connected(respond: http.Respond, user: User | None = None) -> AsyncIterator[tuple[ApiServer, Any]]:
    async with http.serve(respond) as server:
        config = KubeConfig.from_one(
            cluster=Cluster(server=f"http://{server.address}", insecure=True), user=user or User()
        ).get()
        assert config is not None
        async with ApiServer(config, timeout=5) as client:
            yield client, server


async def test_a_tls_handshake_that_is_not_answered_ends_and_leaves_no_socket_open() -> None:
    async with http.serve(http.page("{}")) as server:
        config = KubeConfig.from_one(
            cluster=Cluster(server=f"https://{server.address}", insecure=True), user=User()
        ).get()
        assert config is not None
        async with ApiServer(config, timeout=1) as client:
            with pytest.raises(ApiError, match="no connection to the API server in time"):
                await client.get("/api/v1/namespaces/default")


async def pieces(*given: bytes) -> Any:  # noqa: ANN401 - an async generator
    for piece in given:
        yield piece


async def test_a_line_ends_with_a_line_feed_and_nothing_else() -> None:
    """An annotation with U+0085 was taken for two lines, neither of them an event."""
    odd = "a\u0085b\u2028c\u2029d\x0be\x1cf\rg"

    read = [line async for line in watch_lines.read(pieces(odd.encode() + b"\nse", b"cond\nth", b"ird"), longest=100)]

    assert read == [odd, "second", "third"]


async def test_of_a_line_that_is_too_long_only_the_beginning_is_given() -> None:
    stream = pieces(b"x" * 60_000, b"x" * 60_000, b"x\nnext\n" + b"y" * 100_001)

    read = [line async for line in watch_lines.read(stream, longest=100_000)]

    assert read == ["x" * watch_lines.SHOWN, "next", "y" * watch_lines.SHOWN]


async def test_bytes_that_are_no_text_stay_on_their_line() -> None:
    read = [line async for line in watch_lines.read(pieces(b"\xff\xfe\n", b"\xe2\x82", b"\xac\n"), longest=100)]

    assert read == ["\ufffd\ufffd", "€"]


async def test_a_watch_gives_an_object_with_odd_separators_as_one_line() -> None:
    odd = json.dumps({"type": "ADDED", "object": {"note": "a\u0085b\u2028"}}, ensure_ascii=False)

    async with (
        connected(http.page(f"{odd}\n{{}}\n".encode())) as (client, server),
        client.stream("/api/v1/pods", (), silence=5) as stream,
    ):
        read = [line async for line in stream]

    assert read == [odd, "{}"]
    assert server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"a": "' + b"x" * 5000 + b'"}', "AnswerTooLarge"),
        (b"[" * 900, "MalformedAnswer"),
        (b'{"a":' * 900, "MalformedAnswer"),
        (b'{"a": ' + b"9" * 900 + b"", "MalformedAnswer"),
        (b"[]", "MalformedAnswer"),
        (b"\xff", "MalformedAnswer"),
    ],
)
async def test_an_answer_that_is_too_large_or_no_object_is_an_error(body: bytes, reason: str) -> None:
    async with connected(http.page(body)) as (client, _):
        with pytest.raises(ApiError) as raised:
            await client.get("/x", most=4500)

    assert (raised.value.code, raised.value.reason) == (0, reason)
    assert len(raised.value.message) < 500


async def test_json_that_is_nested_too_deeply_is_an_error() -> None:
    async with connected(http.page(b'{"a":' * 200_000)) as (client, _):
        with pytest.raises(ApiError) as raised:
            await client.get("/x")

    assert raised.value.reason == "MalformedAnswer"


async def test_one_layer_of_gzip_is_decoded_as_a_proxy_may_add_it_unasked() -> None:
    async with connected(http.zipped(b'{"a": 1}')) as (client, _):
        assert await client.get("/x") == {"a": 1}


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip, gzip"])
async def test_a_watch_and_any_other_encoding_is_refused(encoding: str) -> None:
    """The client decoded every layer at once: 24 kB held up the event loop for 16 s."""
    async with connected(http.page("no", content_encoding="gzip, gzip, gzip")) as (client, _):
        with pytest.raises(ApiError, match="expected content-encoding gzip or none, got gzip, gzip, gzip") as of_get:
            await client.get("/x")
    async with connected(http.page("no", content_encoding=encoding)) as (client, _):
        with pytest.raises(ApiError, match=r"expected content-encoding .*none, got gzip") as of_watch:
            async with client.stream("/x", (), silence=5) as lines:
                _ = [line async for line in lines]

    assert {of_get.value.reason, of_watch.value.reason} == {"MalformedAnswer"}


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (http.page(b"x" * 100_000, status=401), None),
        (http.endless(status=401), None),
        (http.page("no", status=401, content_encoding="gzip, gzip, gzip"), "MalformedAnswer"),
    ],
    ids=["large", "endless", "compressed"],
)
async def test_a_token_is_read_again_whatever_the_first_refusal_says(
    refusal: http.Respond, expected: str | None, tmp_path: Path
) -> None:
    """The client reads a 401 to its end, and decodes it, before it sends the request again."""
    token = tmp_path / "token"
    token.write_text("first")

    async def respond(request: http.Request, writer: asyncio.StreamWriter) -> None:
        if request.headers["authorization"] == "Bearer second":
            await http.page("{}")(request, writer)
            return
        token.write_text("second")
        await refusal(request, writer)

    async with connected(respond, user=User(token_file=str(token))) as (client, _):
        if expected is None:
            assert await client.get("/x") == {}
        else:
            with pytest.raises(ApiError) as raised:
                await client.get("/x")
            assert raised.value.reason == expected


SECRET = "SECRET" * 300


@pytest.mark.parametrize("user", [User(token=SECRET), User(username="me", password=SECRET)], ids=["token", "password"])
@pytest.mark.parametrize("status", [200, 403])
async def test_a_server_that_repeats_our_credentials_does_not_get_them_shown(user: User, status: int) -> None:
    async def respond(request: http.Request, writer: asyncio.StreamWriter) -> None:
        said = f"you are {request.headers['authorization']} {SECRET}"
        await http.page(said, status=status)(request, writer)

    async with connected(respond, user=user) as (client, _):
        with pytest.raises(ApiError) as raised:
            await client.get("/x")

    assert "you are" in raised.value.message
    assert "SECRET" not in raised.value.message
    assert base64.b64encode(b"me:SECRET").decode()[:8] not in raised.value.message


async def test_a_refusal_is_read_in_part_and_waited_for_only_so_long() -> None:
    huge = json.dumps({"reason": "r" * 5000, "message": "m" * 50_000}).encode()

    async with connected(http.page(huge, status=429, retry_after="9" * 9)) as (client, _):
        with pytest.raises(ApiError) as raised:
            await client.get("/x")

    assert raised.value.code == 429
    assert (len(raised.value.message), len(raised.value.reason), raised.value.retry_after) == (4096, 200, 300.0)


async def test_config_maps_are_watched_without_what_they_hold() -> None:
    """260 ConfigMaps of 1 MB that carried the project's label took the controller past its memory limit."""
    labels = {"deployment.beamlit.com/gateway": "llama"}

    async def respond(request: http.Request, writer: Any) -> None:  # noqa: ANN401 - as `http.Respond` has it
        if "watch" in request.asked:
            await http.page(b"")(request, writer)
            return
        begin, limit = int(request.asked.get("continue", "0")), int(request.asked["limit"])
        partial = "as=PartialObjectMetadataList;g=meta.k8s.io;v=v1" in request.headers["accept"]
        items = [
            {"metadata": {"namespace": "evil", "name": f"c{n}", "uid": "u", "resourceVersion": "5", "labels": labels}}
            | ({} if partial else {"data": {"a": "x" * 1_000_000}})
            for n in range(begin, min(begin + limit, 260))
        ]
        about = {"resourceVersion": "9", **({"continue": str(begin + limit)} if begin + limit < 260 else {})}
        await http.json({"metadata": about, "items": items})(request, writer)

    async with connected(respond) as (client, server):
        collection = Collection(CONFIG_MAPS.collection(), metadata_only=True)
        seen = await _listed(Reflector(client, collection, keep=managed_objects.parse(CONFIG_MAPS)))

    assert len(seen) == 260
    assert {each.key for each in seen} == {ModelKey("evil", "llama")}
    assert max(len(str(each)) for each in seen) < 1000
    assert all("as=PartialObjectMetadata" in each.headers["accept"] for each in server.requests)


async def _listed(reflector: Reflector[ManagedObject]) -> list[ManagedObject]:
    task = asyncio.ensure_future(reflector.run())
    async with asyncio.timeout(60):
        await reflector.wait_synced()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return list(reflector.items.values())


def test_the_bound_of_an_answer_leaves_room_for_any_object() -> None:
    assert LONGEST >= 6 * 1_500_000


async def test_an_answer_that_came_while_the_loop_was_held_up_is_read() -> None:
    async with connected(hold_up.after(http.json({"kind": "Lease"}), 6)) as (client, _):
        assert await client.get("/") == {"kind": "Lease"}
