"""What the tests of the controller share."""

from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from kube import chart, controllers
from kube.control_plane import ControlPlane
from kube.metrics_api import MetricsApis
from kube.model_user import REMOTE_PORT, ModelUser, a_user
from kube.node import Node
from kube.world import World


@pytest.fixture(scope="module")
def rights(control_plane: ControlPlane, helm: Path) -> Iterator[Path]:
    """Provide a kubeconfig with the rights that the chart gives the controller."""
    yield controllers.install(control_plane.client, helm)
    controllers.uninstall(control_plane.client)


@pytest.fixture
def world(control_plane: ControlPlane, metrics_apis: MetricsApis, namespace: str) -> Iterator[World]:
    """Provide a fresh namespace, with a queue that calls for nothing; no pod outlives it."""
    world = World(control_plane.client, namespace, metrics_apis.values(namespace))
    world.queue(4)
    yield world
    world.remove_pods()


@pytest.fixture(scope="module")
def controller(node: Node, project_image: str) -> None:
    """Have the controller on the node, with the users' values, for models in any namespace."""
    chart.install(node, chart.USERS_VALUES)


@pytest.fixture
async def user(node: Node) -> AsyncIterator[ModelUser]:
    """Provide the user of a fresh namespace of the node."""
    async with a_user(node) as user:
        yield user


@pytest.fixture
def remote(node: Node) -> Iterator[str]:
    """Provide a remote beside the cluster."""
    with node.model_beside("remote", port=REMOTE_PORT) as address:
        yield address


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a failure what was there, because it is gone when somebody reads that."""
    report = yield
    user = getattr(item, "funcargs", {}).get("user")
    if call.when == "call" and report.failed and isinstance(user, ModelUser):
        report.sections.append(("objects of the user, and what the controller logged", user.account()))
    return report
