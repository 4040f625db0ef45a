"""What is seen of the cluster: what the watches keep, and whom they wake."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from beamlit_controller.api import translate
from beamlit_controller.api.settings import Settings
from beamlit_controller.core import limits
from beamlit_controller.core.signals import LocalHealth
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.envoy import addresses
from beamlit_controller.envoy.shares import Setting, ShareServer
from beamlit_controller.kubernetes import autoscalers, gateway_objects, inventory, models, owned, paths, pods, services
from beamlit_controller.kubernetes.api_server import ApiServer
from beamlit_controller.kubernetes.autoscalers import Autoscalers
from beamlit_controller.kubernetes.models import Model, Models, Read, Stored
from beamlit_controller.kubernetes.owned import Owned
from beamlit_controller.kubernetes.pods import Pods
from beamlit_controller.kubernetes.services import Service, Services
from beamlit_controller.kubernetes.watches import Watches

BOUND_PERIOD = 2.0


class View:
    """What the watches keep, and whom they wake."""

    def __init__(self, settings: Settings, shares: ShareServer, read: Read | None = None) -> None:
        self._settings = settings
        self._shares = shares
        self.to_wake: Callable[[ModelKey], None] = lambda _: None
        self.to_tell: Callable[[ModelKey], None] = lambda _: None
        self.to_read: Callable[[ModelKey], bool | None] = lambda _: None
        self.models = Models(read or partial(translate.read, settings=settings), told=self._tell)
        self.owned = Owned(self._gateway_changed)
        self.services = Services(self._service_changed)
        self.pods = Pods()
        self._autoscalers = Autoscalers()

    def watches(self, server: ApiServer) -> Watches:
        """Give all watches of the controller."""
        watches = Watches(server, self._settings.namespaces)
        ours = (("labelSelector", gateway_objects.MANAGED_SELECTOR),)
        watches.add(paths.MODEL_DEPLOYMENTS, keep=models.stored, changed=self.models.changed)
        watches.add(paths.SERVICES, keep=services.parse, changed=self.services.changed)
        watches.add(paths.PODS, keep=pods.parse, changed=self.pods.changed)
        gateways = (("labelSelector", gateway_objects.POD_SELECTOR),)
        watches.add(paths.PODS, keep=owned.parse_pod, changed=self.owned.pod_changed, query=gateways)
        watches.add(paths.HORIZONTAL_POD_AUTOSCALERS, keep=autoscalers.target, changed=self._autoscalers.changed)
        for resource in gateway_objects.RESOURCES:
            watches.add(resource, keep=owned.parse(resource), changed=self.owned.changed(resource), query=ours)
        return watches

    def changed(self, key: ModelKey) -> None:
        """Have the model's status looked at."""
        self.to_tell(key)

    def service(self, namespace: str, name: str) -> Service | None:
        """Give a Service as its user wrote it; where that is lost, as the gateway that has taken it knows it."""
        found = self.services.get(namespace, name)
        if found is None or not found.lost:
            return found
        locals_ = (
            self.owned.get(paths.SERVICES, namespace, gateway_objects.local_name(key))
            for key in self._using(namespace, name)
        )
        known = next((local.selector for local in locals_ if local is not None), ())
        return services.found_again(found, dict(known))

    def readable(self, key: ModelKey) -> bool | None:
        """Tell whether the model's metrics could be read last."""
        return self.to_read(key)

    def local_health(self, model: Model) -> LocalHealth:
        """Count the pods behind the model's Service."""
        spec = model.spec
        service = self.service(spec.key.namespace, spec.service.name) if spec and spec.service else None
        if spec is None or service is None or not service.selector:
            return LocalHealth(0, 0)
        return inventory.health(self.pods.select(spec.key.namespace, service.pods))

    def autoscaler(self, model: Model) -> str | None:
        """Name the autoscaler of the model's workload."""
        return self._autoscalers.of(model.spec.key, model.spec.source) if model.spec else None

    def metric_endpoints(self, spec: OffloadSpec) -> Mapping[str, str]:
        """Give the ready pods that have metrics: the name of each by its `host:port`."""
        given = spec.metric_service
        service = self.service(spec.key.namespace, given.name) if given else None
        if given is None or service is None or not service.selector:
            return {}
        found = self.pods.endpoints(spec.key.namespace, service.pods, given.target_port)
        return {addresses.join(host, port): name for name, host, port in found}

    def _tell(self, key: ModelKey, stored: Stored | None) -> None:
        if stored is None:
            self._shares.forget(key)
        elif stored.percentage is not None:
            self._shares.set(key, Setting(stored.percentage, self._in_flight(key)))

    async def bound(self) -> None:
        """Keep what may be in flight at local in step with the pods that are ready, on either side of it; until cancelled."""
        while True:
            await asyncio.sleep(BOUND_PERIOD)
            for key in self.models.models:
                self._tell(key, self.models.get(key))

    def _in_flight(self, key: ModelKey) -> int | None:
        model = self.models.models.get(key)
        if model is None or model.spec is None:
            return None
        gateways = sum(pod.ready for pod in self.owned.pods(key).values())
        return limits.in_flight(model.spec, ready=self.local_health(model).ready, gateways=max(1, gateways))

    def _gateway_changed(self, key: ModelKey) -> None:
        self.to_wake(key)
        self.to_tell(key)

    def _service_changed(self, namespace: str, name: str) -> None:
        for key in self._using(namespace, name):
            self.to_wake(key)

    def _using(self, namespace: str, name: str) -> Iterator[ModelKey]:
        """Give the models whose Service it is."""
        for key, model in self.models.models.items():
            if key.namespace == namespace and model.spec and model.spec.service and model.spec.service.name == name:
                yield key
