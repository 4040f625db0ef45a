"""`beamlit-controller` as it is typed, without loading it anew for each command."""

import atexit
import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

COMMAND = Path(sys.executable).parent / "beamlit-controller"


def typed(*words: object, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run it with nothing to read, and give what it printed and its exit code."""
    loaded, arguments = _loaded(), [str(COMMAND), *map(str, words)]
    assert loaded.stdin
    assert loaded.stdout
    with TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        create = os.O_WRONLY | os.O_CREAT
        files = [(os.devnull, os.O_RDONLY), (str(out), create), (str(err), create)]
        given = {
            "words": arguments,
            "folder": str(Path.cwd()),
            "environment": dict(environment or os.environ),
            "files": files,
        }
        loaded.stdin.write(json.dumps(given) + "\n")
        loaded.stdin.flush()
        code = int(loaded.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, out.read_text(), err.read_text())


@functools.cache
def _loaded() -> subprocess.Popen[str]:
    script = Path(__file__).with_name("preloaded.py")
    process = subprocess.Popen([sys.executable, "-P", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=60)
