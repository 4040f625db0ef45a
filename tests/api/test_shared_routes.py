"""Routes of a shared listener that no request reaches."""

import pytest

from beamlit_controller.api import shared_routes
from beamlit_controller.api.addresses import Address
from beamlit_controller.api.settings import SharedListener, SharedRoute
from beamlit_controller.core.spec import ModelKey

TO = ModelKey("default", "llama")


def told(*routes: SharedRoute) -> list[str]:
    listener = SharedListener(Address("127.0.0.1", 8088), routes)
    return [str(notice) for notice in shared_routes.notices({"main": listener})]


def test_what_stands_behind_the_route_of_all_the_rest_is_never_reached() -> None:
    assert told(SharedRoute(TO, model="bge"), SharedRoute(TO), SharedRoute(TO, model="llama")) == [
        (
            "config.standalone.sharedListeners.main.routes[2]: never reached: routes[1] matches all of its requests; move it before routes[1]"
        )
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SharedRoute(TO, model="bge"), SharedRoute(TO, model="bge", host="a.example.com")),
        (SharedRoute(TO, path_prefix="/embed"), SharedRoute(TO, path_prefix="/embed/v1")),
        (SharedRoute(TO, host="A.example.com"), SharedRoute(TO, host="a.example.com", header=("x-team", "search"))),
        (SharedRoute(TO, header=("x-team", "search")), SharedRoute(TO, header=("x-team", "search"))),
    ],
)
def test_a_route_that_is_narrower_than_an_earlier_one_is_never_reached(one: SharedRoute, other: SharedRoute) -> None:
    assert len(told(one, other)) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SharedRoute(TO, model="bge"), SharedRoute(TO, model="llama")),
        (SharedRoute(TO, path_prefix="/embed"), SharedRoute(TO, path_prefix="/embeddings")),
        (SharedRoute(TO, host="a.example.com"), SharedRoute(TO, model="bge")),
        (SharedRoute(TO, header=("x-team", "search")), SharedRoute(TO, header=("x-team", "ads"))),
    ],
)
def test_routes_that_take_other_requests_are_all_reached(one: SharedRoute, other: SharedRoute) -> None:
    assert told(one, other) == []
