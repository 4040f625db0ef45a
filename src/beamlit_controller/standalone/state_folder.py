"""The state folder: one controller at a time, and where each thing lies in it."""

import contextlib
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


class StateError(Exception):
    """The state folder can't be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The places in a state folder."""

    root: Path

    @property
    def gateways(self) -> Path:
        """One folder per gateway: its files, its admin socket and its log."""
        return self.root / "gateways"

    @property
    def shared_listeners(self) -> Path:
        """One folder per listener that several models share, like a gateway's."""
        return self.root / "listeners"

    @property
    def decisions(self) -> Path:
        """One file per model: the decision to go on from."""
        return self.root / "decisions"

    @property
    def manifests(self) -> Path:
        """The last good copy of each manifest."""
        return self.root / "manifests"

    @property
    def overrides(self) -> Path:
        """One file per model whose percentage was set by hand."""
        return self.root / "overrides"

    @property
    def shares(self) -> Path:
        """The socket where gateways ask for their share."""
        return self.root / "shares.sock"

    def clear(self) -> None:
        """Remove what was for running, and the folders that are empty then: the history and what was set by hand stay."""
        for folder in (self.gateways, self.shared_listeners, self.manifests):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.shares, self.root / "lock"):
            with contextlib.suppress(OSError):
                file.unlink()
        for folder in (self.decisions, self.overrides, self.root):
            with contextlib.suppress(OSError):
                folder.rmdir()


@contextlib.contextmanager
def locked(root: Path) -> Iterator[StateFolder]:
    """Give the state folder to this process alone; StateError if another has it."""
    root = root.absolute()
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        _refuse_unsafe(root)
        lock = (root / "lock").open("w")
    except OSError as error:
        raise StateError(f"--state-dir: {root} can't be used: {error.strerror or error}") from error
    with lock:
        _lock(lock.fileno(), root)
        yield StateFolder(root)


def _refuse_unsafe(root: Path) -> None:
    about = root.stat()
    reason = unsafe(owner=about.st_uid, mode=about.st_mode, us=os.geteuid())
    if reason:
        raise StateError(f"--state-dir: {root} {reason}; name a folder of your own")


def unsafe(*, owner: int, mode: int, us: int) -> str:
    """Give why a folder is none to keep state in, "" if it is: others could put in place what gateways boot from."""
    if owner not in (us, 0):
        return "belongs to another user"
    return "can be written by everybody" if mode & stat.S_IWOTH else ""


def _lock(descriptor: int, root: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StateError(
            f"--state-dir: another controller is running with {root}; stop it or name another folder"
        ) from error
