"""The rules of the decision, case by case, and its laws."""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

import thorough
from beamlit_controller.core import decision
from beamlit_controller.core.decision import REMEMBERED, Decision
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.spec import Behavior, Mode, OffloadSpec, OnMetricsLoss, Override, Ramp
from beamlit_controller.core.verdict import Judgement, Unread, Verdict
from builders import NOW, QUEUE, missing, spec, verdict

INSTANT = timedelta(0)
HALF = spec(behavior=Behavior(percentage=50))
STEPS = spec(
    behavior=Behavior(
        percentage=50,
        engage=Ramp(timedelta(0), Decimal(0), 20, timedelta(seconds=15)),
        release=Ramp(timedelta(seconds=60), Decimal("0.1"), 20, timedelta(seconds=15)),
    )
)

Signal = Fraction | float | int | None


@dataclass
class Play:
    """A model's decisions over time, the metric being played by the test; samples are fresh and instant unless told."""

    spec: OffloadSpec = HALF
    window: timedelta = INSTANT
    now: datetime = NOW
    last: Decision | None = None

    def read(self, ratio: Signal, *, after: float = 5, reason: Reason = Reason.CONNECTION_FAILED) -> Decision:
        self.now += timedelta(seconds=after)
        seen = verdict(ratio, at=self.now, window=self.window) if ratio is not None else unread(reason)
        self.last = decision.decide(self.spec, self.last, seen, self.now)
        return self.last

    def hold(
        self, ratio: Signal, seconds: float, *, period: float = 5, reason: Reason = Reason.CONNECTION_FAILED
    ) -> Decision:
        for _ in range(int(seconds / period)):
            self.read(ratio, after=period, reason=reason)
        assert self.last is not None
        return self.last


def unread(reason: Reason = Reason.CONNECTION_FAILED) -> Verdict:
    return Verdict(Judgement.UNKNOWN, None, (Unread(QUEUE, missing(reason)),))


def test_starts_with_everything_local() -> None:
    assert Play().read(0.5).percentage == 0


def test_engages_at_once_when_a_metric_is_over_its_target() -> None:
    decided = Play().read(1.5)

    assert (decided.percentage, decided.reason) == (50, Reason.METRIC_ABOVE_TARGET)
    assert decided.message == "queue 15 > 10"


def test_does_not_engage_at_the_target_itself() -> None:
    assert Play().read(1).percentage == 0


def test_waits_for_the_engage_window_and_says_how_long() -> None:
    ramp = Ramp(timedelta(seconds=30), Decimal(0), 100, timedelta(seconds=15))
    play = Play(spec(behavior=Behavior(percentage=50, engage=ramp)))

    first, later = play.read(1.5), play.hold(1.5, 30)

    assert (first.percentage, first.reason) == (0, Reason.STABILIZING)
    assert "offloads in 30 s" in first.message
    assert later.percentage == 50


def test_a_dip_below_the_target_begins_the_engage_window_anew() -> None:
    ramp = Ramp(timedelta(seconds=30), Decimal(0), 100, timedelta(seconds=15))
    play = Play(spec(behavior=Behavior(percentage=50, engage=ramp)))
    play.hold(1.5, 25)
    play.read(0.9)

    assert play.hold(1.5, 25).percentage == 0


def test_engages_in_steps_that_rise_only_while_over() -> None:
    play = Play(STEPS)

    assert play.read(1.5).percentage == 20
    assert play.read(1.5).percentage == 20
    assert play.hold(1.5, 10).percentage == 40
    assert play.hold(0.9, 60).percentage == 40
    assert play.hold(1.1, 20).percentage == 50


def test_a_step_waits_for_a_sample_measured_after_the_last_one() -> None:
    play = Play(STEPS, window=timedelta(seconds=60))
    play.read(1.5)

    assert play.hold(1.5, 55).percentage == 20
    assert play.hold(1.5, 10).percentage == 40


def test_holds_while_demand_is_over_target_though_the_metric_is_not() -> None:
    play = Play()
    play.read(1.6)

    held = play.hold(0.8, 300)

    assert (held.percentage, held.reason) == (50, Reason.DEMAND_ABOVE_TARGET)
    assert held.demand == Fraction(8, 5)
    assert "demand is 160% of the target; releases at 90% or less" in held.message


def test_releases_when_demand_has_been_low_for_the_release_window() -> None:
    play = Play()
    play.read(1.6)

    assert play.hold(0.4, 60).percentage == 50
    released = play.read(0.4)

    assert (released.percentage, released.reason) == (0, Reason.METRIC_BELOW_TARGET)


def test_a_rise_of_demand_begins_the_release_window_anew() -> None:
    play = Play()
    play.read(1.6)
    play.hold(0.4, 50)
    play.read(0.6)

    assert play.hold(0.4, 60).percentage == 50
    assert play.read(0.4).percentage == 0


def test_a_sample_from_before_the_change_releases_nothing() -> None:
    play = Play(window=timedelta(seconds=90))
    play.read(1.6)

    held = play.hold(0.1, 85)

    assert (held.percentage, held.reason) == (50, Reason.SETTLING)
    assert play.hold(0.1, 70).percentage == 0


def test_releases_in_steps_after_one_window() -> None:
    play = Play(STEPS)
    play.read(1.5)
    play.hold(1.5, 40)
    assert play.last is not None
    assert play.last.percentage == 50

    assert play.hold(0.1, 65).percentage == 30
    assert play.hold(0.1, 15).percentage == 10
    assert play.hold(0.1, 15).percentage == 0


def test_a_return_within_two_windows_doubles_the_release_window() -> None:
    play = Play()
    play.read(1.6)
    play.hold(0.4, 65)
    play.read(1.6)

    assert play.hold(0.4, 120).percentage == 50
    assert play.read(0.4).percentage == 0


def test_the_release_window_is_forgotten_after_a_quiet_time() -> None:
    play = Play()
    play.read(1.6)
    play.hold(0.4, 65)
    play.read(1.6)
    play.hold(0.4, 125)
    play.hold(0.4, 1000)
    play.read(1.6)

    assert play.hold(0.4, 65).percentage == 0


def test_a_trial_release_ends_what_demand_cannot_be_seen_in() -> None:
    play = Play(spec(behavior=Behavior(percentage=100)))
    play.read(1.6)

    assert play.hold(0, 600).percentage == 100
    tried = play.read(0)

    assert (tried.percentage, tried.reason) == (0, Reason.PROBING)
    assert play.hold(0.1, 305).reason is Reason.METRIC_BELOW_TARGET


def test_a_failed_trial_doubles_the_wait_for_the_next() -> None:
    play = Play(spec(behavior=Behavior(percentage=100)))
    play.read(1.6)
    play.hold(0, 605)
    play.read(1.6)

    assert play.hold(0, 1200).percentage == 100
    assert play.read(0).percentage == 0


def test_a_query_that_is_empty_without_local_traffic_is_tried_too() -> None:
    play = Play(spec(behavior=Behavior(percentage=100)))
    play.read(1.6)

    assert play.hold(None, 600, reason=Reason.NO_SERIES).percentage == 100
    assert play.read(None, reason=Reason.NO_SERIES).percentage == 0


def test_holds_the_last_decision_while_metrics_are_missing() -> None:
    play = Play()
    play.read(1.6)

    held = play.hold(None, 3600)

    assert (held.percentage, held.reason) == (50, Reason.METRICS_LOST)
    assert held.message == "queue: prometheus:9090 refused the connection; onMetricsLoss is Hold"


def test_a_metric_that_cannot_be_read_does_not_engage() -> None:
    assert Play().hold(None, 3600).percentage == 0


def test_metrics_loss_releases_when_told_to_and_not_before() -> None:
    play = Play(spec(behavior=Behavior(percentage=50, on_metrics_loss=OnMetricsLoss.RELEASE)))
    play.read(1.6)

    assert play.hold(None, 60).percentage == 50
    assert play.read(None).percentage == 0


def test_metrics_loss_offloads_when_told_to() -> None:
    play = Play(spec(behavior=Behavior(percentage=50, on_metrics_loss=OnMetricsLoss.OFFLOAD)))

    assert play.hold(None, 60).percentage == 0
    assert play.read(None).percentage == 50


def test_a_partial_loss_raises_but_never_lowers() -> None:
    two = replace(HALF, metrics=(QUEUE, QUEUE))
    low = verdict(0.1, at=NOW + timedelta(hours=1), window=INSTANT)
    high = verdict(1.5, at=NOW)
    partly_high = Verdict(Judgement.OVER, high.ratio, (*high.metrics, *unread().metrics))
    partly_low = Verdict(Judgement.UNKNOWN, low.ratio, (*low.metrics, *unread().metrics))

    engaged = decision.decide(two, None, partly_high, NOW)
    held = decision.decide(two, engaged, partly_low, NOW + timedelta(hours=1))

    assert engaged.percentage == 50
    assert (held.percentage, held.reason) == (50, Reason.METRICS_UNAVAILABLE)


def test_a_disabled_model_offloads_nothing() -> None:
    play = Play()
    play.read(1.6)
    play.spec = replace(HALF, enabled=False)

    assert (play.read(1.6).percentage, play.read(1.6).reason) == (0, Reason.DISABLED)


def test_without_metrics_nothing_is_offloaded() -> None:
    decided = decision.decide(spec(metrics=()), None, Verdict(Judgement.UNKNOWN, None, ()), NOW)

    assert (decided.percentage, decided.reason) == (0, Reason.NO_METRICS)


def test_a_changed_percentage_is_followed_while_offloading() -> None:
    play = Play()
    play.read(1.6)
    play.spec = spec(behavior=Behavior(percentage=80))
    assert play.read(0.8).percentage == 80

    play.spec = spec(behavior=Behavior(percentage=30))
    assert play.read(0.8).percentage == 30


def test_says_since_when() -> None:
    play = Play()
    play.read(1.6)
    engaged_at = play.now

    assert play.hold(0.9, 30).since == engaged_at


# Laws.

ratios = st.one_of(st.none(), st.fractions(min_value=0, max_value=4, max_denominator=20))
histories = st.lists(ratios, min_size=1, max_size=400)
behaviors = st.builds(
    Behavior,
    percentage=st.integers(0, 100),
    engage=st.builds(
        Ramp,
        st.sampled_from([timedelta(0), timedelta(seconds=30)]),
        st.sampled_from([Decimal(0), Decimal("0.1")]),
        st.integers(1, 100),
        st.just(timedelta(seconds=15)),
    ),
    on_metrics_loss=st.sampled_from(OnMetricsLoss),
)


def played(behavior: Behavior, ratios: Iterable[Signal], period: float = 5) -> list[Decision]:
    play = Play(spec(behavior=behavior))
    return [play.read(ratio, after=period) for ratio in ratios]


@given(behaviors, histories)
def test_the_share_stays_between_nothing_and_the_percentage(behavior: Behavior, history: list[Signal]) -> None:
    assert all(0 <= decided.percentage <= behavior.percentage for decided in played(behavior, history))


@given(behaviors, histories)
def test_the_history_has_the_last_changes_and_no_more(behavior: Behavior, history: list[Signal]) -> None:
    decisions = played(behavior, history)
    shares = [0, *(decided.percentage for decided in decisions)]
    moves = [pair for pair in itertools.pairwise(shares) if pair[0] != pair[1]]

    kept = decisions[-1].history if decisions else ()

    assert [(change.previous, change.percentage) for change in kept] == moves[-REMEMBERED:]


@given(behaviors, histories)
def test_the_same_input_gives_the_same_output(behavior: Behavior, history: list[Signal]) -> None:
    assert played(behavior, history) == played(behavior, history)


@given(histories, st.fractions(0, 4, max_denominator=20), st.fractions(0, 4, max_denominator=20))
def test_with_equal_history_a_higher_ratio_never_lowers_the_answer(
    history: list[Signal], one: Fraction, other: Fraction
) -> None:
    low, high = sorted((one, other))
    behavior = Behavior(percentage=50)

    assert played(behavior, [*history, low])[-1].percentage <= played(behavior, [*history, high])[-1].percentage


@given(st.lists(st.sampled_from([0, Fraction(1, 2), 2, None]), min_size=200, max_size=400))
def test_whatever_the_metric_does_releases_are_a_window_apart(history: list[Signal]) -> None:
    decided = played(Behavior(percentage=50), history)
    releases = [now.since for before, now in itertools.pairwise(decided) if now.percentage < before.percentage]

    assert all(later - sooner > timedelta(seconds=60) for sooner, later in itertools.pairwise(releases))


# In closed loop: a pool whose load the share itself changes, seen through a delay.


def closed_loop(
    load: Callable[[float], float], *, delay: float, behavior: Behavior, seconds: int = 10_800
) -> list[int]:
    """Return the share every 5 s, for a metric that is the local load (1 being the target) `delay` seconds ago."""
    play, shares = Play(spec(behavior=behavior)), [0]
    steps = int(delay / 5)
    local: list[float] = []
    for tick in range(seconds // 5):
        local.append(load(tick * 5) * (1 - shares[-1] / 100))
        seen = Fraction(round(local[max(0, tick - steps)] * 1000), 1000)
        play.now += timedelta(seconds=5)
        sample = verdict(seen, at=play.now, window=timedelta(seconds=delay))
        play.last = decision.decide(play.spec, play.last, sample, play.now)
        shares.append(play.last.percentage)
    return shares


def changes(shares: list[int]) -> int:
    return sum(before != after for before, after in itertools.pairwise(shares))


@settings(max_examples=thorough.examples(4), deadline=None)
@given(st.sampled_from([0, 15, 30, 60]), st.sampled_from([20, 50, 80]), st.floats(1.1, 3))
def test_a_lasting_load_is_offloaded_without_flapping(delay: float, percentage: int, height: float) -> None:
    shares = closed_loop(lambda at: height if at > 600 else 0.3, delay=delay, behavior=Behavior(percentage=percentage))

    assert changes(shares) <= 30
    assert sum(share > 0 for share in shares) > 0.8 * len(shares)


@settings(max_examples=thorough.examples(4), deadline=None)
@given(st.sampled_from([0, 15, 30, 60]), st.sampled_from([20, 50, 80, 100]))
def test_offloading_ends_after_the_load_has_gone(delay: float, percentage: int) -> None:
    shares = closed_loop(
        lambda at: 2.0 if 600 < at < 4000 else 0.3, delay=delay, behavior=Behavior(percentage=percentage)
    )

    assert max(shares) == percentage
    assert shares[-1] == 0
    assert changes(shares) <= 30


def test_a_percentage_set_by_hand_wins_over_the_metrics_and_is_shown_as_the_reason() -> None:
    until = NOW + timedelta(hours=1)
    play = Play(spec=spec(behavior=Behavior(percentage=50), override=Override(25, until, "ada", "a rehearsal")))

    quiet, busy, unknown = play.read(0.1), play.read(3), play.read(None)

    assert {each.percentage for each in (quiet, busy, unknown)} == {25}
    assert {each.reason for each in (quiet, busy, unknown)} == {Reason.OVERRIDDEN}
    assert quiet.message == "set to 25 % by hand until 2026-06-01 13:00:00 UTC, by ada, a rehearsal"
    assert quiet.since == unknown.since


def test_a_percentage_set_by_hand_ends_by_itself_and_low_demand_is_taken_back_at_once() -> None:
    play = Play(spec=spec(behavior=Behavior(percentage=50), override=Override(25, NOW + timedelta(seconds=60))))
    assert play.hold(0.1, 55).percentage == 25

    assert play.read(0.1).percentage == 0


def test_after_a_percentage_set_by_hand_high_demand_goes_on_as_the_spec_says() -> None:
    play = Play(spec=spec(behavior=Behavior(percentage=50), override=Override(80, NOW + timedelta(seconds=60))))
    play.hold(0.5, 55)

    assert play.read(0.5).percentage == 50


def test_nothing_leaves_by_hand_either_as_long_as_that_is_said() -> None:
    play = Play(spec=spec(behavior=Behavior(percentage=50), override=Override(0)))

    assert play.hold(9, 3600).percentage == 0
    play.spec = HALF
    assert play.read(9).percentage == 50


def test_a_dry_run_decides_all_the_same_and_sends_nothing() -> None:
    play = Play(spec=spec(behavior=Behavior(percentage=50, dry_run=True)))

    busy = play.read(1.5)
    assert (busy.percentage, busy.sent, busy.reason) == (50, 0, Reason.METRIC_ABOVE_TARGET)
    still = play.hold(1.5, 300)
    assert (still.percentage, still.demand) == (50, Fraction(3, 2))  # nothing was taken away from local
    calm = play.hold(0.5, 120)
    assert (calm.percentage, calm.sent) == (0, 0)


def test_a_dry_run_that_ends_begins_to_send_and_one_that_begins_takes_back() -> None:
    play = Play(spec=spec(behavior=Behavior(percentage=50, dry_run=True)))
    play.hold(1.5, 60)

    play.spec = HALF
    sent = play.read(1.5)
    play.spec = spec(behavior=Behavior(percentage=50, dry_run=True))
    taken_back = play.read(0.8)

    assert (sent.percentage, sent.sent, sent.shares[-1].percentage) == (50, 50, 50)
    assert (taken_back.percentage, taken_back.sent, taken_back.shares[-1].percentage) == (50, 0, 0)


# Proportional: the share that keeps the metric at its target.

PROPORTIONAL = Behavior(percentage=90, mode=Mode.PROPORTIONAL)


def test_the_proportional_share_is_what_demand_wants_and_a_little_more() -> None:
    assert Play(spec(behavior=PROPORTIONAL)).read(Fraction(11, 10)).percentage == 15  # 1 - 1/1.1 are 10 %


def test_the_proportional_share_rises_by_twenty_points_for_each_sample_after_the_last_change() -> None:
    play = Play(spec(behavior=PROPORTIONAL), window=timedelta(seconds=30))

    assert play.read(3).percentage == 20
    assert play.hold(3, 25).percentage == 20
    assert play.read(3).percentage == 40


def test_the_proportional_share_waits_while_a_backlog_shrinks() -> None:
    play = Play(spec(behavior=PROPORTIONAL))
    play.read(3)

    shrinking = [play.read(ratio, after=15).percentage for ratio in (2.5, 2, 1.5)]
    play.read(1.5, after=15)

    assert shrinking == [20, 20, 20]
    assert play.last is not None
    assert play.last.percentage == 40


def test_the_proportional_share_rises_although_another_metric_is_lost() -> None:
    two = replace(spec(behavior=PROPORTIONAL), metrics=(QUEUE, QUEUE))
    last: Decision | None = None
    for second in (0, 20):
        now = NOW + timedelta(seconds=second)
        high = verdict(3, at=now, window=INSTANT)
        last = decision.decide(two, last, replace(high, metrics=(*high.metrics, *unread().metrics)), now)

    assert last is not None
    assert last.percentage == 40


def test_a_few_requests_stay_or_nothing_could_be_seen() -> None:
    play = Play(spec(behavior=replace(PROPORTIONAL, percentage=100)))

    assert play.hold(50, 300).percentage == 95


def test_the_proportional_share_stays_while_it_fits_the_demand() -> None:
    play = Play(spec(behavior=PROPORTIONAL))
    play.hold(3, 90)
    assert play.last is not None
    at = play.last.percentage

    held = play.hold(Fraction(95, 100), 300)

    assert (held.percentage, held.reason) == (at, Reason.DEMAND_ABOVE_TARGET)
    assert held.message == "queue 9.5 <= 10; demand is 950% of the target, and the share fits it"


def test_the_proportional_share_falls_carefully_at_first_and_faster_while_nothing_speaks_against_it() -> None:
    play = Play(spec(behavior=PROPORTIONAL))
    for ratio in (3, 3, 3, 3):
        play.read(ratio, after=15)

    shares = [play.read(0).percentage for _ in range(80)]

    assert [share for share, _ in itertools.groupby(shares)] == [80, 70, 50, 10, 0]
    assert shares.count(70) == 13  # a window of a minute, from the first sample after the change


def test_after_a_fall_that_was_too_soon_the_share_returns_in_one_go_and_waits_longer() -> None:
    play = Play(spec(behavior=PROPORTIONAL))
    for ratio in (3, 3, 3, 3):
        play.read(ratio, after=15)
    assert play.hold(0, 150).percentage == 50

    assert play.read(4).percentage == 80
    assert play.hold(0, 175).percentage == 80
    assert play.hold(0, 15).percentage == 70


def test_a_proportional_trial_is_a_step() -> None:
    play = Play(spec(behavior=PROPORTIONAL))
    play.read(Fraction(5, 4))
    assert play.last is not None
    at = play.last.percentage

    tried = play.hold(Fraction(9, 10), 605)

    assert (tried.percentage, tried.reason) == (at - 10, Reason.PROBING)


def test_a_lowered_percentage_and_a_change_of_mode_are_followed() -> None:
    play = Play(HALF)
    play.read(3)
    play.spec = spec(behavior=PROPORTIONAL)
    assert play.read(Fraction(9, 10)).percentage == 50

    play.spec = spec(behavior=replace(PROPORTIONAL, percentage=30))
    assert play.read(Fraction(9, 10)).percentage == 30

    play.spec = HALF
    assert play.read(Fraction(9, 10)).percentage == 50


@given(behaviors, histories)
def test_the_proportional_share_stays_within_its_bounds(behavior: Behavior, history: list[Signal]) -> None:
    proportional = replace(behavior, mode=Mode.PROPORTIONAL)

    decided = played(proportional, history)

    assert all(0 <= each.percentage <= min(behavior.percentage, 95) for each in decided)
    assert decided == played(proportional, history)


@given(histories, st.fractions(0, 4, max_denominator=20), st.fractions(0, 4, max_denominator=20))
def test_with_equal_history_a_higher_ratio_never_lowers_the_proportional_answer(
    history: list[Signal], one: Fraction, other: Fraction
) -> None:
    low, high = sorted((one, other))

    lower, higher = (played(PROPORTIONAL, [*history, ratio])[-1] for ratio in (low, high))

    assert lower.percentage <= higher.percentage


@given(st.lists(st.sampled_from([0, Fraction(1, 2), 2, None]), min_size=200, max_size=400))
def test_whatever_the_metric_does_steps_down_are_a_window_apart(history: list[Signal]) -> None:
    decided = played(PROPORTIONAL, history)
    falls = [now.since for before, now in itertools.pairwise(decided) if now.percentage < before.percentage]

    assert all(later - sooner > timedelta(seconds=60) for sooner, later in itertools.pairwise(falls))


def test_an_override_that_ends_raises_nothing_that_no_metric_asks_for() -> None:
    """A quarter by hand, then metrics that can't be read, or are in between: never half of it."""
    for after in (None, Fraction(7, 10)):
        play = Play(replace(HALF, override=Override(25, NOW + timedelta(seconds=60))))
        play.hold(0.5, 60)

        ended = play.hold(after, 120)

        assert ended.percentage <= 25
        assert [change.percentage for change in ended.history] in ([25], [25, 0])


def test_an_override_that_ends_leaves_nothing_where_no_metric_can_be_read() -> None:
    """80 % by hand became 50 %, and stayed without limit, though no metric had ever asked for any."""
    play = Play(replace(HALF, override=Override(80, NOW + timedelta(seconds=60))))
    play.hold(None, 55)

    ended = play.read(None)

    assert (ended.percentage, ended.reason) == (0, Reason.METRICS_UNAVAILABLE)
    assert (ended.history[-1].previous, ended.history[-1].message) == (80, "the override has ended")
    assert play.hold(None, 3600).percentage == 0


shares_by_hand = st.lists(st.integers(0, 100), min_size=1, max_size=3)


@given(behaviors, st.sampled_from([Mode.FIXED, Mode.PROPORTIONAL]), histories, shares_by_hand)
def test_overrides_that_end_restore_the_share_before_them_while_no_metric_can_be_read(
    behavior: Behavior, mode: Mode, history: list[Signal], by_hand: list[int]
) -> None:
    play = Play(spec(behavior=replace(behavior, mode=mode)))
    before = [play.read(ratio) for ratio in history][-1]
    asked = play.spec

    for percentage in by_hand:
        play.spec = replace(asked, override=Override(percentage))
        play.read(None)
    play.spec = asked

    assert play.hold(None, 30).percentage == before.percentage


def test_an_override_that_ends_is_followed_up_by_a_metric_that_is_over() -> None:
    play = Play(replace(HALF, override=Override(25, NOW + timedelta(seconds=60))))
    play.hold(2, 60)

    assert play.hold(2, 60).percentage == 50


def test_a_higher_percentage_is_followed_at_once_while_offloading() -> None:
    play = Play()
    play.hold(2, 30)
    play.spec = spec(behavior=Behavior(percentage=70))

    assert play.read(0.8).percentage == 70
