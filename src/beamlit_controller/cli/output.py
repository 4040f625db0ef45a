"""Output of commands to readers that may end early."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def to_reader() -> Iterator[None]:
    """End like SIGPIPE would, without a traceback, if the reader of the output (such as `head`) ends first."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Flushing the buffered rest would fail again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
