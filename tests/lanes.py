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
    """Put first what mostly waits, so that what computes does not disturb what is measured on the node."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: (lane(item.nodeid) != NODE, "control_plane" not in asked_for(item)))


def asked_for(item: pytest.Item) -> tuple[str, ...]:
    """Give the fixtures that a test is given, and those that they take."""
    return tuple(getattr(item, "fixturenames", ()))
