"""Pages of gateway pods: bounded, and None for whatever is no page."""

import pytest

from beamlit_controller.controller.held_bytes import HeldBytes
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.kubernetes.gateway_pages import GatewayPages
from beamlit_controller.kubernetes.managed_objects import GatewayPod
from fakes import hold_up, http


def pod(port: int, ip: str = "127.0.0.1") -> GatewayPod:
    return GatewayPod(ModelKey("a", "b"), "pod", "uid", "1", "", ip, ready=True, deleting=False, stats_port=port)


async def asked(answer: http.Respond, **options: int) -> str | None:
    async with http.serve(answer) as server, GatewayPages() as pages:
        return await pages.get(pod(server.port), "/stats", **options)


async def test_a_page_is_given_as_far_as_it_may_reach() -> None:
    assert await asked(http.page("all of it")) == "all of it"
    assert await asked(http.page("é" * 10), longest=5) == "éé\ufffd"
    assert await asked(http.endless(b"x" * 65536), longest=100_000) == "x" * 100_000


@pytest.mark.parametrize(
    "answer",
    [
        http.silence,
        http.hang_up,
        http.reset,
        http.garbage,
        http.endless_header,
        http.page("", status=503),
        http.redirect("http://127.0.0.1:1/"),
        http.truncated(b"half", promised=100),
        http.drip(b"x" * 100, interval=0.5),
        http.bomb(256 * 1024 * 1024),
    ],
    ids=["silence", "hang up", "reset", "garbage", "head", "503", "redirect", "truncated", "drip", "packed"],
)
async def test_whatever_is_no_page_is_none(answer: http.Respond) -> None:
    assert await asked(answer) is None


async def test_pages_share_a_bound_of_memory() -> None:
    """200 pods of each model with a page of 1 MiB that does not end would fill the memory."""
    async with (
        http.serve(http.page(b"x" * 501)) as large,
        http.serve(http.page(b"x" * 500)) as small,
        GatewayPages(HeldBytes(1_000)) as pages,
    ):
        found = [await pages.get(pod(server.port), "/stats") for server in (small, large, small)]

    assert found == ["x" * 500, None, "x" * 500]


@pytest.mark.parametrize("ip", ["", "::::", "300.1.1.1", "a b", "[::1]"])
async def test_an_odd_address_is_none(ip: str) -> None:
    async with GatewayPages() as pages:
        assert await pages.get(pod(1, ip), "/stats") is None


async def test_a_page_that_came_while_the_loop_was_held_up_is_given() -> None:
    assert await asked(hold_up.after(http.page("all of it"), 3)) == "all of it"
