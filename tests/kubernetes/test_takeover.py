"""Whether a Service is taken over, kept or given back: every transition, over values."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.kubernetes import service_patches, services, takeover
from beamlit_controller.kubernetes.managed_objects import GatewayPod
from beamlit_controller.kubernetes.reverts import NO_REVERTS, LastWrite, Reverts
from beamlit_controller.kubernetes.service_patches import SelectorAnnotations
from beamlit_controller.kubernetes.services import Service
from beamlit_controller.kubernetes.takeover import Action, Observation, TakeoverDecision, decide

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
OURS, OTHERS = service_patches.gateway_value("u1"), service_patches.gateway_value("u2")
USERS = (("app", "llama"), ("tier", "web"))
TAKEN = (("app", OURS), ("tier", OURS))
NOTED = SelectorAnnotations(USERS, "llama")
NOT_READY = Missing(Reason.GATEWAY_STARTING, "1 of 2 gateway pods are ready")
DISABLED = Missing(Reason.DISABLED, "spec.enabled is false")


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def pod(name: str = "one", **changes: Any) -> GatewayPod:  # noqa: ANN401 - whatever a pod has
    given = GatewayPod(
        key=ModelKey("models", "llama"),
        name=name,
        uid=name,
        version="1",
        config="",
        ip="10.0.0.1",
        ready=True,
        deleting=False,
        stats_port=9902,
        gateway_labels=TAKEN,
        ports=(("http", 8000), ("offload-stats", 9902)),
    )
    return replace(given, **changes)


def service(
    present: service_patches.SelectorLabels = USERS,
    noted: SelectorAnnotations = service_patches.NO_ANNOTATIONS,
    *,
    target: int | str = 8000,
) -> Service:
    annotations = {
        service_patches.ORIGINAL: service_patches.takeover_patch("", (), noted.original, noted, OURS)["metadata"][
            "annotations"
        ][service_patches.ORIGINAL],
        service_patches.TAKEN_BY: noted.taken_by,
        service_patches.REVERTED: ",".join(each.isoformat() for each in noted.reverted),
    }
    return services.parse(
        {
            "metadata": {
                "namespace": "models",
                "name": "llama",
                "uid": "s1",
                "resourceVersion": "7",
                "annotations": annotations,
            },
            "spec": {"selector": dict(present), "ports": [{"port": 80, "targetPort": target}]},
        }
    )


def observed(seen: Service, **changes: Any) -> Observation:  # noqa: ANN401 - whatever is known
    return Observation(
        **{"service": seen, "key": "llama", "gateway_value": OURS, "pods": (pod(), pod("two")), "now": NOW} | changes
    )


def acts(seen: Service, **changes: Any) -> tuple[Action, Reason]:  # noqa: ANN401 - as `observed`
    step = decide(observed(seen, **changes))
    return step.action, step.why.reason


def written(seen: Service, step: TakeoverDecision, known: Observation) -> Service:
    """Return the Service after what was decided was written on it."""
    if step.action is Action.NOTHING:
        return seen
    if step.action is Action.TAKE_OVER:
        patch = service_patches.takeover_patch(
            seen.version,
            seen.current_selector,
            seen.selector,
            SelectorAnnotations(known.service.selector, known.key, step.reverted),
            OURS,
        )
    else:
        patch = service_patches.restore_patch(seen.version, seen.current_selector, seen.selector, step.reverted)
    annotations = {name: value for name, value in patch["metadata"]["annotations"].items() if value is not None}
    selector = {**dict(seen.current_selector), **patch.get("spec", {}).get("selector", {})}
    present = tuple(sorted((key, value) for key, value in selector.items() if value is not None))
    return service(present, service_patches.read_annotations(annotations))


def test_a_free_service_is_taken_once_the_gateway_is_ready() -> None:
    assert acts(service()) == (Action.TAKE_OVER, Reason.SERVICE_TAKEN)
    assert acts(service(), pending=NOT_READY) == (Action.NOTHING, Reason.GATEWAY_STARTING)
    assert acts(service(), blocked=DISABLED) == (Action.NOTHING, Reason.DISABLED)


def test_the_new_selector_has_exactly_the_keys_of_the_users_and_values_that_only_gateways_carry() -> None:
    patch = service_patches.takeover_patch("7", USERS, USERS, NOTED, OURS)

    assert patch["spec"]["selector"] == dict(TAKEN)
    assert patch["metadata"]["resourceVersion"] == "7"
    assert len(OURS) <= 63


def test_one_write_stores_what_it_replaces_and_the_way_back_gives_exactly_that() -> None:
    seen = service()
    known = observed(seen)

    taken = written(seen, decide(known), known)
    assert (taken.current_selector, taken.selector, taken.takeover_annotations) == (TAKEN, USERS, NOTED)

    known = observed(taken, blocked=DISABLED)
    back = written(taken, decide(known), known)
    assert (back.current_selector, back.takeover_annotations) == (USERS, service_patches.NO_ANNOTATIONS)


def test_a_taken_service_is_left_as_it_is() -> None:
    step = decide(observed(service(TAKEN, NOTED)))

    assert (step.action, step.taken, step.why.reason) == (Action.NOTHING, True, Reason.SERVICE_TAKEN)


def test_nothing_that_is_only_unknown_gives_a_service_back() -> None:
    assert acts(service(TAKEN, NOTED), pending=NOT_READY) == (Action.NOTHING, Reason.SERVICE_TAKEN)


def test_what_was_noted_is_written_again_if_somebody_changed_it() -> None:
    assert acts(service(TAKEN, SelectorAnnotations(USERS, "other"))) == (Action.TAKE_OVER, Reason.SERVICE_TAKEN)


@pytest.mark.parametrize("blocked", [DISABLED, Missing(Reason.SERVICE_UNSUITABLE, "it is headless")])
def test_a_service_that_must_not_be_taken_is_given_back(blocked: Missing) -> None:
    assert acts(service(TAKEN, NOTED), blocked=blocked) == (Action.RESTORE, blocked.reason)


def test_a_gateway_that_is_not_ready_has_ten_seconds_and_one_that_is_gone_two() -> None:
    taken, unready = service(TAKEN, NOTED), (pod(ready=False),)

    assert acts(taken, pods=unready, unready_for=seconds(9.9)) == (Action.NOTHING, Reason.GATEWAY_LOST)
    assert acts(taken, pods=unready, unready_for=seconds(10)) == (Action.RESTORE, Reason.GATEWAY_LOST)
    assert acts(taken, pods=(), unready_for=seconds(1.9)) == (Action.NOTHING, Reason.GATEWAY_LOST)
    assert acts(taken, pods=(), unready_for=seconds(2)) == (Action.RESTORE, Reason.GATEWAY_LOST)


def test_while_it_is_waited_it_is_looked_again_in_time() -> None:
    assert decide(
        observed(service(TAKEN, NOTED), pods=(pod(ready=False),), unready_for=seconds(4))
    ).requeue_after == seconds(6)
    assert decide(observed(service(), ready_for=seconds(12))).requeue_after == seconds(18)


def test_after_it_failed_a_gateway_gets_the_service_again_after_thirty_seconds_of_health() -> None:
    assert acts(service(), ready_for=seconds(29.9)) == (Action.NOTHING, Reason.GATEWAY_LOST)
    assert acts(service(), ready_for=seconds(30)) == (Action.TAKE_OVER, Reason.SERVICE_TAKEN)


def test_a_pod_without_one_of_the_services_ports_gives_the_service_back_at_once() -> None:
    old = pod(ports=(("http", 8000),))

    assert acts(service(TAKEN, NOTED, target=9000), pods=(old,)) == (Action.RESTORE, Reason.GATEWAY_STARTING)
    assert acts(service(TAKEN, NOTED, target="admin"), pods=(old,)) == (Action.RESTORE, Reason.GATEWAY_STARTING)
    assert acts(service(TAKEN, NOTED, target="http"), pods=(old,)) == (Action.NOTHING, Reason.SERVICE_TAKEN)


def test_a_selector_with_a_gateways_value_is_never_taken_for_the_users() -> None:
    mixed = service((("app", OURS), ("tier", "db")), NOTED)

    assert mixed.selector == (("app", "llama"), ("tier", "db"))
    known = observed(mixed)
    taken = written(mixed, decide(known), known)
    assert (taken.current_selector, taken.selector) == (TAKEN, mixed.selector)
    known = observed(mixed, pending=NOT_READY)
    assert written(mixed, decide(known), known).current_selector == mixed.selector


def test_what_somebody_took_whom_nobody_knows_is_given_back_or_taken_with_what_was_there() -> None:
    strange = service((("app", OTHERS), ("tier", OTHERS)), NOTED)

    assert acts(strange, pending=NOT_READY)[0] is Action.RESTORE
    known = observed(strange)
    assert written(strange, decide(known), known).selector == USERS


def test_what_another_model_still_has_is_not_touched() -> None:
    theirs = service((("app", OTHERS), ("tier", OTHERS)), SelectorAnnotations(USERS, "other"))

    assert acts(theirs, other_values={OTHERS}) == (Action.NOTHING, Reason.SERVICE_HELD)
    assert acts(theirs, other_values={OTHERS}, blocked=DISABLED) == (Action.NOTHING, Reason.DISABLED)


def test_what_is_lost_is_never_made_up() -> None:
    lost = service(TAKEN)

    assert (lost.selector_unknown, lost.selector) == (True, ())
    assert acts(lost, blocked=DISABLED)[0] is Action.NOTHING
    assert acts(service((("app", OTHERS),)), blocked=Missing(Reason.SERVICE_UNSUITABLE, "lost"))[0] is Action.NOTHING
    found = services.with_known_selector(lost, dict(USERS))
    assert acts(found, blocked=DISABLED)[0] is Action.RESTORE


def test_an_edit_is_the_users_new_selector_and_no_revert() -> None:
    edited = service((("app", "llama-2"), ("tier", "web")), NOTED)

    step = decide(observed(edited))

    assert (step.action, step.reverted) == (Action.TAKE_OVER, ())


def test_after_three_reverts_in_an_hour_the_service_is_left_to_who_writes_it() -> None:
    seen, known = service(), observed(service())
    for minute in range(3):
        known = observed(seen, now=NOW + timedelta(minutes=minute))
        step = decide(known)
        assert step.action is Action.TAKE_OVER
        taken = written(seen, step, known)
        seen = service(USERS, taken.takeover_annotations)  # somebody applies the manifest: the annotations stay

    late = observed(seen, now=NOW + timedelta(minutes=3))
    step = decide(late)
    assert (step.action, step.taken, step.why.reason) == (Action.NOTE, False, Reason.SERVICE_CONTESTED)
    noted = written(seen, step, late)
    assert (noted.current_selector, noted.takeover_annotations.taken_by, len(noted.takeover_annotations.reverted)) == (
        USERS,
        "",
        3,
    )
    assert acts(noted, now=NOW + timedelta(minutes=4)) == (Action.NOTHING, Reason.SERVICE_CONTESTED)


def test_one_key_that_is_set_back_is_a_revert_and_a_gateway_of_an_earlier_model_is_none() -> None:
    assert len(decide(observed(service((("app", OURS), ("tier", "web")), NOTED))).reverted) == 1
    assert decide(observed(service((("app", OURS), ("tier", "db")), NOTED))).reverted == ()
    assert decide(observed(service((("app", OTHERS), ("tier", OTHERS)), NOTED))).reverted == ()
    assert decide(observed(service((("app", OTHERS), ("tier", "web")), NOTED))).reverted == ()


def test_a_selector_without_annotations_is_a_revert_only_if_this_process_wrote_another_one_for_this_service() -> None:
    last = LastWrite("s1", 1, USERS, NO_REVERTS)

    assert decide(observed(service())).reverted == ()
    assert decide(observed(service(), last_write=last)).reverts == Reverts(
        (NOW,), "replaced the whole Service, without the annotations", annotations_lost=True
    )
    assert decide(observed(service(), last_write=replace(last, replaced=()))).reverted == ()
    assert decide(observed(service((("app", "new"),)), last_write=last)).reverted == ()


def test_reverts_whose_annotations_are_lost_count_beside_those_that_are_noted() -> None:
    before = Reverts((NOW - timedelta(minutes=2), NOW - timedelta(minutes=1)))

    step = decide(observed(service(), last_write=LastWrite("s1", 1, USERS, before)))

    assert (step.action, step.why.reason) == (Action.NOTHING, Reason.SERVICE_CONTESTED)
    assert step.reverted == (*before.times, NOW)
    later = LastWrite("s1", 1, (), step.reverts)
    assert decide(observed(service(), last_write=later, now=NOW + timedelta(hours=2))).reverts == NO_REVERTS


def test_an_hour_after_the_reverts_or_once_they_are_forgotten_it_is_tried_again() -> None:
    reverted = tuple(NOW - timedelta(minutes=each) for each in (50, 40, 30))
    contested = service(USERS, SelectorAnnotations(reverted=reverted))

    step = decide(observed(contested))
    assert (step.why.reason, step.requeue_after) == (Reason.SERVICE_CONTESTED, timedelta(minutes=10))
    assert acts(contested, now=NOW + timedelta(minutes=10))[0] is Action.TAKE_OVER
    assert acts(service())[0] is Action.TAKE_OVER


def test_traces_of_what_was_taken_are_wiped_off_when_it_is_not_to_be_taken_again() -> None:
    reverted = service(USERS, NOTED)

    assert acts(reverted, blocked=DISABLED) == (Action.NOTE, Reason.DISABLED)


def test_a_gateway_is_ready_when_all_of_its_pods_are_and_have_reached_the_model() -> None:
    def missing(*pods: GatewayPod, reached: tuple[str, ...] = ("one", "two")) -> Reason | None:
        found = takeover.readiness(service(), pods, OURS, wanted=2, reached=reached)
        return found.reason if found else None

    assert missing(pod(), pod("two")) is None
    assert missing(pod()) is Reason.GATEWAY_STARTING
    assert missing(pod(), pod("two", ready=False)) is Reason.GATEWAY_STARTING
    assert missing(pod(), pod("two", gateway_labels=())) is Reason.GATEWAY_STARTING
    assert missing(pod(), pod("two", ports=())) is Reason.GATEWAY_STARTING
    assert missing(pod(), pod("two"), pod("three", ready=False)) is Reason.GATEWAY_STARTING
    assert missing(pod(), pod("two"), pod("three", ready=False, deleting=True)) is None
    assert missing(pod(), pod("two"), reached=("one",)) is Reason.PODS_NOT_REACHED


def test_a_ready_pod_that_the_service_would_not_select_is_named_with_the_label_that_it_lacks() -> None:
    odd = pod("odd", gateway_labels=(("app", OURS),))

    found = takeover.readiness(service(), (pod(), odd), OURS, wanted=2, reached=())

    assert found is not None
    assert found.reason is Reason.GATEWAY_STARTING
    assert f"1 of 2 gateway pods are ready for Service llama: odd does not have the label tier={OURS}" in found.message
    starting = takeover.readiness(service(), (pod(), pod("two", ready=False)), OURS, wanted=2, reached=())
    assert starting is not None
    assert starting.message == "1 of 2 gateway pods are ready for Service llama"


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"app": 1}', f'{{"app": "{OURS}"}}'])
def test_a_stored_selector_that_makes_no_sense_is_none(text: str) -> None:
    assert service_patches.read_annotations({service_patches.ORIGINAL: text}).original == ()


def test_times_that_make_no_sense_are_left_out() -> None:
    noted = service_patches.read_annotations(
        {service_patches.REVERTED: "yesterday,2026-01-01T12:00:00Z, 2026-01-01T11:00:00"}
    )

    assert noted.reverted == (NOW - timedelta(hours=1), NOW)
