"""The caches that the watches fill, and their indexes. It decides nothing and writes nothing.

`changes` publishes the key of each model that an event concerns: its own object, its Service, the pods behind it, the
gateway's objects and pods, another model with the same Service, an autoscaler of the same workload.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from beamlit_controller.controller.changes import Changes
from beamlit_controller.core.metric_spec import ObjectReference
from beamlit_controller.core.signals import LocalHealth
from beamlit_controller.core.spec import ModelKey, OffloadSpec, RoutingMode
from beamlit_controller.kubernetes import (
    autoscalers,
    gateway_objects,
    inventory,
    managed_objects,
    models,
    paths,
    plan,
    pod_addresses,
    pods,
    services,
)
from beamlit_controller.kubernetes import snapshot as snapshots
from beamlit_controller.kubernetes.api_server import ApiServer
from beamlit_controller.kubernetes.autoscalers import Autoscalers
from beamlit_controller.kubernetes.index import Index
from beamlit_controller.kubernetes.managed_objects import ManagedObjects
from beamlit_controller.kubernetes.models import KnownModel, LastGoodSpec, Models, Read, Specs, Stored
from beamlit_controller.kubernetes.pod_addresses import IPV6
from beamlit_controller.kubernetes.pods import KnownPod, Pods
from beamlit_controller.kubernetes.services import Service, Services
from beamlit_controller.kubernetes.snapshot import ConflictingModel, Snapshot
from beamlit_controller.kubernetes.watches import Watches

NamespacedName = tuple[str, str]

OURS: Final = (("labelSelector", gateway_objects.MANAGED_SELECTOR),)
GATEWAY_PODS: Final = (("labelSelector", gateway_objects.POD_SELECTOR),)


class Store:
    """The caches and indexes of one replica."""

    def __init__(self, read: Read, changes: Changes[ModelKey], *, withdrawn: bool = False) -> None:
        """Start empty. With `withdrawn` every model is treated as being deleted."""
        self.changes = changes
        self.models = Models(read, withdrawn=withdrawn)
        self.specs = Specs()
        self.managed_objects = ManagedObjects(changes.publish)
        self.services = Services(self._service_changed)
        self.pods = Pods()
        self._autoscalers = Autoscalers()
        self._by_service: Index[NamespacedName] = Index()
        self._by_label: Index[tuple[str, str, str]] = Index()
        self._by_workload: Index[tuple[str, ObjectReference]] = Index()

    def watches(self, server: ApiServer, namespaces: Iterable[str] = ()) -> Watches:
        """Return all watches of the controller, connected to the caches."""
        watches = Watches(server, tuple(namespaces))
        watches.add(paths.MODEL_DEPLOYMENTS, keep=models.stored, changed=self.model_changed)
        watches.add(paths.SERVICES, keep=services.parse, changed=self.services.changed)
        watches.add(paths.PODS, keep=pods.parse, changed=self.pod_changed)
        watches.add(
            paths.PODS, keep=managed_objects.parse_pod, changed=self.managed_objects.pod_changed, query=GATEWAY_PODS
        )
        watches.add(paths.HORIZONTAL_POD_AUTOSCALERS, keep=autoscalers.target, changed=self.autoscaler_changed)
        for resource in gateway_objects.RESOURCES:
            watches.add(
                resource,
                keep=managed_objects.parse(resource),
                changed=self.managed_objects.changed(resource),
                query=OURS,
                metadata_only=resource in managed_objects.METADATA_ONLY,
            )
        return watches

    # Events of the watches.

    def model_changed(self, namespaced_name: NamespacedName, seen: Stored | None) -> None:
        """Handle an event of a ModelDeployment."""
        key = ModelKey(*namespaced_name)
        before = self._service_name(key)
        self.models.changed(key, seen)
        self._model_changed(key, before)

    def remember(self, key: ModelKey, uid: str, good: LastGoodSpec | None) -> None:
        """Put a stored last good spec in force, or record that there is none."""
        before = self._service_name(key)
        self.models.remember(key, uid, good)
        self._model_changed(key, before)

    def pod_changed(self, namespaced_name: NamespacedName, seen: KnownPod | None) -> None:
        """Handle an event of a pod."""
        before = self.pods.get(namespaced_name)
        self.pods.changed(namespaced_name, seen)
        for key in sorted({*self._models_of(namespaced_name[0], before), *self._models_of(namespaced_name[0], seen)}):
            self.changes.publish(key)

    def autoscaler_changed(self, namespaced_name: NamespacedName, seen: ObjectReference | None) -> None:
        """Handle an event of a HorizontalPodAutoscaler."""
        before = self._autoscalers.target(namespaced_name)
        self._autoscalers.changed(namespaced_name, seen)
        for target in (before, seen):
            if target is not None:
                for key in self._by_workload.keys((namespaced_name[0], autoscalers.versionless(target))):
                    self.changes.publish(key)

    # Queries.

    def model_keys(self) -> tuple[ModelKey, ...]:
        """Return the keys of all models."""
        return tuple(self.models.models)

    def snapshot(self, key: ModelKey) -> Snapshot | None:
        """Return the snapshot of a model; None if it does not exist."""
        stored, model = self.models.get(key), self.models.models.get(key)
        if stored is None or model is None:
            return None
        common = Snapshot(
            stored,
            model,
            taken_over=self.services.taken_by(key),
            objects=self.managed_objects.of(key),
            pods=tuple(self.managed_objects.pods(key).values()),
        )
        return common if model.spec is None else self._with_spec(common, model.spec)

    def service(self, namespace: str, name: str) -> Service | None:
        """Return a Service with its user's selector; if unknown, with the selector of NAME-local."""
        found = self.services.get(namespace, name)
        if found is None or not found.selector_unknown:
            return found
        locals_ = (
            self.managed_objects.get(paths.SERVICES, namespace, gateway_objects.local_name(key))
            for key in self._by_service.keys((namespace, name))
        )
        known = next((local.selector for local in locals_ if local is not None), ())
        return services.with_known_selector(found, dict(known))

    def local_health(self, spec: OffloadSpec) -> LocalHealth:
        """Count the pods behind the model's Service."""
        service = self.service(spec.key.namespace, spec.service.name) if spec.service else None
        return self._health(spec, service)

    def is_removed(self, key: ModelKey) -> bool:
        """Return whether a gateway is removed completely, except for NAME-gateway selecting the model's pods."""
        stored = self.models.get(key)
        entrance = (paths.SERVICES, gateway_objects.gateway_name(key))
        objects = {(each.resource, each.name) for each in self.managed_objects.of(key)}
        held = stored is not None and stored.has_finalizer
        return (
            objects <= {entrance}
            and not self.managed_objects.pods(key)
            and not self.services.taken_by(key)
            and not held
        )

    def orphans(self) -> tuple[Service, ...]:
        """Return the Services that are taken over by no existing model, and that no model names."""
        return tuple(
            each
            for each in self.services.taken_over()
            if each.is_taken_over
            and ModelKey(each.namespace, each.takeover_annotations.taken_by) not in self.models.models
            and not self._by_service.keys((each.namespace, each.name))
        )

    # The models that an event concerns.

    def _model_changed(self, key: ModelKey, service_before: str | None) -> None:
        model = self.models.models.get(key)
        spec = model.spec if model else None
        self._by_service.put(key, [(key.namespace, spec.service.name)] if spec and spec.service else [])
        workload = [(key.namespace, autoscalers.versionless(spec.source))] if spec and spec.source else []
        self._by_workload.put(key, workload)
        self._index_pods(key, spec)
        for name in {service_before, self._service_name(key)} - {None}:
            for other in self._by_service.keys((key.namespace, str(name))):
                self._publish_spec(other)
                self.changes.publish(other)
        self._publish_spec(key)
        self.changes.publish(key)

    def _service_changed(self, namespace: str, name: str) -> None:
        for key in self._by_service.keys((namespace, name)):
            model = self.models.models.get(key)
            self._index_pods(key, model.spec if model else None)
            self.changes.publish(key)

    def _index_pods(self, key: ModelKey, spec: OffloadSpec | None) -> None:
        """Index the model by one label of its selectors; pods with that label are then matched in full."""
        names = {each.name for each in (spec.service, spec.metric_service) if each} if spec else set()
        found = [self.service(key.namespace, name) for name in sorted(names)]
        self._by_label.put(key, [(key.namespace, *each.selector[0]) for each in found if each and each.selector])

    def _models_of(self, namespace: str, pod: KnownPod | None) -> Iterator[ModelKey]:
        for label, value in pod.labels if pod else ():
            yield from self._by_label.keys((namespace, label, value))

    def _publish_spec(self, key: ModelKey) -> None:
        found = self.snapshot(key)
        self.specs.put(key, snapshots.in_force(found) if found else None)

    def _service_name(self, key: ModelKey) -> str | None:
        model = self.models.models.get(key)
        return model.spec.service.name if model and model.spec and model.spec.service else None

    # One model.

    def _with_spec(self, common: Snapshot, spec: OffloadSpec) -> Snapshot:
        namespace = spec.key.namespace
        service = self.service(namespace, spec.service.name) if spec.service else None
        named = self.pods.named_ports(namespace, service.pod_selector) if service and service.selector else ()
        conflicting = tuple(self._conflicting_models(spec.key, service)) if service else ()
        return Snapshot(
            stored=common.stored,
            model=common.model,
            service=service,
            plan=plan.plan(
                spec,
                service,
                named,
                owner=common.stored.uid,
                pods_have_ipv6=self._have_ipv6(common, service),
            ),
            taken_over=common.taken_over,
            objects=common.objects,
            pods=common.pods,
            conflicting=conflicting,
            older_owner=_older_owner(common.stored, spec, conflicting),
            local=self._health(spec, service),
            autoscaler=self._autoscalers.of(spec.key, spec.source),
        )

    def _have_ipv6(self, common: Snapshot, service: Service | None) -> bool:
        """Return whether pods get IPv6 addresses: from the gateway's own Services, which have every family of the cluster.

        In a cluster that got IPv6 after them, from the pods of the gateway or, before there are any, of the model.
        """
        if any(IPV6 in each.families for each in common.objects if each.owner == common.stored.uid):
            return True
        if any(pod_addresses.family(ip) == IPV6 for pod in common.pods for ip in pod.ips):
            return True
        if service is None or not service.selector:
            return False
        return self.pods.have_ipv6(service.namespace, service.pod_selector)

    def _health(self, spec: OffloadSpec, service: Service | None) -> LocalHealth:
        if service is None or not service.selector:
            return LocalHealth(0, 0)
        return inventory.health(self.pods.select(spec.key.namespace, service.pod_selector))

    def _conflicting_models(self, key: ModelKey, service: Service) -> Iterator[ConflictingModel]:
        for other in self._by_service.keys((service.namespace, service.name)):
            model, stored = self.models.models.get(other), self.models.get(other)
            if other != key and model is not None and stored is not None:
                yield ConflictingModel(other, stored.uid, stored.created, _wants_takeover(model))


def _wants_takeover(model: KnownModel) -> bool:
    return model.spec is not None and model.spec.enabled and model.spec.routing is RoutingMode.TAKEOVER


def _older_owner(stored: Stored, spec: OffloadSpec, conflicting: Iterable[ConflictingModel]) -> ModelKey | None:
    """Return the oldest of the older models that take over the same Service, if there is one."""
    if not spec.enabled or spec.routing is not RoutingMode.TAKEOVER:
        return None
    older = [
        each
        for each in conflicting
        if each.wants_takeover and (each.created, each.key.name) < (stored.created, stored.key.name)
    ]
    return min(older, key=lambda each: (each.created, each.key.name)).key if older else None


def notices(models: Mapping[ModelKey, KnownModel], key: ModelKey) -> tuple[str, ...]:
    """Return the notices about a model's spec for its author."""
    return models[key].notices if key in models else ()
