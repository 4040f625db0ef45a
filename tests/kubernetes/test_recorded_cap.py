"""The cap as the status records it: every replica tells gateways the same, whoever wrote what."""

from fractions import Fraction

import pytest

from beamlit_controller.kubernetes import models


def recorded(**offloading: object) -> models.Stored:
    about = {"namespace": "models", "name": "llama", "uid": "u", "resourceVersion": "1"}
    return models.stored({"metadata": about, "status": {"offloading": {"percentage": 100, **offloading}}})


@pytest.mark.parametrize(
    ("written", "cap"), [("3.4", Fraction(17, 5)), ("12", Fraction(12)), ("0.25", Fraction(1, 4)), ("0", Fraction(0))]
)
def test_a_recorded_cap_is_read_to_its_last_digit(written: str, cap: Fraction) -> None:
    assert recorded(inFlightPerReplica=written).cap == cap


@pytest.mark.parametrize("written", [None, 3, "", "-1", "1e9", "1/0", "٣", "9" * 5000, "3.4\n", ["3"], {}, "NaN"])
def test_what_we_did_not_write_is_no_cap(written: object) -> None:
    """Whoever may write a status may write anything there."""
    assert recorded(inFlightPerReplica=written).cap is None
