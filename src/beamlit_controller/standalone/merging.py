"""Merges the manifests of a folder. Of models that conflict, those already in force stay, otherwise those of the first file."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pydantic

from beamlit_controller.api.problems import Problem
from beamlit_controller.core.spec import ModelKey, OffloadSpec, Rejected
from beamlit_controller.standalone import files as written
from beamlit_controller.standalone.faults import message_of

ORIGINS = ".origins.json"
"""The file that records, across restarts, which file each model in force is from."""

ConflictCheck = Callable[[Sequence[OffloadSpec]], Sequence[Rejected]]
"""Conflicts between models that are valid on their own."""
Origins = Mapping[ModelKey, str]
"""The name of the file that each model is from."""


@dataclass(frozen=True, slots=True)
class File:
    """The valid models of one file, and the mistakes in the others."""

    specs: Mapping[ModelKey, OffloadSpec]
    problems: tuple[Problem, ...] = ()
    notices: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifests:
    """The content of the folder."""

    specs: Mapping[ModelKey, OffloadSpec]
    problems: tuple[Problem, ...] = ()
    notices: Mapping[ModelKey, tuple[str, ...]] = field(default_factory=dict)
    known: bool = True
    """Whether anything has been read yet, now or by an earlier run; otherwise the set of models is unknown."""
    origins: Origins = field(default_factory=dict)


def merged(files: Mapping[str, File], together: ConflictCheck, in_force: Origins) -> Manifests:
    """Merge the files. Of models with conflicts, those in force stay, then those of the first file; the others are reported."""
    specs: dict[ModelKey, OffloadSpec] = {}
    origins: dict[ModelKey, str] = {}
    problems = [problem for file in files.values() for problem in file.problems]
    models = [(name, key) for name, file in files.items() for key in file.specs]
    for name, key in sorted(models, key=lambda each: in_force.get(each[1]) != each[0]):
        spec = files[name].specs[key]
        refused = _twice(key, origins) or _apart(together, [*specs.values(), spec])
        if refused:
            problems += (Problem(f"{name} {key}", each.field, each.message) for each in refused)
        else:
            specs[key], origins[key] = spec, name
    notices = {key: _notices(files[name], key) for key, name in origins.items()}
    return Manifests(specs, tuple(problems), notices, origins=origins)


def conflicts(files: Mapping[str, File]) -> Iterator[tuple[str, Rejected]]:
    """Yield each file with a model that an earlier file defines, too."""
    origins: dict[ModelKey, str] = {}
    for name, file in files.items():
        for key in file.specs:
            yield from ((name, refused) for refused in _twice(key, origins))
            origins.setdefault(key, name)


def read_origins(folder: Path) -> Origins:
    """Return the recorded origins; none if they can't be read."""
    with suppress(OSError, pydantic.ValidationError):
        listed = _ORIGINS.validate_json((folder / ORIGINS).read_bytes())
        return {ModelKey(namespace, name): file for namespace, name, file in listed}
    return {}


def write_origins(folder: Path, origins: Origins) -> None:
    """Record the origins for the next start, if possible: without them, the first file counts then."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        listed = [(key.namespace, key.name, file) for key, file in origins.items()]
        written.replace(folder / ORIGINS, _ORIGINS.dump_json(listed))


_ORIGINS = pydantic.TypeAdapter(list[tuple[str, str, str]])


def _twice(key: ModelKey, origins: Origins) -> tuple[Rejected, ...]:
    if key not in origins:
        return ()
    return (Rejected("metadata.name", f"{key} is already defined in {origins[key]}; rename or remove one of them"),)


def _apart(together: ConflictCheck, specs: Sequence[OffloadSpec]) -> Sequence[Rejected]:
    try:
        return together(specs)
    except Exception as error:  # noqa: BLE001 - one model's error must not end the others
        return (Rejected("spec", f"can't be checked together with the others: {message_of(error)[:200]}"),)


def _notices(file: File, key: ModelKey) -> tuple[str, ...]:
    return tuple(f"{notice.field}: {notice.message}" for notice in file.notices if notice.where == str(key))
