"""What kubectl applies by itself, on the client's side."""

from beamlit_controller.kubernetes.paths import MODEL_DEPLOYMENTS, SERVICES
from fakes.semantics.world import Play, World, let_go, made, port_numbers


async def _applied_by_kubectl(world: World) -> object:
    """Play a Service that another changes between two times that its user applies it."""
    service = made(SERVICES, "a", metadata={"labels": {"l": "1", "m": "1"}})
    await world.kubectl_apply(service)
    change = {"selector": {"app": "other", "more": "1"}}
    await world.merge(SERVICES, {"spec": change, "metadata": {"annotations": {"note": "1"}}})
    less = made(SERVICES, "a", metadata={"labels": {"l": "2"}})
    await world.kubectl_apply(less)
    content = await world.get(SERVICES)
    about = content["metadata"]
    again = about["resourceVersion"]
    await world.kubectl_apply(less)
    later = (await world.get(SERVICES))["metadata"]["resourceVersion"]
    return content["spec"]["selector"], about["labels"], about["annotations"].get("note"), again == later


async def _ports_by_kubectl(world: World) -> object:
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
    await world.kubectl_apply(made(SERVICES, "a", spec={"selector": {"app": "a"}, "ports": ports}))
    await world.kubectl_apply(made(SERVICES, "a", spec={"ports": ports[1:]}))
    spec = (await world.get(SERVICES))["spec"]
    return port_numbers(spec["ports"]), spec.get("selector")


async def _model_by_kubectl(world: World) -> object:
    model = made(MODEL_DEPLOYMENTS, "a")
    await world.kubectl_apply({**model, "spec": {**model["spec"], "gateway": {"replicas": 3}}})
    await world.merge(MODEL_DEPLOYMENTS, {"metadata": {"finalizers": ["example.com/a"]}})
    await world.merge(MODEL_DEPLOYMENTS, {"status": {"model": "m"}}, "status")
    await world.kubectl_apply(model)
    content = await world.get(MODEL_DEPLOYMENTS)
    await let_go(world, MODEL_DEPLOYMENTS)
    return content["spec"].get("gateway"), content["metadata"]["finalizers"], content["status"]["model"]


TABLE = (
    Play(
        "kubectl apply changes what its user wrote, and leaves what others added",
        _applied_by_kubectl,
        ({"app": "a", "more": "1"}, {"l": "2"}, "1", True),
    ),
    Play("kubectl apply removes what its user wrote before", _ports_by_kubectl, ([81], None)),
    Play(
        "kubectl apply of a model leaves its finalizers and its status",
        _model_by_kubectl,
        (None, ["example.com/a"], "m"),
    ),
)
