"""`simulate`: replay recorded metrics, and report what would have been offloaded."""

import re
from collections.abc import Sequence
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators
from rich.console import Console

from beamlit_controller.api import durations, scalars
from beamlit_controller.cli import inputs
from beamlit_controller.cli.inputs import SettingsFile
from beamlit_controller.prometheus.source import Span
from beamlit_controller.rehearsal import simulation
from beamlit_controller.rehearsal.remote_costs import NO_TOKENS, MeanTokens
from beamlit_controller.rehearsal.report import as_json, show
from beamlit_controller.rehearsal.simulation import Output, Past, Rehearsal

PICTURES = (".png", ".svg", ".html")


def simulate(  # each is a separate option, and all but the file have a default
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
    tokens: str | None = None,
    output: Literal["table", "json"] = "table",
    picture: Annotated[list[Path] | None, Parameter(negative="")] = None,
) -> None:
    """Replay recorded metrics through the controller's own decision logic, and report what would have been offloaded.

    Parameters
    ----------
    file
        The manifest.
    name
        NAME or NAMESPACE/NAME; needed if the manifest has several models.
    settings
        The settings file: credentials for Prometheus, and the default remote.
    prometheus
        Address of the Prometheus to query; by default the one in the settings.
    since
        Length of the time range, such as 90m, 24h or 7d.
    until
        End of the time range in RFC 3339; by default now.
    step
        Time between two samples. There is one decision per sample.
    csv
        A file instead of Prometheus: a column `time` (RFC 3339, or seconds since 1970), one per metric, and optionally `requests` per
        second. Exports of Grafana are accepted, too.
    query
        METRIC=PROMQL for a metric that is not an External one: a query for its value, in the unit of its target. May be repeated.
    rate
        PROMQL for all requests per second, to report numbers of requests.
    replicas
        Number of replicas, for an averageValue of an Object or External metric.
    alternatives
        An alternative with other values, such as behavior.percentage=30; separate several by commas. May be repeated.
    price
        Price of one request at the remote, for the column `cost`. What remotes with a `price` cost is listed for each of them.
    tokens
        INPUT/OUTPUT: mean number of tokens of a request, for prices and budgets by tokens, such as 800/150.
    output
        A table for people, or JSON.
    picture
        File for a picture: .png, .svg, or .html for a self-contained page. May be repeated.
    """
    try:
        pictures = _pictures(picture or [])
        span = _span(since, until, step)
        past = _checked(Past(csv, prometheus, span, dict(map(_query, query or [])), rate, replicas))
        chosen = inputs.settings(settings)
        given, sets = inputs.read(file), alternatives or []
        mean = _tokens(tokens) if tokens is not None else NO_TOKENS
        done = simulation.simulate(str(file), given, chosen, past, name=name, sets=sets, price=price, tokens=mean)
        put(done, output, pictures)
    except OSError as error:
        inputs.fail(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    except ValueError as error:
        inputs.fail(str(error))


def _span(since: str, until: str | None, step: str) -> Span:
    end = scalars.instant(until) if until else None
    return simulation.span(durations.read(since, "--since"), end, durations.read(step, "--step"))


def _checked(past: Past) -> Past:
    """Reject a file together with Prometheus. Raises ValueError."""
    if past.csv is not None and (past.prometheus is not None or past.queries or past.rate is not None):
        raise ValueError("--csv: can't be combined with --prometheus, --query and --rate")
    return past


def _tokens(text: str) -> MeanTokens:
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)/([0-9]{1,9}(?:\.[0-9]{1,9})?)", text, re.ASCII)
    if found is None:
        raise ValueError(f"--tokens: expected INPUT/OUTPUT, such as 800/150, got {text!r}")
    return MeanTokens(Decimal(found[1]), Decimal(found[2]))


def _query(text: str) -> tuple[str, str]:
    name, equals, query = text.partition("=")
    if not equals or not name.strip() or not query.strip():
        raise ValueError(f"--query: expected METRIC=PROMQL, got {text!r}")
    return name.strip(), query.strip()


def _pictures(paths: Sequence[Path]) -> Sequence[Path]:
    """Check before the simulation whether the pictures can be written. Raises ValueError."""
    for path in paths:
        if path.suffix not in PICTURES:
            raise ValueError(f"--picture: expected a name that ends in {', '.join(PICTURES)}, got {path}")
    if paths and find_spec("matplotlib") is None:
        raise ValueError("--picture: drawing needs matplotlib: install beamlit-controller[pictures]")
    return paths


def put(done: Rehearsal, output: Output, pictures: Sequence[Path]) -> None:
    """Print the result, and write the pictures. Raises OSError and ValueError."""
    if output == "json":
        print(as_json(done))
    else:
        Console().print(show(done))
    if pictures:
        from beamlit_controller.rehearsal import picture  # noqa: PLC0415 - an extra that not everybody has

        for path in pictures:
            picture.write(done, path)
