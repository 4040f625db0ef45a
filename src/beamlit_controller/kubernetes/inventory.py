"""The `Inventory` of a cluster: the pods of a model's workload, its replicas, and how many pods are ready."""

from collections.abc import Iterable
from typing import Protocol

from beamlit_controller.controller.ports import WorkloadSnapshot
from beamlit_controller.core.metric_spec import Selector
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import LocalHealth, Missing, Pod, Scale
from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.kubernetes.scale import SOURCE, Workloads


class PodStore(Protocol):
    """Selects pods."""

    def select(self, namespace: str, selector: Selector) -> tuple[Pod, ...]:
        """Return the pods of a namespace that the selector matches."""
        ...


class ClusterInventory:
    """An `Inventory` that reads the watched pods and the scale subresource."""

    def __init__(self, workloads: Workloads, pods: PodStore) -> None:
        self._workloads = workloads
        self._pods = pods

    async def snapshot_of(self, spec: OffloadSpec) -> WorkloadSnapshot:
        """Return pods and replicas. What can't be read is Missing and affects only the metrics that need it."""
        workload = await self._workloads.of(spec)
        if isinstance(workload, Missing):
            return WorkloadSnapshot(workload, workload, LocalHealth(0, 0))
        pods = self._pods.select(spec.key.namespace, workload.pods.selector)
        needs = f"{SOURCE}: an averageValue of this metric is per replica, and only a workload tells how many there are"
        scale: Scale | Missing = workload.scale or Missing(Reason.NO_WORKLOAD, needs)
        return WorkloadSnapshot(pods, scale, health(pods))


def health(pods: Iterable[Pod]) -> LocalHealth:
    """Count the pods that are not terminating, and the ready ones among them."""
    present = [pod for pod in pods if not pod.deleting and pod.phase not in {"Failed", "Succeeded"}]
    ready = [pod for pod in present if pod.phase == "Running" and pod.ready is not None and pod.ready.status == "True"]
    return LocalHealth(len(ready), len(present))
