"""How the tests are shared out to processes that run at the same time: by file, and all that is on the one node together.

The groups of xdist's own `loadgroup` are lost with pytest 9.2, silently; the scheduler is told by the file's name here.
"""

from typing import Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

NODE: Final = "node"
ON_THE_NODE: Final = frozenset(
    f"tests/cluster/{name}.py" for name in ("test_end_to_end", "test_node", "test_project_image")
)


def lane(nodeid: str) -> str:
    """Give the name of what a test has to stay with: its file, or the node."""
    file = nodeid.partition("::")[0]
    return NODE if file in ON_THE_NODE else file


class Lanes(LoadScopeScheduling):
    """Hands whole lanes to processes, in their order."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return lane(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Lanes:
    """Share out by lanes."""
    return Lanes(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put what waits first where tests are shared out. Raises UsageError for a test on the node outside of its lane."""
    for item in items:
        if NODE in getattr(item, "fixturenames", ()) and lane(item.nodeid) != NODE:
            raise pytest.UsageError(f"{item.nodeid} asks for the node: name its file in {__name__}.ON_THE_NODE")
    if hasattr(config, "workerinput"):
        items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[bool, bool]:
    """Put first what mostly waits, so that what computes does not disturb what is measured on the node."""
    return lane(item.nodeid) != NODE, "control_plane" not in getattr(item, "fixturenames", ())
