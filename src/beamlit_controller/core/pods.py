"""Selects the pods that count towards a metric and sums their requests, by the rules of the HorizontalPodAutoscaler."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Container, Missing, Pod, PodSample, Ready


@dataclass(frozen=True, slots=True)
class Grace:
    """How long the cpu usage of a starting pod is ignored, named after the flags of kube-controller-manager."""

    cpu_initialization_period: timedelta = timedelta(minutes=5)
    initial_readiness_delay: timedelta = timedelta(seconds=30)


DEFAULT_GRACE = Grace()


@dataclass(frozen=True, slots=True)
class Groups:
    """The names of the pods that count, and of those that don't, by reason."""

    ready: tuple[str, ...] = ()
    unready: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def group(
    pods: Iterable[Pod],
    samples: Mapping[str, PodSample],
    *,
    resource: str | None,
    now: datetime,
    grace: Grace = DEFAULT_GRACE,
) -> Groups:
    """Group the pods by whether they count. `samples` are by pod; `resource` is None for a Pods metric."""
    ready: list[str] = []
    unready: list[str] = []
    missing: list[str] = []
    ignored: list[str] = []
    for pod in pods:
        sample = samples.get(pod.name)
        if pod.deleting or pod.phase == "Failed":
            ignored.append(pod.name)
        elif pod.phase == "Pending":
            unready.append(pod.name)
        elif sample is None:
            missing.append(pod.name)
        elif resource == "cpu" and _is_starting(pod, sample, now=now, grace=grace):
            unready.append(pod.name)
        else:
            ready.append(pod.name)
    return Groups(tuple(ready), tuple(unready), tuple(missing), tuple(ignored))


def requests(pods: Iterable[Pod], resource: str, container: str | None = None) -> dict[str, int] | Missing:
    """Return what each pod, or one container of it, requests of a resource, in thousandths by pod.

    If any pod in any phase lacks the request, the result is Missing, because the percentage would be undefined.
    """
    requested: dict[str, int] = {}
    for pod in pods:
        milli = _of_container(pod, resource, container) if container is not None else _of_pod(pod, resource)
        if isinstance(milli, Missing):
            return milli
        requested[pod.name] = milli
    return requested


def kept_running(pod: Pod) -> tuple[Container, ...]:
    """Return the containers that run as long as the pod: its main and its restartable init containers."""
    if not pod.init_containers:
        return pod.containers
    return (*pod.containers, *(container for container in pod.init_containers if container.restartable))


# Resources that may be requested for a pod as a whole; huge pages have their size in the name.
_POD_LEVEL = ("cpu", "memory")
_HUGE_PAGES = "hugepages-"


def _is_starting(pod: Pod, sample: PodSample, *, now: datetime, grace: Grace) -> bool:
    """Return whether this cpu sample is from the pod's startup, or the pod was never ready."""
    if pod.ready is None or pod.started is None:
        return True
    unready = pod.ready.status == "False"
    if pod.started + grace.cpu_initialization_period > now:
        return unready or _began_before_ready(sample, pod.ready)
    return unready and (pod.ready.since is None or pod.started + grace.initial_readiness_delay > pod.ready.since)


def _began_before_ready(sample: PodSample, ready: Ready) -> bool:
    """Return whether a sample may be from before a pod was ready, as the HPA also takes one without a time to be."""
    return ready.since is not None and (sample.undated or sample.at < ready.since + sample.window)


def _of_container(pod: Pod, resource: str, name: str) -> int | Missing:
    found = next((container for container in kept_running(pod) if container.name == name), None)
    if found is None:
        has = ", ".join(container.name for container in kept_running(pod)) or "none"
        return Missing(
            Reason.NO_REQUESTS,
            f"averageUtilization needs a container {name} in every pod; {pod.name} has {has}",
        )
    milli = _quantity(found.requests, resource)
    if milli is None:
        return Missing(
            Reason.NO_REQUESTS,
            f"averageUtilization needs container {name} of every pod to request {resource}; "
            f"{pod.name}'s does not: set its resources.requests, or use averageValue",
        )
    return milli


def _of_pod(pod: Pod, resource: str) -> int | Missing:
    if any(_counts_for_whole_pod(name) for name, _ in pod.requests):
        return _of_whole_pod(pod, resource)
    total = 0
    for container in kept_running(pod):
        milli = _quantity(container.requests, resource)
        if milli is None:
            return Missing(
                Reason.NO_REQUESTS,
                f"averageUtilization needs every pod to request {resource}; "
                f"{pod.name}'s container {container.name} does not: set its resources.requests, or use averageValue",
            )
        total += milli
    return total


def _of_whole_pod(pod: Pod, resource: str) -> int | Missing:
    """Return what the scheduler reserves for a pod with pod-level requests."""
    own = _quantity(pod.requests, resource) if _counts_for_whole_pod(resource) else None
    reserved = own if own is not None else _of_all_containers(pod, resource)
    overhead = _quantity(pod.overhead, resource)
    if reserved is None and overhead is None:
        return Missing(
            Reason.NO_REQUESTS,
            f"averageUtilization needs every pod to request {resource}; {pod.name} does not, neither as a whole "
            "nor in a container: set its resources.requests, or use averageValue",
        )
    return (reserved or 0) + (overhead or 0)


def _of_all_containers(pod: Pod, resource: str) -> int | None:
    """Return the maximum requested at once: init containers run one after another, beside the restartable ones before them."""
    each = [_quantity(container.requests, resource) for container in (*pod.containers, *pod.init_containers)]
    if all(milli is None for milli in each):
        return None
    beside = 0
    most = 0
    for container in pod.init_containers:
        milli = _quantity(container.requests, resource) or 0
        most = max(most, beside + milli)
        beside += milli if container.restartable else 0
    return max(most, beside + sum(_quantity(container.requests, resource) or 0 for container in pod.containers))


def _counts_for_whole_pod(resource: str) -> bool:
    return resource in _POD_LEVEL or resource.startswith(_HUGE_PAGES)


def _quantity(requested: tuple[tuple[str, int], ...], resource: str) -> int | None:
    for name, milli in requested:
        if name == resource:
            return milli
    return None
