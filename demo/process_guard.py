"""Runs a command, and ends it and all it started when told to, or when the one who holds the other end is gone.

`python -m demo.process_guard COMMAND…` runs until the command ends, a SIGTERM comes, or its standard input closes: the kernel
closes that when the demo dies, however it dies. The command gets SIGTERM; what is left after some patience, SIGKILL.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading

import psutil

PATIENCE_SECONDS = 8.0
LAST_PATIENCE_SECONDS = 2.0
PR_SET_CHILD_SUBREAPER = 36


def main(command: list[str]) -> int:
    """Run the command, and give its exit code; as in a shell, 128 and the signal's number if a signal ended it."""
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    _adopt_orphans()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as child:  # noqa: S603 - our own command line, no shell
        threading.Thread(target=_until_closed, args=(told,), daemon=True).start()
        threading.Thread(target=_until_ended, args=(child, told), daemon=True).start()
        told.wait()
        _end(child)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _adopt_orphans() -> None:
    """Become the parent of what a command leaves behind: an Envoy outlives a controller that was killed, on purpose."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _until_closed(told: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1):  # not through a buffer, whose lock a thread must not hold at exit
        pass
    told.set()


def _until_ended(child: subprocess.Popen[bytes], told: threading.Event) -> None:
    child.wait()
    told.set()


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(PATIENCE_SECONDS)
    left = psutil.Process().children(recursive=True)
    for process in left:
        _send(process, signal.SIGTERM)
    _, stubborn = psutil.wait_procs(left, LAST_PATIENCE_SECONDS)
    for process in stubborn:
        _send(process, signal.SIGKILL)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
