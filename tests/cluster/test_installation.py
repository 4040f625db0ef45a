"""The chart is installed and uninstalled on a real node, in any order with what its users wrote, while requests flow."""

import pytest

from kube import chart
from kube.model_user import ALWAYS_OVER, PATIENCE, ModelUser, model, off_loop
from kube.node import Node
from kube.traffic import flowing
from waiting import eventually

pytestmark = pytest.mark.alone

CRD = "crd/modeldeployments.deployment.beamlit.com"


async def installed(node: Node, user: ModelUser) -> None:
    """Have the chart there with a model, whose Service it takes over."""
    await off_loop(lambda: chart.install(node))
    await offloaded(user)


async def offloaded(user: ModelUser) -> None:
    await user.apply(model(gateways=1, metrics=[ALWAYS_OVER]))
    await user.ready()
    await user.reaches(50)


async def test_uninstalled_in_any_order_nothing_is_left_and_no_request_fails(
    node: Node, project_image: str, user: ModelUser, remote: str
) -> None:
    address = await user.deploy()
    async with flowing(address, rate=40) as traffic:
        await installed(node, user)
        await user.kubectl("delete", "md", "--all")
        await left_alone(user, "the model first")

        await offloaded(user)
        await user.kubectl("delete", CRD, f"--timeout={PATIENCE}s")
        await left_alone(user, "the definition first")
        await off_loop(lambda: chart.uninstall(node))

        await installed(node, user)
        await off_loop(lambda: chart.uninstall(node))
        await left_alone(user, "the chart alone")
        kept = await user.kubectl(
            "get", "md", "-o", "jsonpath={.items[*].metadata.finalizers}{.items[*].metadata.name}"
        )
        pods = await user.pods()

    assert traffic.failed == []
    assert traffic.by("remote") > 0
    assert kept == "model"
    assert pods == set()


async def left_alone(user: ModelUser, order: str) -> None:
    await eventually(user.nothing_left, within=PATIENCE, every=0.5, what=f"nothing is left: {order}")
