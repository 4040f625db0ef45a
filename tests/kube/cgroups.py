"""The control groups of a node: below one of ours, in each hierarchy, so that they can be found and taken away again."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kube.processes import orphaned, signed
from waiting import patiently

ROOT = Path("/sys/fs/cgroup")


@contextmanager
def own() -> Iterator[str]:
    """Have a group in each hierarchy, after removing what earlier runs left; give its name."""
    for left in {path.name for hierarchy in _hierarchies() for path in hierarchy.iterdir() if orphaned(path)}:
        remove(left)
    name = signed("node")
    for hierarchy in _hierarchies():
        (hierarchy / name).mkdir()
    try:
        yield name
    finally:
        patiently(lambda: remove(name), within=30, what=f"the processes of {name} are gone")


def remove(name: str) -> bool:
    """Remove a group and those below it, and tell whether nothing is left: one that has processes stays."""
    for hierarchy in _hierarchies():
        for folder, _, _ in os.walk(hierarchy / name, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()
    return not any((hierarchy / name).exists() for hierarchy in _hierarchies())


def _hierarchies() -> Iterator[Path]:
    """Yield the one of version 2, or those of version 1."""
    if (ROOT / "cgroup.controllers").exists():
        yield ROOT
        return
    yield from (path for path in ROOT.iterdir() if path.is_mount())
