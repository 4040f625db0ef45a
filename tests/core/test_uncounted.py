"""Adaptive mode while no gateway reports its request counts."""

from dataclasses import replace
from datetime import timedelta

import pytest

from beamlit_controller.core import decision
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import NOT_ASKED, Missing
from beamlit_controller.core.spec import Behavior, Mode, OffloadSpec, OnMetricsLoss, Overflow, Override
from builders import NOW, spec, verdict

PERIOD = timedelta(seconds=5)
ADAPTIVE = Behavior(percentage=80, mode=Mode.ADAPTIVE)
LOST = Missing(Reason.TIMED_OUT, "no gateway has reported stats for 35 s")


def played(
    ratios: list[float | None],
    *,
    asked: OffloadSpec | None = None,
    previous: Decision | None = None,
    since: int = 0,
    counted: int | None = None,
    lost: Missing = LOST,
) -> list[Decision]:
    """Decide in a round every 5 s; `counted` is the number in flight that the gateways report, None if they report nothing."""
    decisions = []
    for step, ratio in enumerate(ratios, since):
        at = NOW + PERIOD * step
        told = lost if counted is None else Flow(at - PERIOD, at, counted, counted, 20, 0, 0)
        seen = verdict(ratio, at=at, age=timedelta(0), window=PERIOD)
        previous = decision.decide(asked or spec(behavior=ADAPTIVE), previous, seen, at, flow=told, ready=2)
        decisions.append(previous)
    return decisions


def test_the_percentage_leaves_if_the_metric_stays_over_its_target() -> None:
    decided = played([0.5, *[4.0] * 8])

    assert [(each.percentage, each.cap) for each in decided] == [*[(0, None)] * 7, *[(80, 0)] * 2]
    assert decided[-1].reason is Reason.METRIC_ABOVE_TARGET
    assert decided[-1].message.endswith("no gateway reports its request counts, so the share is that of Fixed mode")
    assert decided[-1].shares[-1].percentage == 80


def test_a_stabilization_window_is_waited_for_first() -> None:
    patient = replace(ADAPTIVE, engage=replace(ADAPTIVE.engage, stabilization_window=timedelta(seconds=60)))

    decided = played([4.0] * 20, asked=spec(behavior=patient))

    assert [each.percentage for each in decided] == [*[0] * 18, 80, 80]


def test_it_returns_when_demand_stays_low() -> None:
    offloading = played([4.0] * 8)[-1]

    decided = played([0.1] * 70, previous=offloading, since=8)

    assert (decided[1].percentage, decided[-1].percentage) == (80, 0)
    assert decided[-1].cap is None
    assert decided[-1].history[-1].reason is Reason.METRIC_BELOW_TARGET


def test_demand_counts_what_leaves() -> None:
    offloading = played([4.0] * 8)[-1]

    decided = played([0.4] * 3, previous=offloading, since=8)[-1]

    assert decided.demand is not None
    assert float(decided.demand) == pytest.approx(2)


def test_a_cap_is_learned_once_there_are_counts() -> None:
    offloading = played([4.0] * 8)[-1]

    first, *_, last = played([0.5, 0.5, *[4.0] * 4], previous=offloading, since=8, counted=40)

    assert (first.percentage, first.cap, first.shares[-1].percentage) == (0, None, 0)
    assert last.percentage == 80
    assert last.cap is not None
    assert last.cap > 0
    assert last.shares[-1].percentage == 0


@pytest.mark.parametrize("limit", [Overflow(), Overflow(max_in_flight_per_replica=9)])
def test_a_known_cap_stays(limit: Overflow) -> None:
    asked = spec(behavior=ADAPTIVE, overflow=limit)
    known = played([0.0, *[4.0] * 3], asked=asked, counted=32)[-1]

    decided = played([4.0] * 20, asked=asked, previous=known, since=4)

    assert known.cap is not None
    assert {each.cap for each in decided} == {known.cap}


def test_a_replay_that_knows_no_counts_sends_no_share() -> None:
    assert {each.percentage for each in played([4.0] * 20, lost=NOT_ASKED)} == {0}


@pytest.mark.parametrize(("policy", "left"), [(OnMetricsLoss.HOLD, 80), (OnMetricsLoss.RELEASE, 0)])
def test_a_metric_that_is_lost_as_well_is_treated_as_the_policy_says(policy: OnMetricsLoss, left: int) -> None:
    asked = spec(behavior=replace(ADAPTIVE, on_metrics_loss=policy))
    offloading = played([4.0] * 8, asked=asked)[-1]

    decided = played([None] * 120, asked=asked, previous=offloading, since=8)

    assert (decided[0].percentage, decided[-1].percentage) == (80, left)


def test_an_override_beats_it_and_then_the_metric_decides() -> None:
    at = NOW + PERIOD * 8
    asked = spec(override=Override(10, until=at + PERIOD * 2))
    offloading = played([4.0] * 8)[-1]

    overridden, *_, last = played([4.0] * 20, asked=replace(asked, behavior=ADAPTIVE), previous=offloading, since=8)

    assert (overridden.percentage, overridden.cap) == (10, 0)
    assert last.percentage == 80


def test_a_premature_release_is_remembered_as_in_fixed_mode() -> None:
    """The backoff was lost at each release, so the share went up and down for ever, each time 30 s late."""
    fixed, uncounted = 0, 0
    for mode in (Mode.FIXED, Mode.ADAPTIVE):
        asked, previous, over = spec(behavior=replace(ADAPTIVE, mode=mode)), None, 0
        for step in range(720):
            at, ratio = NOW + PERIOD * step, 4.0 if previous is None or previous.percentage == 0 else 0.1
            seen = verdict(ratio, at=at, age=timedelta(0), window=PERIOD)
            previous = decision.decide(asked, previous, seen, at, flow=LOST, ready=2)
            over += ratio > 1
        fixed, uncounted = (over, 0) if mode is Mode.FIXED else (fixed, over)

    assert uncounted <= 2 * fixed + 8


def test_the_share_of_adaptive_mode_is_not_restored_in_another_mode_after_an_override() -> None:
    """With a cap it is only the maximum that may leave."""
    known = played([0.0, *[4.0] * 3], counted=32)[-1]
    by_hand = Override(0, until=NOW + PERIOD * 6)
    for mode, step in ((Mode.ADAPTIVE, 4), (Mode.FIXED, 5), (Mode.FIXED, 6), (Mode.FIXED, 7)):
        asked = spec(behavior=replace(ADAPTIVE, mode=mode), override=by_hand)
        known = played([None], asked=asked, previous=known, since=step)[-1]

    assert known.percentage == 0
