"""How much memory a gateway may use."""

import pytest

from beamlit_controller.core.gateway_spec import GatewaySpec
from beamlit_controller.envoy import overload

LIMITED = (("limits", "memory", "1G"),)


@pytest.mark.parametrize(
    ("resources", "in_container", "heap"),
    [
        ((), False, 1024**3),
        ((("requests", "memory", "256Mi"), ("limits", "cpu", "2")), False, 1024**3),
        (LIMITED, False, 800_000_000),
        (LIMITED, True, 800_000_000),
        # The container has a limit even where the spec has none.
        ((), True, 512 * 1024**2 - 512 * 1024**2 // 5),
        ((("limits", "cpu", "2"),), True, 512 * 1024**2 - 512 * 1024**2 // 5),
        ((("requests", "memory", "1Gi"),), True, 1024**3 - 1024**3 // 5),
        ((("limits", "memory", "192Mi"),), True, 96 * 1024**2),
        ((("limits", "memory", "100Mi"),), True, 50 * 1024**2),
    ],
)
def test_takes_what_the_limit_that_is_in_force_leaves(
    resources: tuple[tuple[str, str, str], ...], *, in_container: bool, heap: int
) -> None:
    assert overload.heap(GatewaySpec(resources=resources), in_container=in_container) == heap


@pytest.mark.parametrize(
    ("descriptors", "connections"),
    [(0, 50_000), (-1, 50_000), (1_048_576, 50_000), (4096, 1948), (1024, 412), (100, 1)],
)
def test_takes_no_more_connections_than_there_are_descriptors_for_both_sides(
    descriptors: int, connections: int
) -> None:
    assert overload.most_connections(descriptors) == connections


@pytest.mark.parametrize(
    ("descriptors", "idle"), [(0, "3600s"), (1_048_576, "3600s"), (20_200, "3600s"), (1024, "120s")]
)
def test_idle_connections_go_sooner_where_there_can_be_few(descriptors: int, idle: str) -> None:
    assert overload.longest_idle(descriptors) == idle
