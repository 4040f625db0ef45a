"""Files that are there whole or not at all."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path


def replace(path: Path, content: bytes) -> None:
    """Write a file in one rename; what could only be written in part is removed. Raises OSError."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        _discard(temporary)
        raise


def write(directory: Path, files: Mapping[str, str], *, anew: bool = False) -> None:
    """Write what changed, or all anew, each file in one rename, which is also what Envoy watches for.

    Raises OSError, also if the directory is not there: Envoy would watch the one that is gone.
    """
    for name, text in files.items():
        path, content = directory / name, text.encode()
        if anew or not path.exists() or path.read_bytes() != content:
            replace(path, content)


def read(directory: Path) -> dict[str, str]:
    """Give name and text of all JSON files that are there. Raises OSError and ValueError."""
    return {path.name: path.read_text() for path in sorted(directory.glob("*.json"))}


def discard(directory: Path, patterns: Iterable[str], *, kept: Collection[str]) -> None:
    """Remove the files of these names that are not kept, if possible."""
    for path in (path for pattern in patterns for path in directory.glob(pattern)):
        if path.name not in kept:
            _discard(path)


def _discard(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
