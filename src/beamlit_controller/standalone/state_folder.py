"""The state folder: its layout, and a lock for one controller at a time."""

import contextlib
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


class StateError(Exception):
    """The state folder can't be used; the message tells why and what to do."""


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The paths in a state folder."""

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
        """One file per model: the decision to continue from."""
        return self.root / "decisions"

    @property
    def manifests(self) -> Path:
        """The last good copy of each manifest."""
        return self.root / "manifests"

    @property
    def overrides(self) -> Path:
        """One file per model with an override."""
        return self.root / "overrides"

    @property
    def shares(self) -> Path:
        """The socket of the RTDS server."""
        return self.root / "shares.sock"

    def clear(self) -> None:
        """Remove runtime files, and folders that are then empty; the history and overrides stay."""
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
    """Lock the state folder for this process. Raises StateError if another process has locked it."""
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
    reason = unsafe(root.stat(), user=os.geteuid(), group=os.getegid())
    if reason:
        raise StateError(f"--state-dir: {root} {reason}; name a folder of your own")


def unsafe(folder: os.stat_result, *, user: int, group: int) -> str:
    """Return why a folder is unsafe for state, because others could plant files that gateways start from; "" if it is safe.

    Where each user has a group of their own, folders are made writable for it.
    """
    if folder.st_uid not in (user, 0):
        return "belongs to another user"
    if folder.st_mode & stat.S_IWOTH:
        return "is writable by everyone"
    of_others = folder.st_mode & stat.S_IWGRP and folder.st_gid != group
    return f"is writable by group {folder.st_gid}, which is not your primary one" if of_others else ""


def _lock(descriptor: int, root: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StateError(
            f"--state-dir: another controller is using {root}; stop it or choose another folder"
        ) from error
