"""Reads manifests from a folder, at start and whenever anything in it changes.

The folder is polled by its path several times a second, so it may be a mount, be replaced as a whole, or be missing for
a moment. The last valid content of each file stays in force, also after a restart, because a copy of each valid file is
kept in the state folder. If several files define a model, the file that is in force stays in force.
"""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from beamlit_controller.api import regular_file
from beamlit_controller.api.manifests import Parsed
from beamlit_controller.api.problems import Problem
from beamlit_controller.controller.latest import Latest
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.standalone import files, merging
from beamlit_controller.standalone.faults import message_of
from beamlit_controller.standalone.merging import ConflictCheck, File, Manifests
from beamlit_controller.standalone.overrides import Overrides

log = structlog.get_logger()

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
LOOK = 0.5
"""Seconds between two polls of the folder. Files are read once two polls see the same state, so that none is half written."""
READ_ANYWAY = 10.0
"""Seconds after which all files are read again even if nothing seems to have changed."""

Parse = Callable[[str], Parsed]


class Folder:
    """A `Provider` of the specs in a folder, with overrides. `kept` is the folder of the last valid copies."""

    def __init__(self, path: Path, *, kept: Path, parse: Parse, together: ConflictCheck, overrides: Overrides) -> None:
        self._path = path
        self._overrides = overrides
        self._kept = kept
        self._parse = parse
        self._together = together
        self._files: dict[str, tuple[bytes | None, File]] = {}
        self._manifests = Latest(Manifests({}, known=False))
        self._uncopied: dict[str, str] = {}
        self._origins = merging.read_origins(kept)

    @property
    def manifests(self) -> Manifests:
        """Return the manifests as last read."""
        return self._manifests.value

    async def run(self) -> None:
        """Poll the folder until cancelled."""
        seen = done = self._signature()
        since = READ_ANYWAY
        while True:
            if since >= READ_ANYWAY:
                self.read()
                done, since = seen, 0.0
            await asyncio.sleep(LOOK)
            before, seen, since = seen, self._signature(), since + LOOK
            if seen == before and seen != done:
                since = READ_ANYWAY

    async def specs(self) -> AsyncIterator[Mapping[ModelKey, OffloadSpec]]:
        """Yield all valid specs, now and whenever one of them changed."""
        seen = self._manifests.value
        while not seen.known:
            seen = await self._manifests.changed_from(seen)
        yield seen.specs
        while True:
            before, seen = seen, await self._manifests.changed_from(seen)
            if seen.specs != before.specs:
                yield seen.specs

    def read(self) -> None:
        """Read the folder. A file that can't be read is a problem, and its last content stays in force."""
        try:
            after = self._read()
        except Exception as error:  # noqa: BLE001 - shown, and tried again; the models run on as they are
            problem = Problem(str(self._path), "", f"can't be loaded: {message_of(error)}")
            after = replace(self._manifests.value, problems=(problem,))
        _say(self._manifests.value, after)
        self._manifests.set(after)

    def _read(self) -> Manifests:
        problems = self._read_files()
        merged = merging.merged({name: file for name, (_, file) in self._files.items()}, self._together, self._origins)
        if merged.origins != self._origins:
            self._origins = merged.origins
            merging.write_origins(self._kept, merged.origins)
        specs, unread = self._overrides.applied_to(merged.specs)
        copies = (Problem(name, "", why) for name, why in self._uncopied.items())
        known = self._manifests.value.known or bool(self._files) or not problems
        return replace(merged, specs=specs, problems=(*problems, *merged.problems, *copies, *unread), known=known)

    def _read_files(self) -> tuple[Problem, ...]:
        try:
            paths = candidates(self._path)
        except OSError as error:
            self._files = self._files or self._copies()
            why = f"the folder can't be read: {error.strerror or error}; its last content stays in force"
            return (Problem(str(self._path), "", why),)
        self._files = {path.name: self._file(path) for path in paths}
        self._drop_copies()
        return ()

    def _copies(self) -> dict[str, tuple[bytes | None, File]]:
        """Return the copies of an earlier run."""
        try:
            names = sorted(path.name for path in self._kept.iterdir() if not path.name.startswith("."))
        except OSError:
            return {}
        return {name: (None, self._last_good(name)) for name in names}

    def _signature(self) -> Sequence[object]:
        """Return a value that changes whenever a file does, as far as can be seen without reading it."""
        return (*_stamps(self._path), *_stamps(self._overrides.folder))

    def _file(self, path: Path) -> tuple[bytes | None, File]:
        try:
            content = regular_file.read(path)
        except OSError as error:
            problem = Problem(path.name, "", f"can't be read: {error.strerror or error}")
            return None, File(self._last_good(path.name).specs, (problem,))
        before = self._files.get(path.name)
        if before is not None and before[0] == content:
            self._keep_again(path.name, content, before[1])
            return before
        return content, self._parsed(path.name, content)

    def _parsed(self, name: str, content: bytes) -> File:
        file = _understood(self._parse, name, content)
        if not file.problems:
            self._keep(name, content)
            return file
        return File({**self._last_good(name).specs, **file.specs}, file.problems, file.notices)

    def _last_good(self, name: str) -> File:
        if name in self._files:
            return self._files[name][1]
        try:
            content = regular_file.read(self._kept / name)
        except OSError:
            return File({})
        return _understood(self._parse, name, content)

    def _keep(self, name: str, content: bytes) -> None:
        try:
            self._kept.mkdir(parents=True, exist_ok=True)
            files.replace(self._kept / name, content)
        except OSError as error:
            self._uncopied[name] = f"a copy for the next start can't be written: {error.strerror or error}"
        else:
            self._uncopied.pop(name, None)

    def _keep_again(self, name: str, content: bytes, file: File) -> None:
        """Write a copy again that could not be written before, or was removed."""
        if not file.problems and (name in self._uncopied or not (self._kept / name).exists()):
            self._keep(name, content)

    def _drop_copies(self) -> None:
        self._uncopied = {name: why for name, why in self._uncopied.items() if name in self._files}
        try:
            for copy in self._kept.iterdir():
                if copy.name not in {*self._files, merging.ORIGINS}:
                    copy.unlink(missing_ok=True)
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("copies of old manifests can't be removed", error=str(error))


def _stamps(folder: Path) -> Sequence[object]:
    try:
        with os.scandir(folder) as entries:
            return sorted((entry.name, *_stamp(entry)) for entry in entries if Path(entry.name).suffix in SUFFIXES)
    except OSError as error:
        return (error.errno,)


def _stamp(entry: os.DirEntry[str]) -> tuple[int, ...]:
    try:
        found = entry.stat()
    except OSError as error:
        return (error.errno or 0,)
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size)


def candidates(folder: Path) -> list[Path]:
    """Return the files that may be manifests, including unreadable ones. Raises OSError for the folder."""
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))  # noqa: PTH208 - names are wanted
    return [path for path in map(folder.joinpath, names) if path.suffix in SUFFIXES and _may_be_file(path)]


def _may_be_file(path: Path) -> bool:
    """Return whether it is a file, or can't be examined; one that was removed since it was listed is none."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return os.path.lexists(path)


def _say(before: Manifests, after: Manifests) -> None:
    """Log new mistakes and notices, and the files that are valid again."""
    for problem in after.problems:
        if problem not in before.problems:
            log.warning("manifest rejected", where=problem.where, field=problem.field, message=problem.message)
    for problem in before.problems:
        if problem not in after.problems:
            log.info("manifest valid again", where=problem.where, field=problem.field)
    for key, notices in after.notices.items():
        for notice in notices:
            if notice not in before.notices.get(key, ()):
                log.warning("manifest notice", model=str(key), message=notice)


def _understood(parse: Parse, name: str, content: bytes) -> File:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        return File({}, (Problem(name, "", f"is not UTF-8 text: {error.reason} at byte {error.start}"),))
    try:
        parsed = parse(text)
    except Exception as error:  # noqa: BLE001 - one file's error must not end the others
        return File({}, (Problem(name, "", f"can't be processed: {message_of(error)[:200]}"),))
    return File({spec.key: spec for spec in parsed.specs}, _in(name, parsed.problems), parsed.notices)


def _in(name: str, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    return tuple(Problem(f"{name} {each.where}".strip(), each.field, each.message) for each in problems)
