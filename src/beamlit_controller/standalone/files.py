"""Writes files atomically."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path


def replace(path: Path, content: bytes) -> None:
    """Write a file atomically, by a rename; a partially written file is removed. Raises OSError."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        _discard(temporary)
        raise


def write(directory: Path, files: Mapping[str, str], *, anew: bool = False) -> None:
    """Write the changed files, or all, each by a rename, which is also what Envoy watches for.

    Raises OSError, also if the directory is missing, because Envoy would still watch the removed one.
    """
    for name, text in files.items():
        path, content = directory / name, text.encode()
        if anew or not path.exists() or path.read_bytes() != content:
            replace(path, content)


def read(directory: Path) -> dict[str, str]:
    """Return name and text of all JSON files. Raises OSError and ValueError."""
    return {path.name: path.read_text() for path in sorted(directory.glob("*.json"))}


def discard(directory: Path, patterns: Iterable[str], *, kept: Collection[str]) -> None:
    """Remove the files that match the patterns and are not kept, if possible."""
    for path in (path for pattern in patterns for path in directory.glob(pattern)):
        if path.name not in kept:
            _discard(path)


def _discard(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
