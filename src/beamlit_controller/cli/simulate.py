"""`simulate`: what would have been offloaded, had a model been in force while metrics were recorded."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators
from rich.console import Console

from beamlit_controller.api import durations, scalars
from beamlit_controller.cli import inputs
from beamlit_controller.cli.inputs import SettingsFile
from beamlit_controller.rehearsal.report import as_json, show
from beamlit_controller.rehearsal.simulation import Output, Rehearsal

PICTURES = (".png", ".svg", ".html")


def simulate(  # each is a thing of its own, and all but the file have a default
    file: Path,
    *,
    name: str | None = None,
    settings: SettingsFile = None,
    prometheus: str | None = None,
    since: str = "7d",
    until: str | None = None,
    step: str = "15s",
    csv: Path | None = None,
    query: Annotated[list[str] | None, Parameter(negative="")] = None,
    rate: str | None = None,
    replicas: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    alternatives: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    price: Annotated[float | None, Parameter(validator=validators.Number(gte=0))] = None,
    output: Literal["table", "json"] = "table",
    picture: Annotated[list[Path] | None, Parameter(negative="")] = None,
) -> None:
    """Play recorded metrics through the code that decides, and say what would have been offloaded.

    Parameters
    ----------
    file
        The manifest.
    name
        NAME or NAMESPACE/NAME, where the manifest has several models.
    settings
        The settings file: credentials for Prometheus, and the remote that is the default.
    prometheus
        Address of the Prometheus that has the history; by default that of the settings.
    since
        How far back, such as 90m, 24h or 7d.
    until
        End of that span in RFC 3339; by default now.
    step
        The time between two samples. It is decided once per sample.
    csv
        A file instead: columns `time` (RFC 3339, or seconds since 1970), one named after each metric, and maybe `requests` per second.
        Grafana's export is read too.
    query
        METRIC=PROMQL, for a metric that Prometheus can't be asked for by itself: its value in the unit of its target. May be repeated.
    rate
        PROMQL of all requests per second, for the numbers of requests.
    replicas
        How many replicas there were, for an averageValue of an Object or External metric.
    alternatives
        Also rehearse with other values, such as behavior.percentage=30, or several with commas between. May be repeated.
    price
        What the remote takes for one request.
    output
        A table for people, or JSON.
    picture
        A file to draw to: .png, .svg, or .html for one page that needs nothing else. May be repeated.
    """
    from beamlit_controller.rehearsal import simulation as simulating  # noqa: PLC0415 - the HTTP client is slow to import

    try:
        pictures = _pictures(picture or [])
        if csv is not None and (prometheus is not None or query or rate is not None):
            raise ValueError("--csv: expected no --prometheus, --query and --rate beside it")  # noqa: TRY301 - said below
        end = scalars.instant(until) if until else None
        span = simulating.span(durations.read(since, "--since"), end, durations.read(step, "--step"))
        queries = dict(_query(each) for each in query or [])
        past = simulating.Past(csv, prometheus, span, queries, rate, replicas)
        chosen = inputs.settings(settings)
        done = simulating.simulate(inputs.read(file), chosen, past, name=name, sets=alternatives or [], price=price)
        put(done, output, pictures)
    except (ValueError, OSError) as error:
        inputs.fail(str(error))


def _query(text: str) -> tuple[str, str]:
    name, equals, query = text.partition("=")
    if not equals or not name.strip() or not query.strip():
        raise ValueError(f"--query: expected METRIC=PROMQL, got {text!r}")
    return name.strip(), query.strip()


def _pictures(paths: Sequence[Path]) -> Sequence[Path]:
    """Tell before the work is done what can't be drawn after it."""
    for path in paths:
        if path.suffix not in PICTURES:
            raise ValueError(f"--picture: expected a name that ends in {', '.join(PICTURES)}, got {path}")
    if paths and find_spec("matplotlib") is None:
        raise ValueError("--picture: drawing needs matplotlib: install beamlit-controller[pictures]")
    return paths


def put(done: Rehearsal, output: Output, pictures: Sequence[Path]) -> None:
    """Print it, and write the pictures. Raises OSError and ValueError."""
    if output == "json":
        print(as_json(done))
    else:
        Console().print(show(done))
    if pictures:
        from beamlit_controller.rehearsal import picture  # noqa: PLC0415 - an extra that not everybody has

        for path in pictures:
            picture.write(done, path)
