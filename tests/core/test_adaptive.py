"""Adaptive mode: what is decided about the cap, and what never happens whatever is seen."""

import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction

import pydantic
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beamlit_controller.core import adaptive_state, decision, in_flight_span, limits, load_curve
from beamlit_controller.core.adaptive_state import NOTHING, Learned, Mean, Proportion, RatioSample
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.metric_spec import AverageValue, PodsMetric, SeriesSelector, SlotsPage
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import Behavior, Mode, OffloadSpec, OnMetricsLoss, Overflow, Override
from beamlit_controller.core.verdict import Assessed, Verdict
from builders import NOW, spec, verdict

PERIOD = timedelta(seconds=5)
ADAPTIVE = Behavior(percentage=80, mode=Mode.ADAPTIVE)
RECORDED = pydantic.TypeAdapter(Decision)

RATIOS = st.integers(0, 500).map(lambda hundredths: Fraction(hundredths, 100))
ROUNDS = st.lists(st.tuples(RATIOS, st.integers(0, 400), st.integers(0, 50)), min_size=1, max_size=60)


def flow(in_flight: int, overflowed: int, *, at: int, served: int = 20) -> Flow:
    until = NOW + PERIOD * at
    return Flow(until - PERIOD, until, in_flight, in_flight, served, overflowed, overflowed)


def played(
    rounds: list[tuple[Fraction | float | None, int, int]],
    *,
    asked: OffloadSpec | None = None,
    previous: Decision | None = None,
    since: int = 0,
    ready: int = 2,
    late: timedelta = timedelta(0),
) -> list[Decision]:
    """Decide round by round: a ratio that covers the last five seconds, what is in flight then, and what overflowed."""
    asked = asked or spec(behavior=ADAPTIVE)
    decisions = []
    for step, (ratio, in_flight, overflowed) in enumerate(rounds, since):
        at = NOW + PERIOD * step
        seen = verdict(ratio, at=at, age=late, window=PERIOD)
        told = flow(in_flight, overflowed, at=step)
        previous = decision.decide(asked, previous, seen, at, flow=told, ready=ready)
        decisions.append(previous)
    return decisions


def test_nothing_may_leave_until_the_metric_was_over_its_target() -> None:
    decided = played([(0.0, 4, 0), (0.9, 16, 0), (1.0, 20, 0)])

    assert {(each.percentage, each.cap) for each in decided} == {(0, None)}


def test_the_first_sample_over_the_target_sets_a_cap_below_what_was_in_flight() -> None:
    decided = played([(0.0, 8, 0), (4.0, 32, 0)])[-1]

    assert decided.percentage == 80
    assert decided.reason is Reason.METRIC_ABOVE_TARGET
    assert decided.cap is not None
    assert 4 <= decided.cap < 16


@pytest.mark.parametrize("ago", [1, 2, 5])
def test_a_reading_of_a_moment_counts_once_the_gateways_have_told_what_was_in_flight_then(ago: int) -> None:
    asked = spec(behavior=ADAPTIVE)
    previous: Decision | None = None
    caps: list[Fraction | None] = []
    for step, ratio in enumerate([0.0, *[4.0] * 12, *[0.0] * 12]):
        at = NOW + PERIOD * step
        full = 32 if previous is None or previous.cap is None else int(2 * previous.cap)
        told = flow(full, overflowed=9, at=step)
        told = replace(told, since=told.since - timedelta(seconds=ago), until=told.until - timedelta(seconds=ago))
        seen = verdict(ratio, at=at, age=timedelta(0), window=timedelta(0))
        previous = decision.decide(asked, previous, seen, at, flow=told, ready=2)
        caps.append(previous.cap)

    first, lowered, raised = caps[2], caps[12], caps[-1]
    assert caps[:2] == [None, None]
    assert first is not None
    assert lowered is not None
    assert raised is not None
    assert lowered < first / 2
    assert raised > lowered


def test_a_first_cap_does_not_follow_from_what_was_in_flight_before_the_load_came() -> None:
    """A queue of 12 was held against the idle moment before it: the first cap was half a request."""
    asked, previous = spec(behavior=ADAPTIVE), None
    caps: list[Fraction | None] = []
    for second, (ratio, in_flight, told_at) in enumerate(
        [(0.0, 0, 0), (0.0, 0, 0), (2.4, 0, 0), (2.4, 32, 2), (2.4, 32, 2)]
    ):
        at = NOW + timedelta(seconds=second)
        told = Flow(
            NOW + timedelta(seconds=told_at - 1), NOW + timedelta(seconds=told_at), in_flight, in_flight, 10, 0, 0
        )
        seen = verdict(ratio, at=at, age=timedelta(0), window=timedelta(0))
        previous = decision.decide(asked, previous, seen, at, flow=told, ready=2)
        caps.append(previous.cap)

    assert caps[:3] == [None, None, None]
    assert caps[3] is not None
    assert caps[3] >= 8


def flooded(ratio: float | None, *, late: timedelta, window: timedelta = PERIOD) -> list[Decision]:
    """Decide while far more comes than is finished, and a metric that is late still says what was before."""
    asked, previous = spec(behavior=ADAPTIVE), None
    decisions: list[Decision] = []
    for step, in_flight in enumerate([8, 8, 8, 8, 60, 140, 220]):
        at = NOW + PERIOD * step
        told = flow(in_flight, 0, at=step, served=20 if in_flight == 8 else 80)
        previous = decision.decide(
            asked, previous, verdict(ratio, at=at, age=late, window=window), at, flow=told, ready=2
        )
        decisions.append(previous)
    return decisions


@pytest.mark.parametrize("ratio", [0.0, None])
def test_a_backlog_that_a_late_metric_can_not_show_yet_gives_a_first_cap(ratio: float | None) -> None:
    first, *_, last = flooded(ratio, late=timedelta(seconds=45))

    assert first.cap is None
    assert last.cap is not None
    assert 6 <= last.cap <= 40
    assert "estimated from a backlog" in last.message


@pytest.mark.parametrize(("late", "window"), [(4, 5), (0, 60)], ids=["late", "from any time of the last minute"])
def test_a_metric_that_may_be_late_gives_a_first_cap_if_a_calm_time_showed_how_long_requests_take(
    late: int, window: int
) -> None:
    """The value of a query may be as old as the last scrape of any of its series."""
    *_, last = flooded(0.9, late=timedelta(seconds=late), window=timedelta(seconds=window))

    assert last.cap is not None
    assert 6 <= last.cap <= 40


def test_a_noisy_metric_over_its_target_is_believed_at_once_if_there_is_a_backlog_too() -> None:
    asked, previous = spec(behavior=ADAPTIVE), None
    seen = [(0.5, 8), (0.9, 8), (0.4, 8), (0.8, 8), (0.4, 60), (1.05, 140), (1.05, 220)]
    for step, (ratio, in_flight) in enumerate(seen):
        at = NOW + PERIOD * step
        told = flow(in_flight, 0, at=step, served=20 if in_flight == 8 else 80)
        read = verdict(ratio, at=at, age=timedelta(0), window=PERIOD)
        previous = decision.decide(asked, previous, read, at, flow=told, ready=2)

    assert previous is not None
    assert previous.cap is not None
    assert 6 <= previous.cap <= 40


def test_a_metric_that_is_not_late_is_waited_for_whatever_backlog_there_is() -> None:
    decided = flooded(0.9, late=timedelta(0))

    assert {each.cap for each in decided} == {None}


def test_a_cap_that_binds_while_nothing_waits_is_raised() -> None:
    first, *_, last = played([(4.0, 32, 0), *[(0.0, 8, 9)] * 12])

    assert first.cap is not None
    assert last.cap is not None
    assert last.cap > 6


def test_what_waits_but_came_past_the_gateways_does_not_leave_less_than_one_and_the_target() -> None:
    asked, previous = spec(behavior=ADAPTIVE), None
    for step in range(8):
        at = NOW + PERIOD * step
        seen = counting(20, target=5, at=at)
        previous = decision.decide(asked, previous, seen, at, flow=flow(0, 0, at=step), ready=2)

    assert previous is not None
    assert previous.cap == Fraction("5.76")


def counting(waiting: int, *, target: int, at: datetime, window: timedelta = PERIOD) -> Verdict:
    """Return a verdict on a metric that counts what waits on each replica, seen at once over the last five seconds."""
    seen = verdict(Fraction(waiting, target), at=at, age=timedelta(0), window=window)
    (read,) = seen.metrics
    assert isinstance(read, Assessed)
    return replace(seen, metrics=(replace(read, slope=Fraction(1, target)),))


def test_where_the_metric_counts_what_waits_one_sample_tells_how_many_fit() -> None:
    """Sixteen in flight of which eight wait: eight fit, and the target lets two more in. With the capacity halved it is as quick."""
    asked, previous = spec(behavior=ADAPTIVE), None
    caps: list[Fraction | None] = []
    for step, (waiting, in_flight) in enumerate([(0, 8), (0, 8), (8, 32), (8, 32), *[(5, 19)] * 6]):
        at = NOW + PERIOD * step
        seen = counting(waiting, target=2, at=at)
        told = flow(in_flight, 9 if step > 4 else 0, at=step)
        previous = decision.decide(asked, previous, seen, at, flow=told, ready=2)
        caps.append(previous.cap)

    first, last = caps[3], caps[-1]
    assert first is not None
    assert last is not None
    assert 9 <= first <= 10
    assert 6 <= last <= Fraction("6.5")


def counted(rounds: list[tuple[int, int, int]]) -> list[Decision]:
    """Decide about two replicas by how many wait on each, with a target of two: waiting, in flight, and turned away."""
    decisions: list[Decision] = []
    for step, (waiting, in_flight, overflowed) in enumerate(rounds):
        at = NOW + PERIOD * step
        seen, told = counting(waiting, target=2, at=at), flow(in_flight, overflowed, at=step)
        before = decisions[-1] if decisions else None
        decisions.append(decision.decide(spec(behavior=ADAPTIVE), before, seen, at, flow=told, ready=2))
    return decisions


def test_added_capacity_is_found_within_a_few_samples_however_long_the_queue_was_as_wanted() -> None:
    """The mean of the samples under a cap remembers for minutes that something waited."""
    full = [(0, 8, 0), (8, 32, 0), (8, 32, 0), *[(2, 19, 9)] * 40]

    decided = counted([*full, *[(0, 19, 9)] * 6])

    before, after = decided[len(full) - 1].cap, decided[-1].cap
    assert before is not None
    assert after is not None
    assert after > before


def test_a_cap_under_which_nothing_waits_is_raised_whatever_was_estimated() -> None:
    """A sample that was paired with the wrong number in flight gave a slope and an estimate that kept the cap for good."""
    before = played([(4.0, 32, 0)])[-1]
    wrong = replace(before.learned, cap=Fraction(12), slope=Fraction(6), full=Fraction(12), base=Fraction(0))
    decided = replace(before, cap=Fraction(12), learned=wrong)

    for step in range(1, 40):
        (decided,) = played([(0.0, int(2 * (decided.cap or 0)), 9)], previous=decided, since=step)

    assert decided.cap is not None
    assert decided.cap >= 24


def test_one_empty_queue_does_not_raise_a_cap_under_which_some_wait() -> None:
    full = [(0, 8, 0), (8, 32, 0), (8, 32, 0), *[(1, 19, 9)] * 12]

    decided = counted([*full, *[(0, 19, 9), (1, 19, 9)] * 12])

    assert {each.cap for each in decided[len(full) :]} == {decided[len(full) - 1].cap}


def test_samples_that_were_under_way_correct_the_first_cap() -> None:
    """Eight of sixteen wait. The first cap came from the backlog, before any sample showed it, and is far too low."""
    before = counted([(0, 8, 0)] * 4)[-1]
    before = replace(before, learned=replace(before.learned, cap=Fraction(4), rough=True, changed_at=NOW + PERIOD * 5))
    for step in (4, 5):
        at = NOW + PERIOD * step
        seen, told = counting(8, target=2, at=at), flow(32, 9, at=step)
        before = decision.decide(spec(behavior=ADAPTIVE), before, seen, at, flow=told, ready=2)

    assert before.cap is not None
    assert 9 <= before.cap <= 10
    assert not before.learned.rough


def test_a_sample_of_a_backlog_that_grew_does_not_correct_the_first_cap() -> None:
    """Of 90 in flight about 85 waited: whether 5 or 16 fit depends on how exact both figures are."""
    before, asked = counted([(0, 16, 0)] * 3)[-1], spec(behavior=ADAPTIVE)
    cap = Fraction(16)
    before = replace(before, learned=replace(before.learned, cap=cap, rough=True, changed_at=NOW + PERIOD * 6))
    read = [
        *[counting(0, target=2, at=NOW + 2 * PERIOD)] * 2,
        *[counting(85, target=2, at=NOW + 5 * PERIOD, window=3 * PERIOD)] * 2,
    ]
    for step, (seen, in_flight) in enumerate(zip(read, [16, 166, 358, 340], strict=True), 3):
        at = NOW + PERIOD * step
        before = decision.decide(asked, before, seen, at, flow=flow(in_flight, 9, at=step), ready=2)

    assert before.cap == cap


@pytest.mark.parametrize(("overflowed", "scattered", "rises"), [(9, False, True), (2, False, False), (9, True, False)])
def test_a_cap_that_is_reached_in_bursts_while_nothing_waits_is_raised(
    overflowed: int,
    scattered: bool,  # noqa: FBT001 - a case of the table
    rises: bool,  # noqa: FBT001 - a case of the table
) -> None:
    """A mean over 15 s never comes near the cap, though a tenth of the requests was turned away. Scattered moments may miss the bursts."""
    first, asked = played([(4.0, 32, 0)])[-1], spec(behavior=ADAPTIVE)
    decided = first
    for step in range(1, 61):
        at, cap = NOW + PERIOD * step, int(2 * (decided.cap or 0))
        told = flow(2, 0, at=step) if step % 3 else flow(cap, overflowed, at=step)
        seen = verdict(0.0, at=at, age=timedelta(0), window=3 * PERIOD)
        (read,) = seen.metrics
        assert isinstance(read, Assessed)
        seen = replace(seen, metrics=(replace(read, scattered=scattered),))
        decided = decision.decide(asked, decided, seen, at, flow=told, ready=2)

    assert first.cap is not None
    assert decided.cap is not None
    assert (decided.cap > 2 * first.cap) is rises
    assert (decided.cap > first.cap) is rises


def test_over_the_target_the_message_says_that_no_gateway_reports_counts() -> None:
    lost = Missing(Reason.TIMED_OUT, "no gateway has reported stats for 35 s")

    over, within = (
        decision.decide(spec(behavior=ADAPTIVE), None, verdict(ratio), NOW, flow=lost, ready=2) for ratio in (4, 0.5)
    )

    assert (
        over.message
        == "queue 40 > 10; nothing limits the requests in flight yet; no gateway reports its request counts"
    )
    assert "no gateway" not in within.message


def test_a_cap_that_does_not_bind_stays() -> None:
    first, *others = played([(4.0, 32, 0), *[(0.0, 3, 0)] * 12])

    assert {each.cap for each in others} == {first.cap}


def test_a_cap_that_nothing_may_leave_above_is_not_lowered() -> None:
    """The remote is down or its budget spent: the metric is over its target because more than the cap is in flight."""
    learned = played([(0.0, 8, 0), (4.0, 32, 0), *[(0.8, 14, 9)] * 12])
    before = learned[-1].cap
    assert before is not None

    decided = played([(3.0, int(3 * before) + 2, 0)] * 40, previous=learned[-1], since=len(learned))

    assert {each.cap for each in decided} == {before}


def test_a_sample_from_before_the_last_change_changes_nothing() -> None:
    before = played([(4.0, 32, 0)])[-1]
    old = verdict(4, at=NOW + PERIOD, age=PERIOD / 2, window=PERIOD)

    after = decision.decide(spec(behavior=ADAPTIVE), before, old, NOW + PERIOD, flow=flow(32, 9, at=1), ready=2)

    assert after.cap == before.cap


def test_it_begins_with_the_limit_that_the_user_wrote_and_never_goes_above_it() -> None:
    asked = spec(behavior=ADAPTIVE, overflow=Overflow(max_in_flight_per_replica=6))

    decided = played([(0.0, 2, 0), *[(0.0, 12, 9)] * 12], asked=asked)

    assert {(each.percentage, each.cap) for each in decided} == {(80, Fraction(6))}


SLOTTED = PodsMetric(SeriesSelector("waiting"), AverageValue(2000), slots=SlotsPage("/props", "total_slots"))


def began(asked: OffloadSpec, *, slots: int | None) -> Decision:
    """Return the first decision about servers that tell their slots, where nothing waits."""
    return decision.decide(asked, None, verdict(0, at=NOW), NOW, flow=flow(2, 0, at=0), ready=2, slots=slots)


def test_it_begins_with_the_slots_that_the_servers_tell_and_almost_as_many_waiting_as_the_target() -> None:
    decided = began(spec(behavior=ADAPTIVE, metrics=(SLOTTED,)), slots=8)

    assert (decided.percentage, decided.cap) == (80, Fraction("9.7"))
    assert "from the number of slots that the servers report" in decided.message


def test_slots_that_are_told_give_no_cap_above_the_limit_of_the_user_nor_before_the_window_has_passed() -> None:
    engage = replace(ADAPTIVE.engage, stabilization_window=timedelta(seconds=10))
    few = spec(behavior=ADAPTIVE, metrics=(SLOTTED,), overflow=Overflow(max_in_flight_per_replica=4))
    patient = spec(behavior=replace(ADAPTIVE, engage=engage), metrics=(SLOTTED,))

    assert began(few, slots=8).cap == 4
    assert began(patient, slots=8).cap is None


def test_slots_that_are_told_do_not_override_what_was_learned() -> None:
    asked = spec(behavior=ADAPTIVE, metrics=(SLOTTED,))
    before = began(asked, slots=8)
    *_, lowered = played([(4.0, 20, 9)] * 3, asked=asked, previous=before, since=1)

    after = decision.decide(asked, lowered, verdict(0, at=NOW), NOW + PERIOD * 4, flow=flow(8, 9, at=4), slots=8)

    assert lowered.cap is not None
    assert lowered.cap < 8
    assert after.cap == lowered.cap


@pytest.mark.parametrize(("waiting", "in_flight"), [(0, 20), (4, 20)])
def test_the_slots_that_are_told_bound_what_a_single_sample_teaches(waiting: int, in_flight: int) -> None:
    """With few slots an empty or a full queue of a moment is common: no slot may stay free, and no more wait than wanted."""
    asked = spec(behavior=ADAPTIVE, metrics=(SLOTTED,))
    decided = [began(asked, slots=8)]
    for step in range(1, 8):
        at = NOW + PERIOD * step
        seen, told = counting(waiting, target=2, at=at), flow(in_flight, 9, at=step)
        decided.append(decision.decide(asked, decided[-1], seen, at, flow=told, ready=2, slots=8))

    assert all(each.cap is not None and 8 <= each.cap <= 10 for each in decided[:3])


@pytest.mark.parametrize(("most", "slots"), [(None, 8), (10, None)])
def test_a_cap_at_its_bound_is_not_recorded_anew_whenever_nothing_waits(most: int | None, slots: int | None) -> None:
    """A raise that the bound undoes would be written to the status every few seconds."""
    asked = spec(behavior=ADAPTIVE, metrics=(SLOTTED,), overflow=Overflow(max_in_flight_per_replica=most))
    decided = [began(asked, slots=slots)]
    for step in range(1, 40):
        at = NOW + PERIOD * step
        seen, told = counting(0, target=2, at=at), flow(20, 9, at=step)
        decided.append(decision.decide(asked, decided[-1], seen, at, flow=told, ready=2, slots=slots))

    recorded = [adaptive_state.lasting(each.learned) for each in decided[10:]]
    assert decided[-1].cap == 10
    assert all(each == recorded[0] for each in recorded)


def test_requests_that_come_past_the_gateways_may_take_slots() -> None:
    asked = spec(behavior=ADAPTIVE, metrics=(SLOTTED,))
    decided = [began(asked, slots=8)]
    for step in range(1, 40):
        at = NOW + PERIOD * step
        in_flight = min(20, round(2 * (decided[-1].cap or 0)))
        seen, told = counting(8, target=2, at=at), flow(in_flight, 9, at=step)
        decided.append(decision.decide(asked, decided[-1], seen, at, flow=told, ready=2, slots=8))

    assert decided[-1].cap is not None
    assert decided[-1].cap < 8


def test_the_stabilization_window_comes_before_the_first_cap() -> None:
    engage = replace(ADAPTIVE.engage, stabilization_window=timedelta(seconds=10))
    asked = spec(behavior=replace(ADAPTIVE, engage=engage))

    decided = played([(4.0, 32, 0)] * 3, asked=asked)

    assert [each.percentage for each in decided] == [0, 0, 80]
    assert decided[0].reason is Reason.STABILIZING


def test_disabled_everything_learned_is_forgotten() -> None:
    before = played([(4.0, 32, 0)])[-1]

    after = played([(4.0, 32, 0)], asked=spec(behavior=ADAPTIVE, enabled=False), previous=before, since=1)[-1]

    assert (after.percentage, after.cap, after.learned) == (0, None, NOTHING)


def test_an_override_beats_the_cap_and_leaves_what_was_learned() -> None:
    before = played([(4.0, 32, 0)])[-1]
    by_hand = spec(behavior=ADAPTIVE, override=Override(25))

    during = played([(4.0, 32, 0)], asked=by_hand, previous=before, since=1)[-1]
    after = played([(0.0, 2, 0)], previous=during, since=2)[-1]

    assert (during.percentage, during.cap, during.reason) == (25, 0, Reason.OVERRIDDEN)
    assert (after.percentage, after.cap) == (80, before.cap)


def test_an_override_of_the_same_percentage_is_recorded_as_a_change_and_so_is_its_end() -> None:
    capped = played([(4.0, 32, 0)])[-1]
    by_hand = spec(behavior=ADAPTIVE, override=Override(80))

    during = played([(0.0, 2, 0)] * 3, asked=by_hand, previous=capped, since=1)[-1]
    after = played([(0.0, 2, 0)] * 3, previous=during, since=4)[-1]

    assert [(each.previous, each.percentage, each.reason) for each in after.history] == [
        (0, 80, Reason.METRIC_ABOVE_TARGET),
        (80, 80, Reason.OVERRIDDEN),
        (80, 80, Reason.METRIC_BELOW_TARGET),
    ]
    assert [(each.previous_at_most, each.at_most) for each in after.history] == [
        (False, True),
        (True, False),
        (False, True),
    ]
    assert [each.history[-1].at == each.since for each in (capped, during, after)] == [True, True, True]


def test_another_mode_and_a_stop_tell_that_at_most_that_much_left_before() -> None:
    capped = played([(4.0, 32, 0)])[-1]
    fixed = played([(4.0, 32, 0)], asked=spec(behavior=Behavior(percentage=50)), previous=capped, since=1)[-1]
    stopped = decision.after_stop(capped, NOW + PERIOD)

    assert [each.previous_at_most for each in fixed.history[:2]] == [False, True]
    assert {each.at_most for each in fixed.history[1:]} == {False}
    assert (stopped.history[-1].previous_at_most, stopped.history[-1].at_most) == (True, False)


def test_a_changed_cap_alone_is_no_change_of_the_percentage() -> None:
    decided = played([(4.0, 32, 0), *[(0.0, 40, 9)] * 30])

    assert len({each.cap for each in decided}) > 2
    assert len(decided[-1].history) == 1


@pytest.mark.parametrize(
    ("wanted", "share", "capped"),
    [(OnMetricsLoss.HOLD, 80, True), (OnMetricsLoss.RELEASE, 0, False), (OnMetricsLoss.OFFLOAD, 80, False)],
)
def test_metrics_that_are_lost_freeze_the_cap_and_then_do_as_asked(
    wanted: OnMetricsLoss, share: int, *, capped: bool
) -> None:
    asked = spec(behavior=replace(ADAPTIVE, on_metrics_loss=wanted))
    before = played([(4.0, 32, 0)], asked=asked)[-1]

    lost = played([(None, 32, 9)] * 14, asked=asked, previous=before, since=1)
    found = played([(0.5, 4, 0)], asked=asked, previous=lost[-1], since=15)[-1]

    assert {each.cap for each in lost[:11]} == {before.cap}
    assert lost[-1].percentage == share
    assert (lost[-1].cap == before.cap) == capped
    assert (found.percentage, found.cap) == (80, before.cap)


def test_another_mode_begins_without_what_was_learned() -> None:
    before = played([(4.0, 32, 0)])[-1]

    after = played([(0.5, 4, 0)], asked=spec(behavior=Behavior()), previous=before, since=1)[-1]

    assert (after.percentage, after.cap, after.learned) == (0, None, NOTHING)


def test_what_is_recorded_is_what_is_gone_on_from() -> None:
    before = played([(0.0, 8, 0), (4.0, 32, 0), (3.0, 26, 4), (0.0, 8, 9)])[-1]
    kept = replace(before, learned=adaptive_state.lasting(before.learned))

    recalled = RECORDED.validate_json(RECORDED.dump_json(kept))

    assert recalled == kept
    assert recalled.learned.cap == before.cap
    assert recalled.learned.recent == ()


@pytest.mark.parametrize(
    "hostile",
    [
        Learned(cap=Fraction(-1)),
        Learned(cap=Fraction(10**30)),
        Learned(cap=Fraction(4), slope=Fraction(0)),
        Learned(cap=Fraction(4), slope=Fraction(10**30)),
        Learned(cap=Fraction(4), climbs=10**9),
        Learned(cap=Fraction(4), falls=10**9),
        Learned(cap=Fraction(4), over=Fraction(0)),
        Learned(cap=Fraction(4), full=Fraction(-4)),
        Learned(cap=Fraction(4), noise=Fraction(-(10**30))),
        Learned(cap=Fraction(4), off=Fraction(10**30)),
        Learned(cap=Fraction(4), jitter=Fraction(10**30)),
        Learned(cap=Fraction(4), height=Fraction(-(10**30))),
        Learned(cap=Fraction(4), full_load=Mean(count=-1)),
        Learned(cap=Fraction(4), streak=Mean(1, ratio=Fraction(10**30))),
        Learned(cap=Fraction(4), apart=Mean(-1)),
        Learned(cap=Fraction(4), rate=Fraction(-1)),
        Learned(cap=Fraction(4), by_duration=Proportion(1, value=Fraction(10**30))),
        Learned(cap=Fraction(4), by_level=Proportion(1, off=Fraction(2))),
        Learned(cap=Fraction(4), by_nothing=Proportion(10**9)),
    ],
)
def test_a_recalled_state_that_can_not_be_true_is_dropped(hostile: Learned) -> None:
    before = replace(decision.begin(NOW), learned=hostile, cap=hostile.cap, percentage=80)

    after = played([(0.5, 4, 0)], previous=before)[-1]

    assert (after.percentage, after.cap) == (0, None)


def test_replicas_that_come_are_given_as_much_as_those_that_were_there() -> None:
    decided = played([(4.0, 32, 0)])[-1]

    two, four = (limits.in_flight(spec(), decided.cap, ready=ready, gateways=2) for ready in (2, 4))

    assert two is not None
    assert four == 2 * two


def test_times_of_requests_that_began_before_a_change_do_not_lower_the_cap_again() -> None:
    """A request here takes a minute, so for a minute the times that are seen are those of the crowd before."""
    calm = [(0.7, in_flight, 0) for in_flight in (180, 190, 200) * 4]
    begun = played([*calm, *[(1.2, 240, 0)] * 3])[-1]
    assert begun.cap is not None

    decided, since = begun, len(calm) + 3
    for step in range(since, since + 11):
        decided = played([(1.3, int(2 * (decided.cap or 1)), 5)], previous=decided, since=step)[-1]

    assert decided.cap is not None
    assert decided.cap >= Fraction(8, 10) * begun.cap


def test_a_sample_whose_beginning_nobody_saw_tells_nothing_of_the_slope() -> None:
    """Started in an overload: the first sample held the last look at a growing queue, and the slope was seven times too steep for an hour."""
    ramp = flow(36, 0, at=0)
    seen = adaptive_state.saw(NOTHING, ramp, ready=2)
    sample = RatioSample(Fraction(3, 2), ramp.since, ramp.until)

    alone = load_curve.observed(sample, seen)
    later = load_curve.observed(
        replace(sample, since=ramp.until, until=ramp.until + PERIOD),
        adaptive_state.saw(seen, flow(36, 0, at=1), ready=2),
    )

    assert alone is not None
    assert later is not None
    assert not alone.steady
    assert later.steady


def test_a_metric_at_its_maximum_does_not_keep_a_cap_that_is_far_too_high() -> None:
    """It says the same at twice and at ten times what fits: the cap is halved until it says something else."""
    decided = played([(1.11, 200, 20)] * 4)
    first = decided[-1].cap
    assert first is not None

    previous, reached = decided[-1], [first]
    for step in range(4, 40):
        previous = played([(1.11, int(2 * reached[-1]), 20)], previous=previous, since=step)[-1]
        reached.append(previous.cap or Fraction(0))

    assert reached[-1] <= first / 4


@given(ROUNDS, st.integers(1, 100))
def test_the_cap_and_the_share_stay_within_their_bounds(rounds: list[tuple[Fraction, int, int]], most: int) -> None:
    asked = spec(behavior=replace(ADAPTIVE, percentage=most))

    for decided in played(list(rounds), asked=asked):
        assert decided.percentage in {0, most}
        assert (decided.percentage == 0) == (decided.cap is None)
        assert decided.cap is None or adaptive_state.LEAST <= decided.cap <= adaptive_state.MOST
        assert len(decided.learned.recent) <= in_flight_span.SPANS


@example([(Fraction(0), 0, 0)], Fraction(107, 100), Fraction(121, 100), 3, 0)
@given(ROUNDS, RATIOS, RATIOS, st.integers(0, 400), st.integers(0, 50))
def test_a_higher_ratio_never_gives_a_higher_cap(
    rounds: list[tuple[Fraction, int, int]], one: Fraction, other: Fraction, in_flight: int, overflowed: int
) -> None:
    before = replace(played(list(rounds))[-1])
    learned = replace(before.learned, last=None)
    before = replace(before, learned=learned)

    low, high = (
        played([(ratio, in_flight, overflowed)], previous=before, since=len(rounds))[-1].cap
        for ratio in sorted((one, other))
    )

    assert high is not None or low is None
    assert low is None or (high is not None and high <= low)


@given(ROUNDS)
def test_with_a_metric_that_is_late_the_cap_changes_once_in_the_time_that_it_is_late(
    rounds: list[tuple[Fraction, int, int]],
) -> None:
    """Only the first cap is corrected by samples that were under way when it was set."""
    late = timedelta(seconds=15)

    caps = [each.cap for each in played(list(rounds), late=late)]

    changed = [step for step in range(1, len(caps)) if caps[step] != caps[step - 1]]
    assert all((after - before) * PERIOD >= late + PERIOD for before, after in itertools.pairwise(changed[1:]))


@given(ROUNDS)
def test_in_a_dry_run_the_same_is_decided_and_nothing_is_sent(rounds: list[tuple[Fraction, int, int]]) -> None:
    dry = played(list(rounds), asked=spec(behavior=replace(ADAPTIVE, dry_run=True)))
    real = played(list(rounds))

    assert [each.cap for each in dry] == [each.cap for each in real]
    assert {each.sent for each in dry} == {0}


@example([(Fraction(101, 100), 0, 0), (Fraction(0), 0, 0), (Fraction(0), 0, 10)])
@given(ROUNDS)
def test_a_metric_that_is_lost_never_moves_a_cap_that_was_learned(rounds: list[tuple[Fraction, int, int]]) -> None:
    """Without one, the gateways' counts may give it."""
    before = played(list(rounds))[-1]

    lost = played([(None, 400, 50)] * 20, previous=before, since=len(rounds))

    caps = [each.cap for each in lost]
    guessed = before.cap is None or before.learned.guessed
    assert (
        all(later == cap for cap, later in itertools.pairwise(caps) if cap is not None)
        if guessed
        else set(caps) == {before.cap}
    )


@pytest.mark.parametrize("metrics", [1, 2])
def test_an_overload_that_begins_as_the_metrics_are_lost_is_limited(metrics: int) -> None:
    """One value that was read at a low load switched the gateways' evidence off, and nothing left until the metric was back."""
    asked = spec(behavior=ADAPTIVE, metrics=spec().metrics * metrics)
    decided: Decision | None = None
    caps: list[Fraction | None] = []
    for step in range(25):
        at, cap = NOW + PERIOD * step, None if decided is None else decided.cap
        in_flight = 8 if step < 6 else 8 + 40 * (step - 5) if cap is None else int(2 * cap)
        away = 0 if cap is None else 40
        told = Flow(at - PERIOD, at, in_flight, in_flight, 20, away, away)
        seen = verdict(0.1 if step < 6 else 0.9 if step == 24 else None, at=at, age=timedelta(0), window=PERIOD)
        seen = replace(seen, metrics=seen.metrics * metrics)
        decided = decision.decide(asked, decided, seen, at, flow=told, ready=2)
        caps.append(decided.cap)

    assert caps[5] is None
    assert caps[-2] is not None
    assert 4 <= caps[-2] <= 12
    assert caps[-1] == caps[-2]


@pytest.mark.parametrize(("ratio", "at_least"), [(2.5, 10), (1.5, 15)])
def test_a_cap_that_is_clearly_wrong_does_not_rest_for_long(ratio: float, at_least: int) -> None:
    """Half of the slots were gone under a metric that is read each second: requests waited under caps that rested for 15 s."""
    decided = played([(0.0, 8, 0), (4.0, 32, 0)])
    for step in range(2, 20):
        cap = decided[-1].cap
        assert cap is not None
        decided += played([(ratio, round(2 * cap), 9)], previous=decided[-1], since=step)

    changed = [step for step in range(1, len(decided)) if decided[step].cap != decided[step - 1].cap]

    rests = [(later - earlier) * PERIOD for earlier, later in itertools.pairwise(changed)]
    assert min(rests) == timedelta(seconds=at_least)
