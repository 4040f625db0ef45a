"""What a worker remembers of its Service: for how long the gateway has been down, and whether taking it over did harm."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.kubernetes import service_patches, services, takeover_memory
from beamlit_controller.kubernetes.managed_objects import GatewayPod
from beamlit_controller.kubernetes.reverts import LastWrite, Reverts
from beamlit_controller.kubernetes.services import Service
from beamlit_controller.kubernetes.takeover_memory import LastRead, TakeoverMemory

VALUE = service_patches.gateway_value("u1")
POD = GatewayPod(
    key=ModelKey("models", "llama"),
    name="one",
    uid="one",
    version="1",
    config="",
    ip="10.0.0.1",
    ready=True,
    deleting=False,
    gateway_labels=(("app", VALUE),),
)
DOWN = replace(POD, ready=False)


def service(value: str) -> Service:
    noted = {service_patches.ORIGINAL: '{"app":"llama"}', service_patches.TAKEN_BY: "llama"} if value == VALUE else {}
    about = {"namespace": "models", "name": "llama", "uid": "s1", "resourceVersion": "1", "annotations": noted}
    ports = [{"port": 80, "targetPort": 8000}]
    return services.parse({"metadata": about, "spec": {"selector": {"app": value}, "ports": ports}})


HELD, FREE = service(VALUE), service("llama")


def with_metrics(memory: TakeoverMemory, at: float, *, readable: bool, generation: int = 1) -> TakeoverMemory:
    return takeover_memory.with_metrics(memory, read=LastRead(readable, at), generation=generation)


def with_pods(memory: TakeoverMemory, seen: Service, pod: GatewayPod, at: float) -> TakeoverMemory:
    return takeover_memory.with_pods(memory, seen, [pod], value=VALUE, now=at)


def test_a_gateway_that_is_down_is_down_since_it_was_first_seen_so() -> None:
    first = with_pods(TakeoverMemory(), HELD, DOWN, 100)

    later = with_pods(first, HELD, DOWN, 110)

    assert (later.unready_since, later.ready_since) == (100, None)


def test_a_gateway_is_down_at_the_very_beginning_of_the_clock_too() -> None:
    assert with_pods(TakeoverMemory(), HELD, DOWN, 0).unready_since == 0
    assert with_pods(with_pods(TakeoverMemory(), HELD, DOWN, 0), HELD, DOWN, 5).unready_since == 0


def test_the_service_of_a_gateway_that_is_down_may_be_due_after_either_grace() -> None:
    down = with_pods(TakeoverMemory(), HELD, DOWN, 100)

    left = [takeover_memory.until_restore(down, now=now) for now in (100.5, 102.5, 110.5)]

    assert left == [pytest.approx(1.7), pytest.approx(7.7), None]
    assert takeover_memory.until_restore(TakeoverMemory(), now=100) is None


def test_a_gateway_that_came_back_is_up_since_then_until_it_has_the_service_again() -> None:
    down = with_pods(TakeoverMemory(), HELD, DOWN, 100)

    up = with_pods(down, FREE, POD, 130)

    assert (up.unready_since, up.ready_since) == (None, 130)
    assert with_pods(up, HELD, POD, 170).ready_since is None


def test_a_gateway_without_the_service_that_never_failed_is_not_down() -> None:
    assert with_pods(TakeoverMemory(), FREE, DOWN, 100).unready_since is None


def test_metrics_that_stay_unreadable_since_the_takeover_are_its_fault_until_the_spec_changes() -> None:
    taken = takeover_memory.taken_over(TakeoverMemory(), version=2, anew=True, readable=True, now=0)

    soon = with_metrics(taken, 5, readable=False)
    blamed = with_metrics(soon, 66, readable=False)

    assert takeover_memory.metrics_lost(soon, HELD, generation=1) is None
    found = takeover_memory.metrics_lost(with_metrics(blamed, 600, readable=True), HELD, generation=1)
    assert found is not None
    assert found.reason is Reason.TRIGGERS_UNREADABLE
    assert takeover_memory.metrics_lost(blamed, HELD, generation=2) is None


def test_metrics_that_can_be_read_again_or_are_lost_much_later_are_no_fault_of_it() -> None:
    taken = takeover_memory.taken_over(TakeoverMemory(), version=2, anew=True, readable=True, now=0)
    again = with_metrics(with_metrics(taken, 5, readable=False), 50, readable=True)

    much_later = with_metrics(with_metrics(again, 300, readable=False), 400, readable=False)

    assert takeover_memory.metrics_lost(much_later, HELD, generation=1) is None


def test_a_round_that_failed_before_the_process_was_paused_is_no_fault_of_it_however_long_the_pause() -> None:
    taken = takeover_memory.taken_over(TakeoverMemory(), version=2, anew=True, readable=True, now=0)

    passes = taken
    for _ in range(3):  # the last round stays that before the pause
        passes = with_metrics(passes, 9, readable=False)
    without_a_round = takeover_memory.with_metrics(passes, read=None, generation=1)

    assert with_metrics(without_a_round, 83, readable=True).blamed_generation is None
    assert with_metrics(without_a_round, 83, readable=False).blamed_generation == 1


def test_metrics_that_could_not_be_read_before_are_no_fault_of_it() -> None:
    taken = takeover_memory.taken_over(TakeoverMemory(), version=2, anew=True, readable=False, now=0)

    assert with_metrics(with_metrics(taken, 5, readable=False), 66, readable=False).blamed_generation is None


def test_what_was_written_counts_only_for_the_same_service_and_generation() -> None:
    memory = takeover_memory.wrote(TakeoverMemory(), HELD, generation=1, replaced=HELD.selector)

    last = takeover_memory.last_write(memory, HELD, generation=1)
    assert last is not None
    assert last.replaced == (("app", "llama"),)
    assert takeover_memory.last_write(memory, HELD, generation=2) is None
    assert takeover_memory.last_write(memory, replace(HELD, uid="s2"), generation=1) is None


def test_before_a_restoration_is_sent_no_selector_counts_as_replaced_and_reverts_are_remembered() -> None:
    seen = Reverts(times=(datetime(2026, 6, 1, tzinfo=UTC),), annotations_lost=True)
    memory = TakeoverMemory(last_write=LastWrite("s1", 1, HELD.selector, seen))

    assert takeover_memory.writing(memory).last_write == LastWrite("s1", 1, (), seen)
    assert takeover_memory.writing(TakeoverMemory()) == TakeoverMemory()


def test_a_last_pod_that_leaves_is_remembered_until_it_is_gone() -> None:
    leaving = takeover_memory.draining(takeover_memory.draining(TakeoverMemory(), [POD], now=7), [POD], now=9)

    assert leaving.draining_since == 7
    assert takeover_memory.draining(leaving, [], now=11).draining_since is None
