"""How much memory a gateway may use."""

import pytest

from beamlit_controller.core.spec import Gateway
from beamlit_controller.envoy import overload


@pytest.mark.parametrize(
    ("resources", "heap"),
    [
        ((), 1024**3),
        ((("requests", "memory", "256Mi"), ("limits", "cpu", "2")), 1024**3),
        ((("limits", "memory", "512Mi"),), 512 * 1024**2 * 9 // 10),
        ((("limits", "memory", "1G"),), 900_000_000),
    ],
)
def test_takes_nine_tenths_of_the_limit_or_one_gibibyte(resources: tuple[tuple[str, str, str], ...], heap: int) -> None:
    assert overload.heap(Gateway(resources=resources)) == heap
