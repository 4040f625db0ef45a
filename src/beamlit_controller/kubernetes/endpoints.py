"""The addresses of the model servers' own metrics endpoints: the ready pods behind `metricServiceRef`."""

from collections.abc import Mapping

from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.kubernetes.store import Store


class MetricEndpoints:
    """The ready pods behind each model's `metricServiceRef`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, spec: OffloadSpec) -> Mapping[str, str]:
        """Return the pod name of each endpoint, by `host:port`."""
        given = spec.metric_service
        service = self._store.service(spec.key.namespace, given.name) if given else None
        if given is None or service is None or not service.selector:
            return {}
        found = self._store.pods.endpoints(spec.key.namespace, service.pod_selector, given.target_port)
        return {f"[{host}]:{port}" if ":" in host else f"{host}:{port}": name for name, host, port in found}
