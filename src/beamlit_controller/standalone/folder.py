"""Manifests from a folder: read at the start, and again whenever anything in the folder changes.

An editor may write, rename or truncate: any event only means "look again". What a broken file had when it last was
good stays in force, across restarts too, since a copy of each good file is kept in the state folder.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog
import watchfiles

from beamlit_controller.api.manifests import Parsed
from beamlit_controller.api.problems import Problem
from beamlit_controller.controller.latest import Latest
from beamlit_controller.core.spec import ModelKey, OffloadSpec, Rejected
from beamlit_controller.standalone.overrides import Overrides

log = structlog.get_logger()

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
LARGEST = 1024 * 1024
LOOK_AGAIN = 10_000
"""Milliseconds after which the folder is read without an event: a lost event then costs no more than this."""
DEBOUNCE = 200

Parse = Callable[[str], Parsed]
Together = Callable[[Sequence[OffloadSpec]], Sequence[Rejected]]
"""What keeps these models, each valid, from running side by side."""


@dataclass(frozen=True, slots=True)
class File:
    """One file's good models, and what is wrong with the rest."""

    specs: Mapping[ModelKey, OffloadSpec]
    problems: tuple[Problem, ...] = ()
    notices: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifests:
    """All that the folder holds."""

    specs: Mapping[ModelKey, OffloadSpec]
    problems: tuple[Problem, ...] = ()
    notices: Mapping[ModelKey, tuple[str, ...]] = field(default_factory=dict)


class Folder:
    """A `Provider` of the specs in a folder, with what was set by hand. `kept` is where the last good copies are."""

    def __init__(self, path: Path, *, kept: Path, parse: Parse, together: Together, overrides: Overrides) -> None:
        self._path = path
        self._overrides = overrides
        self._kept = kept
        self._parse = parse
        self._together = together
        self._files: dict[str, tuple[bytes, File]] = {}
        self._manifests = Latest(Manifests({}))

    @property
    def manifests(self) -> Manifests:
        """Give what was read last."""
        return self._manifests.value

    async def run(self) -> None:
        """Follow the folder until cancelled."""
        self._overrides.folder.mkdir(parents=True, exist_ok=True)
        self.read()
        watch = watchfiles.awatch(
            *(self._path, self._overrides.folder),
            recursive=False,
            debounce=DEBOUNCE,
            rust_timeout=LOOK_AGAIN,
            yield_on_timeout=True,
        )
        async for _ in watch:
            self.read()

    async def specs(self) -> AsyncIterator[Mapping[ModelKey, OffloadSpec]]:
        """Give all valid specs, now and whenever one of them changed."""
        seen = self._manifests.value
        yield seen.specs
        while True:
            before, seen = seen, await self._manifests.other_than(seen)
            if seen.specs != before.specs:
                yield seen.specs

    def read(self) -> None:
        """Read the folder as it is now."""
        paths = sorted(
            path for path in self._path.iterdir() if path.suffix in SUFFIXES and not path.name.startswith(".")
        )
        self._files = {path.name: self._file(path) for path in paths if path.is_file()}
        self._drop_copies()
        before = self._manifests.value
        merged = _merged({n: file for n, (_, file) in self._files.items()}, self._together)
        after = replace(merged, specs=self._overrides.over(merged.specs))
        _say(before, after)
        self._manifests.set(after)

    def _file(self, path: Path) -> tuple[bytes, File]:
        try:
            content = _content(path)
        except OSError as error:
            problem = Problem(path.name, "", f"can't be read: {error.strerror}")
            return b"", File(self._last_good(path.name).specs, (problem,))
        before = self._files.get(path.name)
        if before is not None and before[0] == content:
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
            content = _content(self._kept / name)
        except OSError:
            return File({})
        return _understood(self._parse, name, content)

    def _keep(self, name: str, content: bytes) -> None:
        self._kept.mkdir(parents=True, exist_ok=True)
        temporary = self._kept / f".{name}.new"
        temporary.write_bytes(content)
        temporary.replace(self._kept / name)

    def _drop_copies(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            for copy in self._kept.iterdir():
                if copy.name not in self._files:
                    copy.unlink(missing_ok=True)


def _say(before: Manifests, after: Manifests) -> None:
    """Log the mistakes and notices that are new, and the files that have been mended."""
    for problem in after.problems:
        if problem not in before.problems:
            log.warning("manifest refused", where=problem.where, field=problem.field, message=problem.message)
    for problem in before.problems:
        if problem not in after.problems:
            log.info("manifest mended", where=problem.where, field=problem.field)
    for key, notices in after.notices.items():
        for notice in notices:
            if notice not in before.notices.get(key, ()):
                log.warning("manifest notice", model=str(key), message=notice)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise OSError(0, f"it is larger than {LARGEST} bytes", os.fspath(path))
    return content


def _understood(parse: Parse, name: str, content: bytes) -> File:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        return File({}, (Problem(name, "", f"is no UTF-8 text: {error.reason} at byte {error.start}"),))
    parsed = parse(text)
    return File({spec.key: spec for spec in parsed.specs}, _in(name, parsed.problems), parsed.notices)


def _in(name: str, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    return tuple(Problem(f"{name} {each.where}".strip(), each.field, each.message) for each in problems)


def _merged(files: Mapping[str, File], together: Together) -> Manifests:
    """Merge the files; of models that can't run side by side the first file's run, and the others say why not."""
    specs: dict[ModelKey, OffloadSpec] = {}
    origin: dict[ModelKey, str] = {}
    problems: list[Problem] = []
    for name, file in files.items():
        problems += file.problems
        for key, spec in file.specs.items():
            refused = _twice(key, origin) or together([*specs.values(), spec])
            if refused:
                problems += (Problem(f"{name} {key}", each.field, each.message) for each in refused)
            else:
                specs[key], origin[key] = spec, name
    return Manifests(specs, tuple(problems), {key: _notices(files[name], key) for key, name in origin.items()})


def _twice(key: ModelKey, origin: Mapping[ModelKey, str]) -> tuple[Rejected, ...]:
    if key not in origin:
        return ()
    return (Rejected("metadata.name", f"{key} is given in {origin[key]} already; rename or remove one of them"),)


def _notices(file: File, key: ModelKey) -> tuple[str, ...]:
    return tuple(f"{notice.field}: {notice.message}" for notice in file.notices if notice.where == str(key))
