"""The chart of a rehearsal: demand relative to its target, and each candidate's percentage over time.

Needs matplotlib.
"""

import html
import io
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

from beamlit_controller.core import printable
from beamlit_controller.rehearsal import report
from beamlit_controller.rehearsal.simulation import CandidateResult, Rehearsal

DEMAND, SEEN, TARGET = "#3b3b3a", "#9db8d9", "#b3261e"
SHARES = ("#eb6834", "#2a78d6", "#7a4fb5", "#2e8b57")
GREY, GRID = "#6b6a66", "#e4e3df"
INCHES_WIDE, INCHES_OF_METRIC, INCHES_OF_SHARE, DOTS_PER_INCH = 11.0, 3.2, 1.5, 150
POINTS = 1500
"""Maximum number of points: of more, the lowest and highest of each group are drawn."""
HIGHEST = 400
"""Highest percentage of the target that is drawn."""
LONGEST_TITLE = 120
STYLE: dict[RcKeyType, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "legend.frameon": False,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "beamlit-controller",
}


def write(done: Rehearsal, path: Path) -> None:
    """Write a PNG, an SVG, or an HTML page with chart and table, depending on the file name."""
    match path.suffix:
        case ".html":
            path.write_text(page(done), encoding="utf-8")
        case ".svg":
            path.write_text(svg(done), encoding="utf-8")
        case _:
            with mpl.rc_context(STYLE):
                _figure(done).savefig(path, format="png", dpi=DOTS_PER_INCH)


def svg(done: Rehearsal) -> str:
    """Return the chart as SVG."""
    drawn = io.StringIO()
    with mpl.rc_context(STYLE):
        _figure(done).savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()


def page(done: Rehearsal) -> str:
    """Return a self-contained HTML page."""
    title, *rest = map(html.escape, report.head(done))
    drawn = svg(done)
    rows = "\n".join(_row(row) for row in report.cells(done))
    header = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in report.header(done))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Rehearsal of {html.escape(str(done.spec.key))}</title>
<style>{_CSS}</style>
</head>
<body>
<h1>{title}</h1>
<p>{"<br>".join(rest)}</p>
<figure>{drawn[drawn.index("<svg") :]}</figure>
<table>
<thead><tr>{header}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
<p class="note">{html.escape(report.ASSUMED)}</p>
</body>
</html>
"""


def _row(row: Sequence[str]) -> str:
    name, *figures = map(html.escape, row)
    return f'<tr><th scope="row">{name}</th>{"".join(f"<td>{each}</td>" for each in figures)}</tr>'


_CSS = """
body { font: 15px/1.5 system-ui, sans-serif; color: #2b2b2a; background: #fff; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.25rem; overflow-wrap: anywhere }
figure { margin: 1rem 0 } svg { width: 100%; height: auto }
table { border-collapse: collapse } th, td { padding: .25rem .9rem; border-bottom: 1px solid #e4e3df; text-align: right }
th:first-child { text-align: left; padding-left: 0 } tbody th { font-weight: normal }
.note { color: #6b6a66 }
"""


def _figure(done: Rehearsal) -> Figure:
    shown = done.played
    figure = Figure(figsize=(INCHES_WIDE, INCHES_OF_METRIC + INCHES_OF_SHARE * len(shown)), layout="constrained")
    ratios = [INCHES_OF_METRIC, *(INCHES_OF_SHARE for _ in shown)]
    metric, *shares = figure.subplots(len(shown) + 1, 1, sharex=True, height_ratios=ratios)
    _metric(metric, done)
    for number, (axes, played) in enumerate(zip(shares, shown, strict=True)):
        _share(axes, played, SHARES[number % len(SHARES)])
    locator = AutoDateLocator(maxticks=12)  # type: ignore[no-untyped-call]
    shares[-1].xaxis.set_major_locator(locator)
    shares[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    times = done.recording.times
    if len(times) > 1:
        shares[-1].set_xlim(times[0], times[-1])
    shares[-1].set_xlabel("UTC")
    return figure


def _metric(axes: Axes, done: Rehearsal) -> None:
    times = done.recording.times
    highest = min(HIGHEST, max([100.0, *(100 * demand for demand in done.demands if demand is not None)]) * 1.08)
    course = done.played[0].replay
    left = [ratio if share else None for ratio, share in zip(course.ratios, course.percentages, strict=True)]
    for values, colour, width, label in (
        (done.demands, DEMAND, 1.2, "as recorded"),
        (left, SEEN, 1.0, "as written, while offloading"),
    ):
        at, drawn = _thinned(times, values)
        axes.plot(at, drawn, color=colour, linewidth=width, label=label)  # type: ignore[arg-type]  # dates are fine
    axes.axhline(100, color=TARGET, linewidth=1.2, linestyle=(0, (4, 3)), label="target")
    axes.set_ylim(0, highest)
    axes.set_ylabel("highest metric\n(% of its target)")
    axes.set_title(printable.short(report.head(done)[0], LONGEST_TITLE), loc="left", fontsize=10, weight="bold", pad=26)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0)


def _share(axes: Axes, played: CandidateResult, colour: str) -> None:
    times = played.replay.recording.times
    moments = [times[0], *(change.at for change in played.replay.changes), times[-1]]
    shares = [0, *(change.percentage for change in played.replay.changes)]
    axes.fill_between(moments, [*shares, shares[-1]], step="post", color=colour, alpha=0.75, linewidth=0)  # type: ignore[arg-type]
    axes.set_ylim(0, 105)
    axes.set_yticks([0, 50, 100])
    axes.set_ylabel("share (%)")
    figures = played.stats
    name = printable.short(played.candidate.name, LONGEST_TITLE)
    said = f"{name}: {figures.changes} changes, mean share {figures.mean:.1f} %"
    axes.set_title(said, loc="left", fontsize=9)


def _thinned(times: Sequence[datetime], values: Sequence[float | None]) -> tuple[list[datetime], list[float]]:
    """Return minimum and maximum of each group of neighbouring samples, in percent, with gaps for missing values."""
    together = max(1, 2 * len(times) // POINTS)
    points = list(_points(times, values, together))
    return [at for at, _ in points], [value for _, value in points]


def _points(
    times: Sequence[datetime], values: Sequence[float | None], together: int
) -> Iterator[tuple[datetime, float]]:
    for first in range(0, len(times), together):
        group = range(first, min(first + together, len(times)))
        known = {number: value for number in group if (value := values[number]) is not None}
        if not known:
            yield times[first], float("nan")
        else:
            for number in sorted({min(known, key=known.__getitem__), max(known, key=known.__getitem__)}):
                yield times[number], 100 * known[number]
