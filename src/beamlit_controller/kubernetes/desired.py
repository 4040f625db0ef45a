"""The desired objects of a model's gateway, and the objects to delete. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from beamlit_controller.core.gateway_pods import GatewayPods
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
    """The gateway's objects: `client_service` is its own Service for clients, `config` the digest of the files."""

    objects: tuple[DesiredObject, ...]
    client_service: DesiredObject
    config: str


def gateway(
    spec: OffloadSpec,
    owner: str,
    plan: Plan,
    envoy: Envoy,
    *,
    image: Image,
    pods: GatewayPods,
    notes: Mapping[str, str],
    egress: Egress,
) -> GatewayObjects:
    """Render the objects in the order of writing: referenced objects and the NetworkPolicy first."""
    objects = (
        gateway_objects.local_service(spec, owner, selector=plan.selector, port=plan.local_port),
        egress_policy.network_policy(spec, owner, egress=egress),
        gateway_objects.config_map(spec, owner, files=envoy.files, notes=notes),
        gateway_objects.disruption_budget(spec, owner),
        gateway_deployment.deployment(
            spec, owner, ports=plan.ports, envoy=envoy, image=image, pods=pods, labels=dict(plan.labels)
        ),
    )
    entrance = gateway_objects.gateway_service(spec, owner, ports=plan.ports)
    return GatewayObjects(objects, entrance, gateway_objects.config_digest(envoy.files))


def has_client_service(spec: OffloadSpec, snapshot: Snapshot) -> bool:
    """Return whether the Service NAME-gateway should exist and select the gateway's pods.

    It is created with `routing.mode: Service`. An existing one selects the gateway again once a pod is ready; until
    then it selects the model's pods, or none.
    """
    if find(snapshot, SERVICES, gateway_objects.gateway_name(spec.key)) is None:
        return spec.routing is RoutingMode.SERVICE
    return any(pod.ready and not pod.deleting for pod in snapshot.pods)


def bypass(spec: OffloadSpec, snapshot: Snapshot) -> DesiredObject | None:
    """Return the Service NAME-gateway, if it exists, with the model's own pods as its selector."""
    plan = snapshot.plan
    if not isinstance(plan, Plan) or find(snapshot, SERVICES, gateway_objects.gateway_name(spec.key)) is None:
        return None
    return gateway_objects.direct_service(
        spec, snapshot.stored.uid, selector=plan.selector, port=plan.local_port, ports=plan.ports
    )


def removable(snapshot: Snapshot, *, keep_entrance: bool = True) -> Iterator[ManagedObject]:
    """Yield the objects that can be deleted now.

    While a gateway pod drains, it needs all other objects: without NAME-local it would find no local pods, and would
    send requests to the remote.
    """
    entrance = (SERVICES, gateway_objects.gateway_name(snapshot.key))
    for each in snapshot.objects:
        kept = keep_entrance and (each.resource, each.name) == entrance
        if each.owner == snapshot.stored.uid and not kept and (each.resource is DEPLOYMENTS or not snapshot.pods):
            yield each


def find(snapshot: Snapshot, resource: object, name: str) -> ManagedObject | None:
    """Find an object of the gateway in the watch cache."""
    return next((each for each in snapshot.objects if each.resource is resource and each.name == name), None)
