"""The objects that a model's gateway is to be made of, and those that are to go. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from beamlit_controller.core.spec import OffloadSpec, RoutingMode
from beamlit_controller.kubernetes import egress as egress_policy
from beamlit_controller.kubernetes import gateway_deployment, gateway_objects
from beamlit_controller.kubernetes.egress import Egress
from beamlit_controller.kubernetes.gateway_objects import DesiredObject, Envoy, Image
from beamlit_controller.kubernetes.managed_objects import ManagedObject
from beamlit_controller.kubernetes.paths import DEPLOYMENTS, SERVICES
from beamlit_controller.kubernetes.plan import Plan
from beamlit_controller.kubernetes.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class GatewayObjects:
    """All that a gateway is made of: `entrance` is the Service of its own, `config` names the files as pods have them."""

    objects: tuple[DesiredObject, ...]
    entrance: DesiredObject
    config: str


def gateway(
    spec: OffloadSpec,
    owner: str,
    place: Plan,
    envoy: Envoy,
    *,
    image: Image,
    notes: Mapping[str, str],
    egress: Egress,
) -> GatewayObjects:
    """Give the gateway's objects, in the order to write them: what is referred to, and what bounds it, first."""
    objects = (
        gateway_objects.local_service(spec, owner, selector=place.selector, port=place.local_port),
        egress_policy.network_policy(spec, owner, egress=egress),
        gateway_objects.config_map(spec, owner, files=envoy.files, notes=notes),
        gateway_objects.disruption_budget(spec, owner),
        gateway_deployment.deployment(
            spec, owner, ports=place.ports, envoy=envoy, image=image, labels=dict(place.labels)
        ),
    )
    entrance = gateway_objects.gateway_service(spec, owner, ports=place.ports)
    return GatewayObjects(objects, entrance, gateway_objects.config_digest(envoy.files))


def has_entrance(spec: OffloadSpec, seen: Snapshot) -> bool:
    """Tell whether there is to be a Service of the gateway's own that leads to its pods.

    It is made where clients use it. One that is there already leads to the gateway again once a pod is ready: until then it
    leads straight to the model's pods, or to none.
    """
    if find(seen, SERVICES, gateway_objects.gateway_name(spec.key)) is None:
        return spec.routing is RoutingMode.SERVICE
    return any(pod.ready and not pod.deleting for pod in seen.pods)


def bypass(spec: OffloadSpec, seen: Snapshot) -> DesiredObject | None:
    """Give the gateway's own Service, if it is there, as it leads straight to the model's pods."""
    place = seen.plan
    if not isinstance(place, Plan) or find(seen, SERVICES, gateway_objects.gateway_name(spec.key)) is None:
        return None
    return gateway_objects.direct_service(
        spec, seen.stored.uid, selector=place.selector, port=place.local_port, ports=place.ports
    )


def removable(seen: Snapshot, *, keep_entrance: bool = True) -> Iterator[ManagedObject]:
    """Give what of the gateway can go now.

    While a pod of it finishes its requests it needs all the rest: without local pods to be found, they would leave.
    """
    entrance = (SERVICES, gateway_objects.gateway_name(seen.key))
    for each in seen.objects:
        kept = keep_entrance and (each.resource, each.name) == entrance
        if each.owner == seen.stored.uid and not kept and (each.resource is DEPLOYMENTS or not seen.pods):
            yield each


def find(seen: Snapshot, resource: object, name: str) -> ManagedObject | None:
    """Give an object of the gateway as the watch shows it."""
    return next((each for each in seen.objects if each.resource is resource and each.name == name), None)
