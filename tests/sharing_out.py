"""How tests are shared out to processes that run at the same time: one by one, but for those that share what a module starts.

The tests of the controller are on two processes, so that two control planes are started at most: each costs CPU as long as
it runs. The groups of xdist's own `loadgroup` have no effect with pytest 9, silently; its scheduler knows node IDs only, so
it is told by the name of the file.
"""

from typing import Final, Protocol

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

CLUSTER: Final = "tests/cluster/"
HALF: Final = f"{CLUSTER}test_s"
"""Where the files of the cluster are divided, by name; both parts take about as long."""
WHOLE: Final = frozenset(
    f"tests/{name}.py"
    for name in (
        "golden/test_gallery",
        "make/test_package",
        "system/test_dashboards",
        "system/test_prometheus",
        "system/test_prometheus_like",
        "system/test_remote_failures",
    )
)
"""Files whose tests share what is started once for the module."""
FIRST: Final = ("node", "cluster", "long", "system")
"""Markers of what takes longest."""


def unit(nodeid: str) -> str:
    """Return what a test stays with on one process: a control plane, its file, or itself alone."""
    file = nodeid.partition("::")[0]
    if file.startswith(CLUSTER):
        return f"control plane {int(file >= HALF)}"
    return file if file in WHOLE else nodeid


class Scheduler(LoadScopeScheduling):
    """Hands whole units to processes, in the order of their tests."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduler:
    """Share out by units."""
    return Scheduler(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what takes longest first, so that no process is left alone with it at the end.

    Raises UsageError for a test that shares what its module starts, but whose module is not kept whole.
    """
    for item in items:
        if unit(item.nodeid) == item.nodeid and (shared := _shared(item)):
            raise pytest.UsageError(f"{item.nodeid} shares {shared}: name its file in {__name__}.WHOLE")
    items.sort(key=_turn)


class _Definition(Protocol):
    scope: str


def _shared(item: pytest.Item) -> str:
    definitions: dict[str, tuple[_Definition, ...]] = getattr(item, "_fixtureinfo").name2fixturedefs  # noqa: B009 - no other way is offered
    return next((name for name, each in definitions.items() if each[-1].scope == "module" and "loop" not in name), "")


def _turn(item: pytest.Item) -> int:
    markers = {marker.name for marker in item.iter_markers()}
    return next((turn for turn, kind in enumerate(FIRST) if kind in markers), len(FIRST))
