"""`python -m benchmarks [NAMES]`: run all benchmarks, or those that are named, one after the other."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from beamlit_controller.telemetry import logs
from benchmarks import (
    adaptive,
    assess,
    decisions,
    evaluation,
    gateway,
    idle,
    machine,
    overflow,
    pods,
    push,
    reaction,
    real,
    reconcile,
    remotes,
    streams,
)

BENCHMARKS: dict[str, Callable[[], None]] = {
    "gateway": lambda: asyncio.run(gateway.main()),
    "remotes": lambda: asyncio.run(remotes.main()),
    "streams": lambda: asyncio.run(streams.main()),
    "reaction": lambda: asyncio.run(reaction.main()),
    "idle": lambda: asyncio.run(idle.main()),
    "push": lambda: asyncio.run(push.main()),
    "evaluation": lambda: asyncio.run(evaluation.main()),
    "reconcile": lambda: asyncio.run(reconcile.main()),
    "assess": assess.main,
    "adaptive": adaptive.main,
    "overflow": overflow.main,
    "decisions": decisions.main,
    "pods": pods.main,
}
ONLY_BY_NAME: dict[str, Callable[[], None]] = {"real": real.main}
"""What downloads much."""
PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy", "wrk": "wrk"}


def main(names: list[str]) -> None:
    known = BENCHMARKS | ONLY_BY_NAME
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"expected some of {', '.join(known)}, got {', '.join(unknown)}")
    if not names or set(names) - set(ONLY_BY_NAME):
        _install()
    logs.configure("warning")
    print(machine.described(), flush=True)
    began = time.monotonic()
    for name in names or BENCHMARKS:
        known[name]()
    print(f"{time.monotonic() - began:.0f} s in all")


def _install() -> None:
    """Have Debian's packages installed, or end with the line that installs them."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    lacking = [package for binary, package in PACKAGES.items() if shutil.which(binary, path=path) is None]
    if lacking:
        script = Path(__file__).parents[1] / "tools" / "debian"
        ended = subprocess.run([script, *lacking], check=False)
        if ended.returncode:
            sys.exit(ended.returncode)


if __name__ == "__main__":
    main(sys.argv[1:])
