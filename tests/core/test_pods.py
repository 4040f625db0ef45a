from datetime import datetime, timedelta

import pytest

from beamlit_controller.core import pods
from beamlit_controller.core.pods import Grace, Groups
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Container, Missing, Pod, PodSample, Ready
from builders import NOW, container, milli, pod

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def group_of(
    pod: Pod,
    *,
    resource: str | None = "cpu",
    value: int | None = 500,
    at: datetime = NOW,
    window: timedelta = 30 * SECOND,
    grace: Grace = pods.DEFAULT_GRACE,
    undated: bool = False,
) -> str:
    """Name the one group that a pod falls into."""
    samples = {} if value is None else {pod.name: PodSample(pod.name, value, at, window, undated=undated)}
    groups = pods.group([pod], samples, resource=resource, now=NOW, grace=grace)
    (group,) = [name for name in ("ready", "unready", "missing", "ignored") if getattr(groups, name)]
    return group


# Which pods count.


def test_a_running_pod_with_a_value_counts() -> None:
    assert group_of(pod()) == "ready"


@pytest.mark.parametrize("gone", [pod(deleting=True), pod(phase="Failed"), pod(deleting=True, phase="Pending")])
def test_a_terminating_or_failed_pod_is_ignored(gone: Pod) -> None:
    assert group_of(gone) == "ignored"
    assert group_of(gone, value=None) == "ignored"


def test_a_pending_pod_is_unready_even_with_a_value() -> None:
    assert group_of(pod(phase="Pending"), resource=None) == "unready"
    assert group_of(pod(phase="Pending"), value=None) == "unready"


@pytest.mark.parametrize("phase", ["Running", "Succeeded", "Unknown"])
def test_a_pod_without_a_value_is_missing(phase: str) -> None:
    assert group_of(pod(phase=phase), value=None) == "missing"


@pytest.mark.parametrize("resource", ["memory", "nvidia.com/gpu", None])
def test_readiness_matters_for_cpu_alone(resource: str | None) -> None:
    unready = pod(ready=Ready("False", NOW), started=NOW)

    assert group_of(unready, resource=resource) == "ready"
    assert group_of(unready, resource="cpu") == "unready"


@pytest.mark.parametrize("unknown", [pod(ready=None), pod(started=None)])
def test_cpu_of_a_pod_that_says_nothing_of_itself_does_not_count(unknown: Pod) -> None:
    assert group_of(unknown) == "unready"


def test_cpu_of_a_young_pod_counts_from_the_first_window_wholly_after_it_became_ready() -> None:
    since = NOW - MINUTE
    young = pod(ready=Ready("True", since), started=NOW - 2 * MINUTE)

    assert group_of(young, at=since + 29 * SECOND) == "unready"
    assert group_of(young, at=since + 30 * SECOND) == "ready"


def test_cpu_of_a_young_pod_does_not_count_without_a_time() -> None:
    """The HPA compares its zero time."""
    ready = Ready("True", NOW - HOUR)

    assert group_of(pod(ready=ready, started=NOW - MINUTE), undated=True) == "unready"
    assert group_of(pod(ready=ready, started=NOW - HOUR), undated=True) == "ready"


def test_cpu_of_a_young_pod_that_is_not_ready_does_not_count() -> None:
    assert group_of(pod(ready=Ready("False", NOW - HOUR), started=NOW - MINUTE)) == "unready"


def test_the_initialization_period_ends_where_it_is_set() -> None:
    overloaded = pod(ready=Ready("False", NOW), started=NOW - 5 * MINUTE)

    assert group_of(overloaded) == "ready"
    assert group_of(overloaded, grace=Grace(cpu_initialization_period=6 * MINUTE)) == "unready"


def test_cpu_of_an_old_pod_that_never_was_ready_does_not_count() -> None:
    started = NOW - HOUR

    assert group_of(pod(ready=Ready("False", started + 29 * SECOND), started=started)) == "unready"
    assert group_of(pod(ready=Ready("False", None), started=started)) == "unready"
    assert group_of(pod(ready=Ready("False", started + 30 * SECOND), started=started)) == "ready"
    longer = Grace(initial_readiness_delay=MINUTE)
    assert group_of(pod(ready=Ready("False", started + 30 * SECOND), started=started), grace=longer) == "unready"


@pytest.mark.parametrize("started", [NOW - MINUTE, NOW - HOUR])
def test_a_pod_on_a_lost_node_counts(started: datetime) -> None:
    """Its Ready condition is Unknown, which is not False."""
    assert group_of(pod(ready=Ready("Unknown", started), started=started)) == "ready"


def test_each_pod_falls_into_one_group_in_the_order_given() -> None:
    all_pods = [pod("d"), pod("c", phase="Pending"), pod("b", deleting=True), pod("a"), pod("e")]
    samples = {name: PodSample(name, 1, NOW) for name in ("a", "b", "d", "stranger")}

    groups = pods.group(all_pods, samples, resource="memory", now=NOW)

    assert groups == Groups(ready=("d", "a"), unready=("c",), missing=("e",), ignored=("b",))


# What they request.


def requested(*containers: Container, resource: str = "cpu", container: str | None = None, **changes: object) -> object:
    """Return what one pod requests in whole thousandths, or the message that says why it can't be told."""
    found = pods.requests([pod(containers=containers, **changes)], resource, container)
    return found.message if isinstance(found, Missing) else found["worker-0"]


def own(**amounts: float) -> tuple[tuple[str, int], ...]:
    return tuple((name.replace("_", "-"), milli(amount)) for name, amount in amounts.items())


def test_requests_are_summed_over_the_containers_that_keep_running() -> None:
    sidecar, setup = container("envoy", restartable=True, cpu="0.25"), container("setup", cpu=8)

    assert requested(container(cpu=1), container("log", cpu="0.1")) == 1100
    assert requested(container(cpu=1), init_containers=(setup, sidecar), overhead=own(cpu=3)) == 1250


def test_an_explicit_zero_is_a_request() -> None:
    assert requested(container(cpu=0)) == 0


def test_one_container_without_a_request_is_told() -> None:
    sidecar = container("envoy", restartable=True, memory=1)

    assert requested(container(cpu=1), container("log", memory=1)) == (
        "averageUtilization needs every pod to request cpu; worker-0's container log does not: "
        "set its resources.requests, or use averageValue"
    )
    assert "container envoy does not" in str(requested(container(cpu=1), init_containers=(sidecar,)))
    assert requested(container(cpu=1), init_containers=(container("setup", memory=1),)) == 1000


@pytest.mark.parametrize("changes", [{"phase": "Failed"}, {"deleting": True}, {"phase": "Pending"}])
def test_a_pod_without_a_request_spoils_it_for_all_whatever_its_phase(changes: dict[str, object]) -> None:
    spoiler = pod("worker-1", containers=(container(memory=1),), **changes)

    found = pods.requests([pod(), spoiler], "cpu")

    assert isinstance(found, Missing)
    assert found.reason == Reason.NO_REQUESTS
    assert "worker-1's container main" in found.message


def test_requests_of_a_named_container_leave_the_others_alone() -> None:
    others = (container(cpu=1), container("log", memory=1))
    sidecar, setup = container("envoy", restartable=True, cpu="0.25"), container("setup", cpu=8)
    both = {"init_containers": (setup, sidecar), "requests": own(cpu=4)}

    assert requested(*others, container="main", **both) == 1000
    assert requested(*others, container="envoy", **both) == 250
    assert requested(*others, container="setup", **both) == (
        "averageUtilization needs a container setup in every pod; worker-0 has main, log, envoy"
    )
    assert requested(*others, container="log", **both) == (
        "averageUtilization needs container log of every pod to request cpu; "
        "worker-0's does not: set its resources.requests, or use averageValue"
    )


def test_a_pod_of_no_containers_has_not_the_named_one() -> None:
    assert str(requested(container="main")).endswith("worker-0 has none")


def test_what_a_whole_pod_requests_replaces_its_containers() -> None:
    assert requested(container(cpu=1), requests=own(cpu=2), overhead=own(cpu="0.5")) == 2500


def test_a_whole_pod_that_requests_another_resource_reserves_what_its_containers_do() -> None:
    """Init containers take turns, each beside the restartable ones before it."""
    memory = own(memory=1)
    sidecar, setup = container("envoy", restartable=True, cpu="0.25"), container("setup", cpu=8)

    assert requested(container(cpu=1), container("log", memory=1), requests=memory) == 1000
    assert requested(container(cpu=1), requests=memory, init_containers=(sidecar, setup)) == 8250
    assert requested(container(cpu=1), requests=memory, init_containers=(setup, sidecar)) == 8000
    assert requested(container(cpu=9), requests=memory, init_containers=(setup, sidecar)) == 9250
    assert requested(container(cpu=1), requests=own(hugepages_2Mi=1), overhead=own(cpu=1)) == 2000


def test_only_cpu_memory_and_huge_pages_are_requested_for_whole_pods() -> None:
    gpu = "nvidia.com/gpu"

    assert requested(container(cpu=1), requests=((gpu, 2000),), resource="cpu") == 1000
    assert requested(Container("main", ((gpu, 4000),)), requests=((gpu, 2000), *own(cpu=1)), resource=gpu) == 4000


def test_overhead_alone_is_reserved_for_a_whole_pod() -> None:
    assert requested(container(memory=1), requests=own(memory=1), overhead=own(cpu=1)) == 1000


def test_a_whole_pod_that_requests_it_nowhere_is_told() -> None:
    assert requested(container(memory=1), requests=own(memory=1)) == (
        "averageUtilization needs every pod to request cpu; worker-0 does not, neither as a whole nor in a container: "
        "set its resources.requests, or use averageValue"
    )
