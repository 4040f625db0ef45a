"""What the tests of the controller share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kube import controllers
from kube.control_plane import ControlPlane
from kube.metrics_api import MetricsApis
from kube.world import World


@pytest.fixture(scope="module")
def rights(control_plane: ControlPlane, helm: Path) -> Iterator[Path]:
    """Give a kubeconfig with the rights that the chart gives the controller."""
    yield controllers.install(control_plane.client, helm)
    controllers.uninstall(control_plane.client)


@pytest.fixture
def world(control_plane: ControlPlane, metrics_apis: MetricsApis, namespace: str) -> Iterator[World]:
    """Give a fresh namespace, with a queue that calls for nothing; no pod outlives it."""
    world = World(control_plane.client, namespace, metrics_apis.values(namespace))
    world.queue(4)
    yield world
    world.remove_pods()
