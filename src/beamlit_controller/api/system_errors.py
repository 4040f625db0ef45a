"""Finds the operating system's message behind an HTTP client's error: `Connection refused`."""

import os
from collections.abc import Iterator


def message(error: BaseException) -> str:
    """Return the message of the innermost error of the operating system, or `timed out`, or that of the innermost error of all."""
    # A socket that is not ready raises BlockingIOError, and is then waited for: it is no failure.
    chain = tuple(each for each in _inward(error) if not isinstance(each, BlockingIOError)) or (error,)
    for each in reversed(chain):
        if isinstance(each, OSError) and each.errno:
            return os.strerror(each.errno) if each.errno > 0 else each.strerror or str(each)  # negative: getaddrinfo
    if any(isinstance(each, TimeoutError) for each in chain):  # its cause is how the client was cancelled
        return "timed out"
    return str(chain[-1]) or type(chain[-1]).__name__


def _inward(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        group: tuple[BaseException, ...] = getattr(error, "exceptions", ())
        error = group[0] if group else error.__cause__ or error.__context__
