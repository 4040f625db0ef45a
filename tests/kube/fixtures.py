"""Fixtures that give a real Kubernetes, and what a run says when it has none.

A test that asks for one is marked after it. Where it can't be had the tests are skipped and the end of the run says so, in
so many words; with `CI=true` they fail.
"""

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from absence import WITHOUT, missing
from kube import assets, control_plane, metrics_api, node
from kube import project_image as project_image_
from kube.assets import UnavailableError
from kube.control_plane import ControlPlane
from kube.metrics_api import MetricsApis
from kube.node import Node
from sharing_out import CLUSTER

KINDS = {"control_plane": "cluster", "helm": "cluster", "takes_root": "node"}


@pytest.fixture(scope="session", name="control_plane")
def _control_plane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Provide a control plane: the real API server, etcd and controllers, without nodes."""
    with control_plane.running(
        tmp_path_factory.mktemp("control-plane"), _binaries(request.config, *control_plane.BINARIES)
    ) as plane:
        yield plane


@pytest.fixture(scope="session", name="metrics_apis")
def _metrics_apis(control_plane: ControlPlane) -> Iterator[MetricsApis]:
    """Provide the metrics APIs of the control plane, with the values that tests set."""
    with metrics_api.serving(control_plane) as apis:
        yield apis


@pytest.fixture(scope="session")
def helm(request: pytest.FixtureRequest) -> Path:
    """Return helm, which is built as Kubernetes is."""
    return _binaries(request.config, "helm")["helm"]


@pytest.fixture(scope="session")
def takes_root() -> None:
    """Have what namespaces and control groups take."""
    if os.geteuid():
        missing("node", "it takes root, for the namespaces and control groups of its pods")


@pytest.fixture(scope="session", name="node")
def _node(takes_root: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Provide a whole Kubernetes with a node that runs pods."""
    if absent := node.absent_packages():
        missing("node", f"there are no Debian packages {' '.join(absent)}; make test installs them")
    with node.running(
        tmp_path_factory.mktemp("node"), _binaries(request.config, *control_plane.BINARIES, *node.BINARIES)
    ) as whole:
        yield whole


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """Provide a fresh namespace of the control plane."""
    with control_plane.client.namespace() as name:
        yield name


@pytest.fixture(scope="session")
def project_image(node: Node, request: pytest.FixtureRequest) -> str:
    """Return the name of the project's own image, which the node has."""
    try:
        with _speaking(request.config):
            archive = project_image_.need()
    except UnavailableError as error:
        missing("image of the project", error)
    node.bring(archive)
    return project_image_.IMAGE


@pytest.fixture
def node_namespace(node: Node) -> Iterator[str]:
    """Provide a fresh namespace of the whole cluster."""
    with node.client.namespace() as name:
        yield name


@pytest.hookimpl(tryfirst=True)  # before the groups are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        asked = _asked(item)
        for fixture, marker in KINDS.items():
            if fixture in asked:
                item.add_marker(marker)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """End the control plane after the last test of the controller: it takes a tenth of a core even when nobody asks it."""
    done = yield
    if nextitem is not None and not nextitem.nodeid.startswith(CLUSTER) and "control_plane" in _asked(item):
        request = item._request  # noqa: SLF001 - no other way is offered to end what is for the whole session
        request._get_active_fixturedef("control_plane").finish(request)  # noqa: SLF001
    return done


def _asked(item: pytest.Item) -> Sequence[str]:
    return getattr(item, "fixturenames", ())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", ()) if report.longrepr]
    reasons = [reason.removeprefix("Skipped: ") for reason in skipped if WITHOUT in reason]
    if reasons:
        terminalreporter.section("NOT TESTED HERE", sep="!", yellow=True, bold=True)
    for reason in sorted(set(reasons)):
        terminalreporter.write_line(f"{reasons.count(reason)} tests: {reason}", yellow=True, bold=True)


def _binaries(config: pytest.Config, *names: str) -> dict[str, Path]:
    try:
        with _speaking(config):
            return assets.need(*names)
    except UnavailableError as error:
        missing("Kubernetes", error)


def _speaking(config: pytest.Config) -> AbstractContextManager[None]:
    """Let be seen what is printed: building takes minutes."""
    capture = config.pluginmanager.getplugin("capturemanager")
    return capture.global_and_fixture_disabled() if capture else nullcontext()
