"""A model at a glance: what is served where, what is wrong, what that means for clients, and what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

import builders
from beamlit_controller.api.models_view import HeadlineView
from beamlit_controller.core import cycle
from beamlit_controller.core.adaptive_state import Learned
from beamlit_controller.core.ledger import UsageReading
from beamlit_controller.core.price import Budget, BudgetUnit, Period
from beamlit_controller.core.shortfall import Shortfall
from beamlit_controller.core.signals import Reading
from beamlit_controller.core.spec import (
    Behavior,
    Mode,
    OffloadSpec,
    OnRemoteFailure,
    Overflow,
    Override,
    RemoteBackend,
    Scheme,
)
from beamlit_controller.core.traffic import Minute, RequestCounters
from beamlit_controller.core.usage import Usage
from beamlit_controller.telemetry import models
from beamlit_controller.telemetry.models import ModelDetails, ModelsSink
from builders import NOW, QUEUE, missing, sample, signals, spec

UP: Mapping[str, object] = {"ready": True, "connected": True}
REFUSED = {"status": "False", "reason": "ConnectionFailed", "message": "api.example.com refused the connection"}
THROTTLED = {"status": "False", "reason": "RemoteThrottles", "message": "api.example.com answers 429"}
REMOTE = RemoteBackend(Scheme.HTTPS, "api.example.com", 443, "/models/llama")
FIXED = spec(remote=REMOTE, behavior=Behavior(percentage=50))
ADAPTIVE = spec(remote=REMOTE, behavior=Behavior(mode=Mode.ADAPTIVE))
ALL_LOCAL, SOME_LEFT, ALL_LEFT = (
    RequestCounters(local=60),
    RequestCounters(local=42, overflow=18),
    RequestCounters(unavailable=9),
)


class Later:
    """A clock some seconds after the last round."""

    def __init__(self, seconds: float = 1) -> None:
        self.at = NOW + timedelta(seconds=seconds)

    def now(self) -> object:
        return self.at


def seen(
    whole: OffloadSpec = FIXED,
    *readings: Reading,
    gateway: Mapping[str, object] = UP,
    counted: RequestCounters | Minute | None = None,
    ready: int = 3,
    cap: int | None = None,
    short: bool = False,
    later: float = 1,
) -> HeadlineView:
    minute = Minute(timedelta(seconds=60), counted) if isinstance(counted, RequestCounters) else counted
    around = ModelDetails(gateway=lambda _: gateway, minute=lambda _: minute)
    sink = ModelsSink(Later(later), around)  # type: ignore[arg-type]  # what is asked of it is the time
    record = cycle.run(whole, signals(*(readings or (sample(5),)), ready=ready, total=3), previous=None, now=NOW)
    decided = record.decision
    if cap is not None:
        decided = replace(decided, cap=Learned(cap=cap).cap, percentage=100)  # type: ignore[arg-type]  # a whole number is a fraction
    if short:
        decided = replace(decided, shortfall=Shortfall(NOW, decided.demand or 2, lasts=True))  # type: ignore[arg-type]
    sink.record(replace(record, decision=decided))
    told = models.view(sink.snapshot()).models[0].headline
    assert told is not None
    return told


def test_a_model_that_is_well_says_where_requests_go_and_why() -> None:
    local, by_share = seen(counted=ALL_LOCAL), seen(FIXED, sample(25))
    by_cap = seen(ADAPTIVE, cap=8, counted=SOME_LEFT)

    assert (local.rank, local.state) == ("local", "Local")
    assert (by_share.rank, by_share.state, by_share.why) == (
        "offloading",
        "Offloading 50 %",
        "MetricAboveTarget: queue 25 > 10",
    )
    assert (by_cap.rank, by_cap.state) == ("offloading", "Offloading 30 %")
    assert by_cap.why.startswith("above the cap of 8 in flight per replica; MetricBelowTarget: queue 5 <= 10")
    assert not local.advice + by_share.advice + by_cap.advice


def test_servers_that_are_not_ready_are_a_cause_of_what_exceeds_the_cap() -> None:
    """With half of the servers dead, the headline only said that three quarters of the requests were above the cap."""
    told = seen(ADAPTIVE, cap=8, counted=SOME_LEFT, ready=2)

    assert told.why.startswith("above the cap of 8 in flight per replica, 2 of 3 ready; MetricBelowTarget: ")


def test_under_a_cap_from_which_nothing_left_it_is_local_although_everything_might_leave() -> None:
    assert seen(ADAPTIVE, cap=8, counted=ALL_LOCAL).state == "Local"


def test_under_a_cap_it_says_since_when_requests_leave_and_not_since_when_there_is_a_cap() -> None:
    """A model that had been offloading for a minute was shown to have done so for as long as it had had a cap: for days."""
    second, clock, counted = timedelta(seconds=1), Later(0), ALL_LOCAL
    around = ModelDetails(gateway=lambda _: UP, minute=lambda _: Minute(60 * second, counted))
    sink = ModelsSink(clock, around)  # type: ignore[arg-type]  # what is asked of it is the time
    record = cycle.run(ADAPTIVE, signals(sample(5), ready=3, total=3), previous=None, now=NOW)
    capped = replace(record.decision, cap=Fraction(8), percentage=100)
    told = []
    for step, counted in enumerate((ALL_LOCAL, SOME_LEFT, SOME_LEFT, ALL_LOCAL, ALL_LOCAL)):  # noqa: B007 - what the gateways count
        clock.at = NOW + step * second
        sink.record(replace(record, decision=capped, at=clock.at))
        told.append(models.view(sink.snapshot()).models[0].headline)

    assert [each and (each.state, each.since) for each in told] == [
        ("Local", None),  # it may have begun before the controller
        ("Offloading 30 %", NOW + second),
        ("Offloading 30 %", NOW + second),
        ("Local", NOW + 3 * second),
        ("Local", NOW + 3 * second),
    ]


def test_what_leaves_without_a_decision_is_no_older_than_what_is_counted() -> None:
    by_share, beside = seen(FIXED, sample(25), counted=SOME_LEFT), seen(FIXED, counted=SOME_LEFT)

    assert (by_share.state, by_share.since) == ("Offloading 50 %", NOW)
    assert (beside.state, beside.since) == ("Offloading 30 %", None)


def test_a_remote_that_is_down_says_that_local_answers_and_whether_requests_wait() -> None:
    calm = seen(FIXED, gateway={**UP, "remote": REFUSED}, counted=ALL_LOCAL)
    full = seen(FIXED, sample(25), gateway={**UP, "remote": REFUSED}, counted=ALL_LOCAL)

    assert (calm.rank, calm.state) == ("failing", "Remote down, local answers")
    assert calm.why == "ConnectionFailed: api.example.com refused the connection"
    assert calm.effect == "local takes every request"
    assert full.effect == "local takes every request, and they wait: queue 25 of 10"
    assert "remoteBackend.host" in full.advice


def test_a_remote_that_throttles_is_not_called_down() -> None:
    for counted in (ALL_LOCAL, SOME_LEFT):  # of the last minute, in which it still answered
        assert seen(gateway={**UP, "remote": THROTTLED}, counted=counted).state == "Remote throttles, local answers"


@pytest.mark.parametrize(
    ("gateway", "state", "effect"),
    [
        (UP, "Local down, remote answers", "requests that may leave go to the remote, others get 503"),
        ({**UP, "remote": REFUSED}, "Down", "clients get 503"),
    ],
)
def test_without_a_local_server_it_says_who_answers(gateway: Mapping[str, object], state: str, effect: str) -> None:
    down = seen(FIXED, missing(), gateway=gateway, ready=0)

    assert (down.rank, down.state, down.effect) == ("failing", state, effect)
    assert down.why.startswith("0 of 3 local servers ready")


def test_servers_that_refuse_everything_are_down_before_their_readiness_says_so() -> None:
    assert seen(counted=ALL_LEFT).state == "Local down, remote answers"


def test_a_model_that_nobody_answers_is_down_whatever_its_servers_say_of_themselves() -> None:
    """It was said that the remote answered, and where the remote's state was not known yet, that all was well."""
    nobody, some = RequestCounters(unanswered=9), RequestCounters(unavailable=6, unanswered=3)
    spent = replace(ON_DEMAND, name="")

    assert (seen(counted=nobody).state, seen(counted=nobody).effect) == ("Down", "clients get 503")
    assert seen(counted=nobody).why == "no local server answered in the last minute"
    assert seen(counted=nobody, gateway={**UP, "remote": REFUSED}).why == (
        "no local server answered in the last minute; ConnectionFailed: api.example.com refused the connection"
    )
    assert (seen(counted=nobody, ready=0).state, seen(counted=nobody, ready=0).to) == ("Down", "")
    assert seen(counted=some, ready=0).effect == (
        "requests that may leave go to the remote, others get 503; 33.3 % of the requests of the last minute got no answer"
    )
    assert with_usage(replace(FIXED, remote=spent), {"": MANY}, ready=0).state == "Down"


def test_a_remote_that_is_down_does_not_hide_requests_without_an_answer() -> None:
    """It was said that local answered them."""
    gateway, counted = {**UP, "remote": REFUSED}, RequestCounters(local=30, unanswered=30)
    fails = replace(FIXED, on_remote_failure=OnRemoteFailure.FAIL)
    whole = replace(fails, behavior=Behavior(percentage=100))
    told, returned, all_fail = (
        seen(FIXED, gateway=gateway, counted=counted),
        seen(fails, gateway=gateway, counted=ALL_LOCAL),
        seen(whole, sample(25), gateway=gateway, counted=RequestCounters(unanswered=9)),
    )

    assert (told.state, told.effect) == ("Remote down", "50 % of the requests of the last minute got no answer")
    assert (returned.state, returned.effect) == ("Remote down", "a request that goes to the remote gets its failure")
    assert all_fail.state == "Remote down"  # local may be well
    assert seen(fails, gateway=gateway, counted=RequestCounters(unanswered=9)).state == "Down"
    assert all_fail.effect.endswith("; 100 % of the requests of the last minute got no answer")


def test_what_local_failed_is_said_of_the_last_minute_and_not_of_now() -> None:
    """It stood there for most of a minute after local was back."""
    told = seen(FIXED, counted=RequestCounters(local=30, unavailable=30))

    assert told.why.startswith("local failed or refused them in the last minute; ")


def changed(before: RequestCounters, now: RequestCounters) -> Minute:
    """Return a minute of which the last quarter was different."""
    return builders.minute(*(before,) * 9, *(now,) * 3)


ALL_REMOTE, NOBODY = RequestCounters(unavailable=30), RequestCounters(unanswered=30)


@pytest.mark.parametrize(
    ("before", "now", "state", "to"),
    [
        (ALL_LOCAL, ALL_REMOTE, "Local down, remote answers", "api.example.com"),
        (
            RequestCounters(local=15, share=15),
            RequestCounters(unavailable=15, share=15),
            "Local down, remote answers",
            "api.example.com",
        ),
        (ALL_LOCAL, SOME_LEFT, "Offloading 30 %", "api.example.com"),
        (ALL_REMOTE, NOBODY, "Down", ""),
        (NOBODY, ALL_REMOTE, "Local down, remote answers", "api.example.com"),
        (NOBODY, ALL_LOCAL, "Local", ""),
        (ALL_REMOTE, ALL_LOCAL, "Local", ""),
        (SOME_LEFT, ALL_LOCAL, "Local", ""),
        (ALL_LOCAL, RequestCounters(local=29, unanswered=1), "Local", ""),
    ],
)
def test_it_says_what_is_true_now_and_not_what_was_in_the_minute(
    before: RequestCounters, now: RequestCounters, state: str, to: str
) -> None:
    """It took most of a minute until it said that local, or nobody, answered, and as long until it did not say so any more."""
    told = seen(counted=changed(before, now))

    assert (told.state, told.to) == (state, to)


@pytest.mark.parametrize(
    ("counted", "state"),
    [
        (RequestCounters(local=50, overflow=40, unanswered=10), "Offloading 40 %, some unanswered"),
        (RequestCounters(local=20, unanswered=3), "Local, some unanswered"),
        (RequestCounters(local=9, unanswered=2), "Local"),
        (RequestCounters(local=600, unanswered=9), "Local"),
    ],
)
def test_requests_without_an_answer_are_a_problem_unless_they_are_single_ones(
    counted: RequestCounters, state: str
) -> None:
    """While both sides answered some requests, it looked well however many got no answer."""
    told = seen(counted=counted)

    assert told.state == state
    if "unanswered" in state:
        assert (told.rank, told.effect) == ("failing", "clients get 503 for these")
        assert told.why.endswith("% of the requests of the last minute got no answer")


def test_two_requests_without_an_answer_are_no_problem_right_after_the_start_either() -> None:
    begun = Minute(timedelta(seconds=5), RequestCounters(local=9, unanswered=2))

    assert seen(counted=begun).state == "Local"


def test_it_names_the_time_that_it_is_about() -> None:
    some = RequestCounters(unavailable=15, unanswered=15)

    assert seen(counted=changed(ALL_LOCAL, NOBODY)).why == "no local server answered in the last 10 s"
    assert seen(counted=changed(ALL_LOCAL, some)).effect.endswith(
        "; 50 % of the requests of the last 10 s got no answer"
    )
    assert seen(counted=changed(ALL_LOCAL, RequestCounters(local=15, unavailable=15))).why.startswith(
        "local failed or refused them in the last 10 s; "
    )


def test_what_clients_sent_to_the_remote_does_not_tell_how_local_is() -> None:
    by_clients = RequestCounters(forced=40, share=9, unavailable=0)

    assert seen(counted=by_clients).state == "Remote answers all"


def test_a_model_that_was_scaled_to_none_is_not_a_failure() -> None:
    none = signals(sample(5), ready=0, total=0)
    sink = ModelsSink(Later(), ModelDetails(gateway=lambda _: UP))  # type: ignore[arg-type]
    sink.record(cycle.run(FIXED, none, previous=None, now=NOW))

    told = models.view(sink.snapshot()).models[0].headline

    assert told is not None
    assert told.rank == "local"


def test_a_gateway_that_does_not_serve_is_no_model_that_is_local() -> None:
    taken = "cannot bind '127.0.0.1:8080': Address already in use"
    alone = seen(gateway={"ready": False, "connected": True, "problem": taken})
    in_cluster = seen(gateway={"wanted": 2, "ready": 0, "connected": False})

    assert (alone.rank, alone.state, alone.why) == ("failing", "Gateway down", taken)
    assert alone.effect == "clients of its address get no response"
    assert "config.standalone.listen" in alone.advice
    assert in_cluster.state == "Gateway down"
    assert in_cluster.effect.startswith("clients reach the local pods directly, and nothing is offloaded")


def test_a_gateway_that_is_not_to_be_there_is_not_missed() -> None:
    assert seen(gateway={"wanted": 0, "ready": 0, "connected": False}).rank == "local"


def test_a_service_that_another_writer_contests_says_what_to_configure() -> None:
    told = {"problem": "ServiceContested: another writer …", "reason": "ServiceContested", "bypassed": True}
    contested = seen(gateway={"wanted": 2, "ready": 2, "connected": True, **told})

    assert (contested.rank, contested.state) == ("failing", "Bypassed, all local")
    assert contested.effect == "clients reach the local pods directly, and nothing is offloaded"
    assert "ignore spec.selector" in contested.advice


def with_usage(
    whole: OffloadSpec, used: Mapping[str, Usage], *, gateway: Mapping[str, object] = UP, ready: int = 3
) -> HeadlineView:
    """Return the headline after a minute in which some requests left, and each remote had this usage."""
    minute = Minute(timedelta(seconds=60), SOME_LEFT)
    sink = ModelsSink(Later(), ModelDetails(gateway=lambda _: gateway, minute=lambda _: minute))  # type: ignore[arg-type]
    previous = None
    for usages in ({name: Usage() for name in used}, used):
        counted = replace(signals(sample(5), ready=ready, total=3), usage=UsageReading({"a": usages}))
        record = cycle.run(whole, counted, previous=previous, now=NOW)
        previous = record.decision
        sink.record(record)
    told = models.view(sink.snapshot()).models[0].headline
    assert told is not None
    return told


MANY, FEW = Usage(requests=9), Usage(requests=1)
CONTRACT, ON_DEMAND = (
    RemoteBackend(
        Scheme.HTTPS, f"{name}.example.com", 443, name=name, budget=Budget(Decimal(5), BudgetUnit.REQUESTS, Period.DAY)
    )
    for name in ("contract", "on-demand")
)
BOTH = replace(FIXED, remote=CONTRACT, next_remotes=(ON_DEMAND,))


@pytest.mark.parametrize(
    ("contract", "on_demand", "to"),
    [
        (FEW, FEW, "contract.example.com, then on-demand.example.com"),
        (MANY, FEW, "on-demand.example.com"),
        (FEW, MANY, "contract.example.com"),
        (MANY, MANY, ""),
    ],
)
def test_a_remote_whose_budget_is_spent_is_not_named_as_where_requests_go(
    contract: Usage, on_demand: Usage, to: str
) -> None:
    """It was named first, although nothing went there."""
    assert with_usage(BOTH, {"contract": contract, "on-demand": on_demand}).to == to


@pytest.mark.parametrize(
    ("weights", "fails", "to"),
    [
        ((3, 1, None), "", "one.example.com and two.example.com by weight, then three.example.com"),
        ((3, 1, 1), "", "one.example.com, two.example.com and three.example.com by weight"),
        ((3, 1, 1), "two", "one.example.com and three.example.com by weight"),
        ((3, 1, None), "two", "one.example.com, then three.example.com"),
        ((1, None, 1), "two", "one.example.com, then three.example.com"),
    ],
)
def test_remotes_that_share_requests_are_not_said_to_be_asked_one_after_the_other(
    weights: tuple[int | None, ...], fails: str, to: str
) -> None:
    """The arrow of explain said "one, then two"."""
    first, *rest = (
        replace(REMOTE, host=f"{name}.example.com", name=name, weight=weight)
        for name, weight in zip(("one", "two", "three"), weights, strict=True)
    )
    told = seen(
        replace(FIXED, remote=first, next_remotes=tuple(rest)), sample(25), gateway={**UP, "remotes": {fails: REFUSED}}
    )

    assert told.to == to


def test_neither_is_one_that_fails() -> None:
    gateway = {**UP, "remotes": {"contract": REFUSED}}

    assert with_usage(BOTH, {"contract": FEW, "on-demand": FEW}, gateway=gateway).to == "on-demand.example.com"


def test_several_budgets_that_are_spent_are_told_by_the_names_of_their_remotes() -> None:
    told = with_usage(BOTH, {"contract": MANY, "on-demand": MANY})

    assert told.state == "Budget spent, local answers"
    assert told.why == ("BudgetSpent: contract: 9 of 5 requests per day used; on-demand: 9 of 5 requests per day used")


def test_where_requests_go_is_said_only_if_they_do() -> None:
    assert seen(FIXED, counted=ALL_LOCAL).to == ""
    assert seen(FIXED, sample(25), counted=ALL_LOCAL).to == "api.example.com"
    assert seen(ADAPTIVE, cap=8, counted=SOME_LEFT).to == "api.example.com"
    assert seen(ADAPTIVE, cap=8, counted=SOME_LEFT, gateway={**UP, "remote": REFUSED}).to == ""
    assert seen(spec(), sample(25)).to == "nowhere: there is no remote backend"


@pytest.mark.parametrize(
    ("in_flight", "waits"), [(2, ""), (9, ", and they wait: 9 in flight, the cap is 6")], ids=["room", "full"]
)
def test_a_budget_that_is_spent_says_until_when_and_whether_requests_wait(in_flight: int, waits: str) -> None:
    """`top` said that the model was offloading, while everything waited at local."""
    budget = Budget(Decimal(100), BudgetUnit.TOKENS, Period.DAY)
    whole = spec(remote=replace(REMOTE, budget=budget), metrics=(), overflow=Overflow(max_in_flight_per_replica=2))
    minute = Minute(timedelta(seconds=60), replace(SOME_LEFT, in_flight=in_flight))
    around = ModelDetails(gateway=lambda _: UP, minute=lambda _: minute)
    sink = ModelsSink(Later(), around)  # type: ignore[arg-type]  # what is asked of it is the time
    previous = None
    for used in (Usage(), Usage(requests=9, input_tokens=150)):
        counted = replace(signals(ready=3, total=3), readings=(), usage=UsageReading({"a": {"": used}}))
        record = cycle.run(whole, counted, previous=previous, now=NOW)
        previous = record.decision
        sink.record(record)

    told = models.view(sink.snapshot()).models[0].headline
    assert told is not None
    assert (told.rank, told.state) == ("short", "Budget spent, local answers")
    assert told.why == "BudgetSpent: 150 of 100 tokens per day used"
    assert told.effect == f"local takes every request until 2026-06-02 00:00Z{waits}"
    assert "budget.amount" in told.advice


def test_lost_metrics_say_whose_and_what_stays() -> None:
    nothing = seen(FIXED, missing())
    failed = seen(FIXED, missing(), counted=RequestCounters(local=30, unavailable=30))
    capped = seen(ADAPTIVE, missing(), cap=8)
    both = replace(FIXED, metrics=(QUEUE, QUEUE))

    assert (nothing.rank, nothing.state) == ("blind", "Local, metrics lost")
    assert nothing.why.startswith("ConnectionFailed: queue: ")
    assert nothing.effect == "nothing is offloaded, however full local is"
    assert failed.effect == "only what local fails or refuses is offloaded, however full local is"
    assert capped.effect == "the cap stays at 8 requests in flight per replica"
    one_of_two = seen(both, sample(25), missing())
    assert (one_of_two.state, one_of_two.effect) == ("Offloading 50 %, a metric lost", "the other metrics decide")


@pytest.mark.parametrize(
    ("misses", "state"),
    [
        ((True,), "Local, metrics lost"),  # never read: a mistake, most likely
        ((False, True), "Local"),
        ((False, *(True,) * 10), "Local"),
        ((False, *(True,) * 11), "Local, metrics lost"),
        ((False, *(True,) * 11, False, True), "Local"),
    ],
)
def test_a_metric_is_called_lost_once_that_lasts(misses: Sequence[bool], state: str) -> None:
    """One read that failed turned a model red."""
    clock = Later(0)
    sink = ModelsSink(clock)  # type: ignore[arg-type]  # what is asked of it is the time
    for second, missed in enumerate(misses):
        clock.at = NOW + timedelta(seconds=second)
        sink.record(cycle.run(FIXED, signals(missing() if missed else sample(5)), previous=None, now=clock.at))
    (told,) = models.view(sink.snapshot()).models

    assert told.headline is not None
    assert told.headline.state == state
    assert told.metrics[0].missing is None or told.metrics[0].missing.lasts == ("lost" in state)


def test_a_share_that_is_not_enough_says_so_and_what_would_be() -> None:
    short = seen(FIXED, sample(25), short=True)

    assert (short.rank, short.state) == ("short", "Offloading 50 %, not enough")
    assert short.effect == "requests wait at local: queue 25 of 10"
    assert "behavior.percentage" in short.advice


def test_an_override_and_a_dry_run_are_told_from_what_is_decided() -> None:
    by_hand = replace(FIXED, override=Override(percentage=25, until=None, author="ana", reason="a rehearsal"))
    dry = replace(FIXED, behavior=replace(FIXED.behavior, dry_run=True))

    assert seen(by_hand).state == "Offloading 25 % by hand"
    assert seen(by_hand, cap=0, counted=SOME_LEFT).why.startswith("Overridden: set to 25 % by hand")
    assert (seen(dry, sample(25)).rank, seen(dry, sample(25)).state) == ("local", "Dry run, would send 50 %")


def test_an_override_whose_metrics_are_lost_says_what_stays_and_what_to_do_until_it_ends() -> None:
    """It said `none during the override`, and to use an override meanwhile."""
    by_hand = replace(FIXED, override=Override(percentage=25, until=None, author="ana", reason="a rehearsal"))

    lost = seen(by_hand, missing())

    assert (lost.rank, lost.effect) == ("blind", "the override keeps 25 %")
    assert lost.advice == "check the source of the metric before the override ends"


def test_rounds_that_stopped_are_worse_than_all_that_they_last_said() -> None:
    late = seen(FIXED, missing(), later=90)

    assert (late.rank, late.why) == ("failing", "no round for 1 min")
    assert late.effect == "the gateway keeps its last cap and percentage"
