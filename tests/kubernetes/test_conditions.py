"""The status and its conditions, from all that is known of a model."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import Any

import builders
from beamlit_controller.core import cycle
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.decision import Trend
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.shortfall import Shortfall
from beamlit_controller.core.signals import LocalHealth, Missing
from beamlit_controller.core.spec import Rejected, RemoteBackend, Scheme
from beamlit_controller.kubernetes import conditions, events, fields, metav1, models
from beamlit_controller.kubernetes.conditions import ModelState
from beamlit_controller.kubernetes.gateway_trouble import Trouble
from beamlit_controller.kubernetes.models import KnownModel
from beamlit_controller.kubernetes.snapshot import GatewayState, ServiceState

Json = dict[str, Any]
NOW = "2026-06-01T12:00:00Z"
LATER = "2026-06-01T12:05:00Z"
REMOTE = RemoteBackend(Scheme.HTTPS, "api.example.com", 443)
SPEC = builders.spec(remote=REMOTE, generation=4)
LEADS = ServiceState(taken=True, why=Missing(Reason.SERVICE_TAKEN, "Service llama leads through the gateway"))
SWITCHING = ServiceState(taken=False, why=Missing(Reason.SERVICE_SWITCHING, "its endpoints are not the gateway's yet"))
HELD = Missing(Reason.SERVICE_HELD, "Service llama is taken over by ModelDeployment first, which is older")


def known(**changes: Any) -> ModelState:  # noqa: ANN401 - whatever a ModelState takes
    base = {
        "model": KnownModel("u1", SPEC, generation=4),
        "gateway": GatewayState(desired_replicas=2, ready_replicas=2, service=LEADS),
        "local": LocalHealth(2, 2),
        "cycle": a_round(value=5),
    }
    return ModelState(**base | changes)


def a_round(*, value: int) -> Cycle:
    return cycle.run(SPEC, builders.signals(value=value), previous=None, now=builders.NOW)


def of(kind: str, status: Json) -> Json:
    return next(each for each in status["conditions"] if each["type"] == kind)


def status(given: ModelState, before: Json | None = None, now: str = NOW) -> Json:
    return conditions.status_of(given, before or {}, now)


def test_a_model_that_is_as_asked_for_is_ready() -> None:
    ready = of("Ready", status(known()))

    assert (ready["status"], ready["reason"], ready["observedGeneration"]) == ("True", "AsAsked", 4)


def test_every_condition_says_numbers_and_what_generation_it_saw() -> None:
    for condition in status(known(autoscaler="models/llama"))["conditions"]:
        assert condition["message"]
        assert condition["observedGeneration"] == 4
        assert condition["lastTransitionTime"] == NOW
    assert of("GatewayReady", status(known()))["message"] == "2 of 2 gateway pods are ready"
    assert of("LocalReady", status(known()))["message"] == "2 of 2 local pods are ready"


def test_a_refused_spec_is_not_ready_and_says_every_mistake_and_what_stays_in_force() -> None:
    mistakes = (Rejected("spec.model", "expected a name"), Rejected("spec.gateway.replicas", "expected 1 to 100"))
    ready = of("Ready", status(known(model=KnownModel("u1", SPEC, mistakes, generation=5))))

    assert (ready["status"], ready["reason"]) == ("False", "SpecInvalid")
    assert "spec.model: expected a name; spec.gateway.replicas" in ready["message"]
    assert "last good one stays in force" in ready["message"]


def test_what_stands_in_the_gateways_way_is_the_reason() -> None:
    problem = Missing(Reason.SERVICE_NOT_FOUND, "spec.serviceRef: Service models/llama is not there")
    ready = of("Ready", status(known(gateway=GatewayState(desired_replicas=2, problem=problem))))

    assert (ready["status"], ready["reason"], ready["message"]) == ("False", "ServiceNotFound", problem.message)


def test_a_gateway_without_a_ready_pod_is_starting() -> None:
    given = status(known(gateway=GatewayState(desired_replicas=2, ready_replicas=0)))

    assert of("GatewayReady", given)["reason"] == "GatewayStarting"
    assert of("Ready", given)["status"] == "False"


def test_a_gateway_that_fails_stays_failing_until_nothing_is_wrong_with_it() -> None:
    """With each new trouble of replaced or restarted pods it was starting again for a minute, and then warned again."""
    trouble = Trouble("pod one: container envoy: CrashLoopBackOff", fields.time(NOW))
    crashing = known(gateway=GatewayState(desired_replicas=2, trouble=trouble))

    failing = status(crashing, now=LATER)
    again = status(
        known(gateway=replace(crashing.gateway, trouble=replace(trouble, since=fields.time(LATER)))), failing, LATER
    )
    starting = status(known(gateway=replace(crashing.gateway, trouble=None)), again, LATER)

    for kind in ("GatewayReady", "Ready"):
        reasons = [of(kind, each)["reason"] for each in (status(crashing), failing, again, starting)]
        assert reasons == ["GatewayStarting", "GatewayFailing", "GatewayFailing", "GatewayStarting"]
    assert not list(events.between(failing, again))


def test_without_a_remote_it_says_what_to_write() -> None:
    remote = of("RemoteReady", status(known(model=KnownModel("u1", builders.spec()))))

    assert remote["status"] == "False"
    assert "spec.offloadingConfig.remoteBackend" in remote["message"]


def test_the_remote_of_a_spec_that_was_never_valid_is_unknown() -> None:
    """It was said to be missing, though it was given."""
    mistakes = (Rejected("spec.model", "expected a name"),)
    remote = of("RemoteReady", status(known(model=KnownModel("u1", None, mistakes), cycle=None)))

    assert (remote["status"], remote["reason"]) == ("Unknown", "SpecInvalid")


def test_local_pods_that_are_not_ready_differ_from_none() -> None:
    assert of("LocalReady", status(known(local=LocalHealth(0, 3))))["reason"] == "NoReadyPods"
    assert of("LocalReady", status(known(local=LocalHealth(0, 0))))["reason"] == "NoPods"


def test_an_autoscaler_on_the_same_workload_is_warned_of_with_what_to_do() -> None:
    warned = of("AutoscalerInterference", status(known(autoscaler="models/llama")))

    assert warned["status"] == "True"
    for word in ("models/llama", "beamlit_demand_replicas", "1.25"):
        assert word in warned["message"]
    assert "AutoscalerInterference" not in [each["type"] for each in status(known())["conditions"]]


def test_a_condition_keeps_its_time_until_its_status_turns() -> None:
    first = status(known())

    same = status(known(local=LocalHealth(1, 2)), first, LATER)
    turned = status(known(local=LocalHealth(0, 2)), first, LATER)

    assert of("LocalReady", same)["lastTransitionTime"] == NOW
    assert of("LocalReady", turned)["lastTransitionTime"] == LATER


def test_before_the_first_round_what_was_decided_earlier_is_kept() -> None:
    before = status(known(cycle=a_round(value=25)))

    after = status(known(cycle=None), before, LATER)

    assert after["offloading"]["percentage"] == before["offloading"]["percentage"] == 100
    assert after["record"] == before["record"]


def test_a_trigger_that_never_was_read_is_told() -> None:
    previous = None
    for minutes in (0, 5):
        now = builders.NOW + timedelta(minutes=minutes)
        ran = cycle.run(SPEC, builders.signals(builders.missing(), at=now), previous=previous, now=now)
        previous = ran.decision

    told = of("TriggerReachable", status(known(cycle=ran)))

    assert (told["status"], told["reason"]) == ("False", "MetricNeverSeen")
    assert of("TriggerReachable", status(known()))["status"] == "True"


def test_figures_are_no_reason_to_write_at_once_and_decisions_are() -> None:
    first = status(known(cycle=a_round(value=5)))
    other_figure = status(known(cycle=a_round(value=6)), first)
    other_decision = status(known(cycle=a_round(value=25)), first)

    assert other_figure != first
    assert conditions.significant_fields(other_figure) == conditions.significant_fields(first)
    assert conditions.significant_fields(other_decision) != conditions.significant_fields(first)


def test_a_record_does_not_change_with_every_sample_of_the_same() -> None:
    first = a_round(value=5).decision
    later = replace(first, trend=Trend(Fraction(1, 2), builders.NOW + timedelta(seconds=15)))

    assert models.record(first) == models.record(later)


def test_a_recorded_decision_is_gone_on_from() -> None:
    decided = a_round(value=25).decision
    content = {
        "metadata": {"namespace": "models", "name": "llama", "uid": "u1", "resourceVersion": "1"},
        "status": {"record": models.record(decided)},
    }
    store = models.Models(lambda _: ())
    store.changed(SPEC.key, models.stored(content))

    assert store.recall(SPEC.key) == replace(decided, trend=None)
    assert decided.since == builders.NOW + timedelta(0)


def test_a_model_is_not_ready_before_its_service_was_seen_to_lead_to_the_gateway() -> None:
    for service in (None, SWITCHING):
        given = status(
            known(gateway=GatewayState(desired_replicas=2, ready_replicas=2, service=service, takeover=True))
        )

        assert (of("Ready", given)["status"], of("Ready", given)["reason"]) == ("False", "ServiceSwitching")
    assert of("ServiceTaken", given)["status"] == "False"


def test_a_service_that_can_not_be_given_back_is_taken_and_says_who_refused_it() -> None:
    refused = Missing(Reason.API_REFUSED, "it can't be restored: the API server refused: forbidden")
    service = ServiceState(taken=True, why=refused)
    given = status(known(gateway=GatewayState(desired_replicas=2, ready_replicas=2, service=service, takeover=True)))

    assert (of("ServiceTaken", given)["status"], of("ServiceTaken", given)["reason"]) == ("True", "APIRefused")


def test_a_highest_share_that_is_not_enough_is_a_condition_while_it_is_so() -> None:
    """It says what was seen, and what would help."""
    record = a_round(value=25)
    lasting = replace(
        record, decision=replace(record.decision, shortfall=Shortfall(builders.NOW, Fraction(2), lasts=True))
    )
    begun = replace(record, decision=replace(record.decision, shortfall=Shortfall(builders.NOW, Fraction(2))))

    told = of("OffloadingSufficient", status(known(cycle=lasting)))

    assert (told["status"], told["reason"]) == ("False", "HighestShareReached")
    assert "raise behavior.percentage" in told["message"]
    for round_ in (record, begun):
        assert "OffloadingSufficient" not in {each["type"] for each in status(known(cycle=round_))["conditions"]}


def test_a_model_whose_service_another_one_has_offloads_nothing_and_has_no_gateway() -> None:
    before = status(known(cycle=a_round(value=25)))

    given = status(known(gateway=GatewayState(absent=HELD), cycle=None), before, LATER)

    assert given["offloading"] == {
        "inForce": "0%",
        "percentage": 0,
        "reason": "ServiceHeld",
        "message": HELD.message,
        "since": LATER,
    }
    assert "record" not in given
    for kind in ("Ready", "GatewayReady", "Offloading"):
        assert (of(kind, given)["status"], of(kind, given)["reason"]) == ("False", "ServiceHeld")
    again = status(known(gateway=GatewayState(absent=HELD), cycle=None), given, "2026-06-01T13:00:00Z")
    assert conditions.equal(given, again)


def test_an_override_that_is_ignored_is_a_condition_of_its_own() -> None:
    mistake = Rejected("metadata.annotations", 'expected a percentage from "0" to "100", got "150"')
    given = status(known(model=KnownModel("u1", SPEC, generation=4, override_ignored=mistake)))

    assert (of("OverrideValid", given)["status"], of("OverrideValid", given)["reason"]) == ("False", "OverrideInvalid")
    assert "150" in of("OverrideValid", given)["message"]
    assert of("Ready", given)["status"] == "True"


def test_very_many_mistakes_leave_room_for_what_is_in_force() -> None:
    mistakes = tuple(Rejected(f"spec.metrics[{number}]", "x" * 1000) for number in range(100))
    message = of("Ready", status(known(model=KnownModel("u1", SPEC, mistakes))))["message"]

    assert len(message) <= metav1.LONGEST_MESSAGE
    assert message.endswith("(the last good one stays in force)")
