"""Who decides about a request besides the share: its session, its client, the list of what may leave."""

from collections import Counter
from pathlib import Path

import pytest

import builders
from beamlit_controller.core.spec import (
    HeaderMatch,
    OnRemoteFailure,
    PathPrefix,
)
from beamlit_controller.core.stickiness import CookieStickiness, HeaderStickiness
from fakes import client
from fakes.gateway import Gateway, gateway, to
from fakes.trouble import says
from fakes.upstream import upstream

pytestmark = pytest.mark.system

SESSIONS = [f"session-{number}" for number in range(400)]


# Sessions.


def in_header(session: str) -> tuple[str, str]:
    return ("X-Session-Id", session)


def in_cookie(session: str) -> tuple[str, str]:
    return ("cookie", f"other=1; sid={session}; xsid=no")


@pytest.mark.parametrize(
    ("stickiness", "told"),
    [(HeaderStickiness("x-session-id"), in_header), (CookieStickiness("sid"), in_cookie)],
    ids=["header", "cookie"],
)
async def test_a_session_stays_and_only_as_many_move_as_the_share_asks(
    tmp_path: Path, stickiness: HeaderStickiness | CookieStickiness, told: object
) -> None:
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), stickiness=stickiness)
        async with gateway(spec, tmp_path, local=[local], share=20) as gate:
            at_20 = await _sides(gate, told)
            again = await _sides(gate, told)
            await gate.offload(30)
            at_30 = await _sides(gate, told)
            await gate.offload(20)
            back = await _sides(gate, told)
        seen = {name for request in (*local.requests, *remote.requests) for name, _ in request.headers}

    assert at_20 == again == back
    assert 50 <= Counter(at_20.values())["remote"] <= 110  # 80, and four standard deviations
    moved = {session for session in SESSIONS if at_20[session] != at_30[session]}
    assert {at_30[session] for session in moved} == {"remote"}
    assert 16 <= len(moved) <= 64  # a tenth of them is 40
    assert "x-offload-session" not in seen


async def test_requests_without_a_session_are_drawn_one_by_one(tmp_path: Path) -> None:
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), stickiness=CookieStickiness("sid"))
        async with gateway(spec, tmp_path, local=[local], share=50) as gate:
            sides = Counter([await _side(gate, "/", ("x-offload-session", "forged")) for _ in range(400)])

    assert 140 <= sides["remote"] <= 260


# What a client asks for.


@pytest.mark.parametrize(("share", "wanted"), [(0, "remote"), (100, "local")])
async def test_a_client_chooses_the_side_where_the_spec_lets_it(tmp_path: Path, share: int, wanted: str) -> None:
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), allow_override=True)
        async with gateway(spec, tmp_path, local=[local], share=share) as gate:
            asked = [await _side(gate, "/", ("X-Offload", word)) for word in (wanted, wanted.upper())]
            unheard = [await _side(gate, "/", ("x-offload", word)) for word in ("", "somewhere")]
            kept = await _side(gate, "/metrics", ("x-offload", "remote"))
            lines = await gate.log(5)
        seen = {name for request in (*local.requests, *remote.requests) for name, _ in request.headers}

    assert asked == [wanted] * 2
    assert unheard == ["remote" if share else "local"] * 2
    assert kept == "local"
    assert [line["reason"] for line in lines[:2]] == ["forced"] * 2
    assert "x-offload" not in seen


async def test_a_client_that_may_not_choose_is_not_heard(tmp_path: Path) -> None:
    async with (
        upstream("local") as local,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local]) as gate,
    ):
        side = await _side(gate, "/", ("x-offload", "remote"))

    assert side == "local"
    assert local.requests[0].header("x-offload") is None


@pytest.mark.parametrize(("policy", "status"), [(OnRemoteFailure.LOCAL, "200"), (OnRemoteFailure.FAIL, "500")])
async def test_asking_for_the_remote_is_no_promise_that_it_answers(
    tmp_path: Path, policy: OnRemoteFailure, status: str
) -> None:
    async with upstream("local") as local, upstream("remote", says(500)) as remote:
        spec = builders.spec(remote=to(remote), allow_override=True, on_remote_failure=policy)
        async with gateway(spec, tmp_path, local=[local]) as gate:
            answer = await client.ask(gate.front, headers=(("x-offload", "remote"),))

    assert answer.line[1] == status
    assert len(remote.requests) == 1


# What may leave.


ALLOWED = (HeaderMatch("X-Data-Class", "public"), HeaderMatch("x-data-class", "Open"), PathPrefix("/v1/embeddings"))
LEAVES = (
    ("/", (("x-data-class", "public"),)),
    ("/", (("x-data-class", "PUBLIC"),)),
    ("/", (("x-data-class", "open, public"),)),
    ("/", (("x-data-class", "public"), ("x-data-class", "open"))),
    ("/v1/embeddings", ()),
    ("/v1/embeddings?a=b", ()),
    ("/v1/embeddings/of", ()),
)
STAYS = (
    ("/", ()),
    ("/", (("x-data-class", "restricted"),)),
    ("/", (("x-data-class", "public, restricted"),)),
    ("/", (("x-data-class", "public"), ("x-data-class", "restricted"))),
    ("/", (("x-data-class", ""),)),
    ("/", (("x-data-class", "public,"),)),
    ("/", (("x-data-class", '"public"'),)),
    ("/", (("x-data-class", "public\xff"),)),
    ("/v1/embeddingsfoo", ()),
    ("/V1/embeddings", ()),
    ("/v1/embeddings/../chat", ()),
    ("/v1/embeddings/%2e%2e/chat", ()),
    ("/v1/embeddings%2f..%2fchat", ()),
    ("/v1/chat?/v1/embeddings", ()),
    # What must stay goes before what may leave.
    ("/metrics", (("x-data-class", "public"),)),
)


@pytest.mark.parametrize("how", ["share", "override", "session", "overflow"])
async def test_nothing_leaves_but_what_may(tmp_path: Path, how: str) -> None:
    async with upstream("local", says(503) if how == "overflow" else None) as local, upstream("remote") as remote:
        spec = builders.spec(
            remote=to(remote),
            may_leave=ALLOWED,
            allow_override=how == "override",
            stickiness=HeaderStickiness("x-session") if how == "session" else None,
        )
        async with gateway(spec, tmp_path, local=[local], share=100 if how in {"share", "session"} else 0) as gate:
            if how == "overflow":
                await local.stop()
            more = (("x-offload", "remote"), ("x-session", "a")) if how != "share" else ()
            left = [await _side(gate, path, *headers, *more) for path, headers in LEAVES]
            before = len(remote.requests)
            stayed = [await _side(gate, path, *headers, *more) for path, headers in STAYS]

    assert left == ["remote"] * len(LEAVES)
    assert len(remote.requests) == before == len(LEAVES)
    assert "remote" not in stayed if how == "overflow" else set(stayed) == {"local"}


async def test_counts_what_was_kept_and_what_was_refused_for_it(tmp_path: Path) -> None:
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), keep_local=(HeaderMatch("x-data-class", "restricted"),))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            for _ in range(3):
                await _side(gate, "/", ("x-data-class", "restricted"))
            await local.stop()
            for _ in range(2):
                await _side(gate, "/", ("x-data-class", "restricted"))
            counted = await gate.requests()

    kept = Counter(dict.fromkeys(("200", "503"), 0))
    for (_, route, code), count in counted.items():
        assert route == "keep"
        kept[code] += count
    assert kept == {"200": 3, "503": 2}
    assert remote.connections == 0


async def _sides(gate: Gateway, told: object) -> dict[str, str | None]:
    async with client.connect(gate.front) as asker:
        return {
            session: (await asker.ask("/", headers=[told(session)])).header("x-offload-served-by")
            for session in SESSIONS
        }


async def _side(gate: Gateway, path: str, *headers: tuple[str, str]) -> str | None:
    return (await client.ask(gate.front, path, headers=headers)).header("x-offload-served-by")
