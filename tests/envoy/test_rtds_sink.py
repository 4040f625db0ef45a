"""What gateways are told of a round."""

from dataclasses import replace
from fractions import Fraction

import builders
from beamlit_controller.core import cycle
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.remote_health import Attempts
from beamlit_controller.core.spec import Behavior, Mode, ModelKey, Overflow
from beamlit_controller.envoy.rtds import RtdsServer, RuntimeValues
from beamlit_controller.envoy.rtds_sink import RtdsSink


class Told(RtdsServer):
    """An RTDS server that remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.settings: list[RuntimeValues | int] = []

    def set(self, key: ModelKey, values: RuntimeValues | int) -> None:
        self.settings.append(values)
        super().set(key, values)


def round_of(spec: object, **signals: object) -> cycle.Cycle:
    read = builders.signals(value=20, **signals)
    return cycle.run(spec, read, previous=None, now=builders.NOW)


def test_tells_the_share_and_the_limit_of_what_is_ready() -> None:
    spec = builders.spec(behavior=Behavior(percentage=50), overflow=Overflow(max_in_flight_per_replica=16))
    shares = Told()

    RtdsSink(shares).record(round_of(spec, ready=3))

    assert shares.settings == [RuntimeValues(50, 48)]


def test_offloads_less_while_the_remote_answers_429_and_more_again_after() -> None:
    spec = builders.spec(behavior=Behavior(percentage=80))
    shares, counted = Told(), {"good": 0, "refused": 0}
    sink = RtdsSink(
        shares, lambda _: Attempts((("answered", 200, counted["good"]), ("answered", 429, counted["refused"])))
    )

    sink.record(round_of(spec))
    counted["refused"] = 10
    sink.record(round_of(spec))
    counted["good"] = 10
    sink.record(round_of(spec))

    assert [replace(each).percentage for each in shares.settings] == [80, 40, 45]


def test_in_adaptive_mode_the_cap_is_told_and_the_percentage_bounds_it() -> None:
    spec = builders.spec(behavior=Behavior(percentage=80, mode=Mode.ADAPTIVE))
    shares, played = Told(), round_of(spec, ready=2)

    RtdsSink(shares).record(replace(played, decision=replace(played.decision, percentage=80, cap=Fraction(17, 5))))

    assert shares.settings == [RuntimeValues(80, Fraction(34, 5), cap_only=True)]


def test_by_hand_the_percentage_itself_leaves_and_the_learned_cap_judges_nothing() -> None:
    spec = builders.spec(behavior=Behavior(mode=Mode.ADAPTIVE))
    shares, played = Told(), round_of(spec)
    by_hand = replace(played.decision, percentage=25, cap=Fraction(3), reason=Reason.OVERRIDDEN)

    RtdsSink(shares).record(replace(played, decision=by_hand))

    assert shares.settings == [RuntimeValues(25)]
