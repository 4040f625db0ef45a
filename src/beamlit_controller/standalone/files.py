"""Files that are there whole or not at all."""

from collections.abc import Mapping
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
    """Write what changed, or all anew, each file in one rename, which is also what Envoy watches for. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path, content = directory / name, text.encode()
        if anew or not path.exists() or path.read_bytes() != content:
            replace(path, content)


def _discard(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
