"""The Events about what leaves, from two statuses of a model."""

import pytest

from beamlit_controller.kubernetes import events

NONE: dict[str, object] = {}
LOCAL = {"percentage": 0, "reason": "MetricBelowTarget", "message": "queue 0 <= 1"}
CAPPED = {"percentage": 100, "inFlightPerReplica": "6.85", "reason": "MetricAboveTarget", "message": "queue 8 > 1"}
LOWER = {**CAPPED, "inFlightPerReplica": "6.1"}
BY_HAND = {"percentage": 100, "inFlightPerReplica": "0", "reason": "Overridden", "message": "set to 100 % by hand"}
HALF = {"percentage": 50, "reason": "MetricAboveTarget", "message": "queue 8 > 1"}

BEYOND = "requests beyond 6.85 in flight per ready replica go to the remote, at most 100% of all"


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (NONE, LOCAL, []),
        (NONE, HALF, [("Offload", "50% of the requests go to the remote, 0% did before: queue 8 > 1")]),
        (LOCAL, CAPPED, [("Offload", f"{BEYOND}, 0% did before: queue 8 > 1")]),
        (CAPPED, LOWER, []),
        (CAPPED, BY_HAND, [("Offload", "100% of the requests go to the remote: set to 100 % by hand")]),
        (BY_HAND, CAPPED, [("Offload", f"{BEYOND}: queue 8 > 1")]),
        (HALF, LOCAL, [("Release", "0% of the requests go to the remote, 50% did before: queue 0 <= 1")]),
        (LOCAL, LOCAL | {"inFlightPerReplica": "4"}, []),
    ],
)
def test_what_leaves_is_told_when_it_changes(
    before: dict[str, object], now: dict[str, object], told: list[tuple[str, str]]
) -> None:
    found = events.between({"offloading": before} if before else {}, {"offloading": now})

    assert [(each.action, each.note) for each in found] == told
