"""Reads a file that somebody else may replace at any time, by a pipe or by a huge file too."""

import os
import stat
from pathlib import Path

LARGEST = 1024 * 1024
"""Maximum size in bytes of a file with configuration."""
LARGEST_SECRET = 64 * 1024
"""Maximum size in bytes of a file with a token, a key or certificates."""


def read(path: Path, most: int = LARGEST) -> bytes:
    """Return the content of a regular file of at most so many bytes. Raises OSError; `strerror` says why."""
    with open(path, "rb", opener=_opened) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(0, f"it is larger than {most} bytes", os.fspath(path))
    return content


def text(path: Path, most: int = LARGEST) -> str:
    """Return the content of a regular file in UTF-8. Raises OSError and UnicodeDecodeError."""
    return read(path, most).decode()


def expect(path: Path | None) -> None:
    """Raise OSError if a file is not regular. For files that a library opens itself; None stands for no file."""
    if path is not None:
        _expect_regular(path.stat(), path)


def _opened(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a pipe would block for ever
    try:
        _expect_regular(os.fstat(descriptor), Path(path))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _expect_regular(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(0, "it is not a regular file", os.fspath(path))
