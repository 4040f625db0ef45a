"""What each side sees of a request, and what the client sees of the answer."""

from pathlib import Path

import pytest

import builders
from fakes import client
from fakes.gateway import gateway, to
from fakes.http1 import Message
from fakes.upstream import Exchange, upstream

pytestmark = pytest.mark.system

CREDENTIALS = (
    ("authorization", "Bearer clients-own"),
    ("proxy-authorization", "Basic clients-own"),
    ("cookie", "session=clients-own"),
    ("x-api-key", "clients-own"),
    ("api-key", "clients-own"),
)
PRIVATE = (
    ("x-forwarded-for", "203.0.113.7"),
    ("x-forwarded-host", "inside.test"),
    ("x-forwarded-client-cert", "By=spiffe://inside"),
    ("x-forwarded-access-token", "clients-own"),
    ("forwarded", "for=203.0.113.7"),
    ("x-real-ip", "203.0.113.7"),
    ("x-envoy-original-path", "/inside"),
    ("X-Envoy-Anything", "inside"),
    ("x-offload", "remote"),
    ("x-offload-anything", "inside"),
)
HARMLESS = (
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("tracestate", "vendor=value"),
    ("x-request-id", "a-client's-own-id"),
    ("content-type", "application/json"),
    ("x-custom", "50% off, %REQ(:path)%"),
)


async def test_the_remote_sees_its_own_path_host_and_headers_and_nothing_of_the_clients_secrets(tmp_path: Path) -> None:
    added = (("x-team", "search"), ("x-share", "100%"), ("x-custom", "%REQ(:path)% ours"))
    async with upstream("remote") as remote:
        backend = to(remote, path_prefix="/models/llama", headers_to_add=added)
        async with gateway(builders.spec(remote=backend), tmp_path, share=100) as gate:
            await _ask(gate.front, "/v1/chat?debug=1", *CREDENTIALS, *PRIVATE, *HARMLESS)

    seen = remote.requests[0]
    assert seen.line == ("POST", "/models/llama/v1/chat?debug=1", "HTTP/1.1")
    assert sorted(seen.headers) == sorted(
        (
            ("host", remote.address),
            ("content-length", "0"),
            ("x-offload-hops", "1"),
            *(header for header in HARMLESS if header[0] != "x-custom"),
            *added,
        )
    )


async def test_forwards_credentials_to_the_remote_only_if_told_to(tmp_path: Path) -> None:
    async with upstream("remote") as remote:
        backend = to(remote, forward_client_authorization=True)
        async with gateway(builders.spec(remote=backend), tmp_path, share=100) as gate:
            await _ask(gate.front, "/", *CREDENTIALS)

    forwarded = {name for name, _ in remote.requests[0].headers if name in dict(CREDENTIALS)}
    assert forwarded == {"authorization", "cookie", "x-api-key", "api-key"}


async def test_the_local_side_sees_what_the_client_sent(tmp_path: Path) -> None:
    async with upstream("local") as local, upstream("remote") as remote:
        backend = to(remote, path_prefix="/models/llama", headers_to_add=(("x-team", "search"),))
        sent = (*CREDENTIALS, *HARMLESS, ("x-forwarded-proto", "https"), ("host", "model.test:8000"))
        async with gateway(builders.spec(remote=backend), tmp_path, local=[local]) as gate:
            await _ask(gate.front, "/v1/chat?debug=1", *sent)

    seen = local.requests[0]
    assert seen.line == ("POST", "/v1/chat?debug=1", "HTTP/1.1")
    assert {header for header in seen.headers if header[0] != "x-forwarded-for"} == {*sent, ("content-length", "0")}
    assert seen.header("x-forwarded-for")


async def test_a_request_that_falls_back_carries_nothing_that_was_meant_for_the_remote(tmp_path: Path) -> None:
    async def unavailable(exchange: Exchange) -> None:
        await exchange.respond(status="503 Service Unavailable")

    async with upstream("local") as local, upstream("remote", unavailable) as remote:
        backend = to(remote, path_prefix="/models/llama", headers_to_add=(("authorization", "the remote's"),))
        async with gateway(builders.spec(remote=backend), tmp_path, local=[local], share=100) as gate:
            answer = await _ask(gate.front, "/v1/chat", ("authorization", "Bearer clients-own"))

    assert answer.header("x-offload-served-by") == "local"
    assert remote.requests[0].header("authorization") == "the remote's"
    assert local.requests[0].line[1] == "/v1/chat"
    assert local.requests[0].header("authorization") == "Bearer clients-own"
    assert local.requests[0].header("host") == "model.test"


async def test_nobody_but_the_gateway_says_who_served(tmp_path: Path) -> None:
    async def claims(exchange: Exchange) -> None:
        await exchange.respond(headers=(("x-offload-served-by", "somebody"), ("X-Offload-Served-By", "else")))

    async with (
        upstream("local", claims) as local,
        upstream("remote", claims) as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local]) as gate,
    ):
        locally = await _ask(gate.front, "/", ("x-offload-served-by", "remote"))
        await gate.offload(100)
        remotely = await _ask(gate.front, "/", ("x-offload-served-by", "local"))

    assert locally.header("x-offload-served-by") == "local"
    assert remotely.header("x-offload-served-by") == "remote"


async def test_a_client_cannot_steer_the_gateway_with_headers_of_envoy(tmp_path: Path) -> None:
    async def fails(exchange: Exchange) -> None:
        await exchange.respond(status="500 Internal Server Error")

    steering = (
        ("x-envoy-retry-on", "5xx"),
        ("x-envoy-max-retries", "5"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-envoy-internal", "true"),
        ("x-forwarded-for", "10.0.0.1"),
    )
    async with (
        upstream("local", fails) as local,
        gateway(builders.spec(), tmp_path, local=[local]) as gate,
    ):
        answer = await _ask(gate.front, "/", *steering)

    assert answer.line[1] == "500"
    assert len(local.requests) == 1
    assert not [name for name, _ in (*local.requests[0].headers, *answer.headers) if name.startswith("x-envoy")]


async def test_what_the_remote_says_about_its_own_name_stays_there(tmp_path: Path) -> None:
    async def answers(exchange: Exchange) -> None:
        about = (("set-cookie", "remote=1"), ("alt-svc", 'h3=":443"'), ("strict-transport-security", "max-age=1"))
        await exchange.respond(b"here", headers=(*about, ("server", "remote/1.0"), ("x-request-id", "remote's")))

    async with (
        upstream("remote", answers) as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, share=100) as gate,
    ):
        answer = await _ask(gate.front, "/")

    assert {name for name, _ in answer.headers} - {"date", "content-length"} == {
        "server",
        "x-request-id",
        "x-offload-served-by",
    }
    assert answer.header("server") == "remote/1.0"


async def test_a_redirect_of_the_remote_is_passed_on_and_never_followed(tmp_path: Path) -> None:
    async with upstream("elsewhere") as elsewhere:

        async def redirects(exchange: Exchange) -> None:
            await exchange.respond(
                status="307 Temporary Redirect", headers=(("location", f"http://{elsewhere.address}/"),)
            )

        async with (
            upstream("remote", redirects) as remote,
            gateway(builders.spec(remote=to(remote)), tmp_path, share=100) as gate,
        ):
            answer = await _ask(gate.front, "/")

    assert (answer.line[1], answer.header("location")) == ("307", f"http://{elsewhere.address}/")
    assert elsewhere.connections == 0


async def test_an_offer_of_h2c_is_declined_not_refused(tmp_path: Path) -> None:
    offer = (
        ("connection", "Upgrade, HTTP2-Settings"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA"),
    )
    async with (
        upstream("local") as local,
        gateway(builders.spec(), tmp_path, local=[local]) as gate,
    ):
        answer = await _ask(gate.front, "/", *offer)

    assert answer.line[1] == "200"


async def _ask(address: str, path: str, *headers: tuple[str, str]) -> Message:
    return await client.ask(address, path, headers=headers)
