"""The result of a rehearsal, as a table and as JSON."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from beamlit_controller.api.status import instant
from beamlit_controller.core import printable, spending_text, wording
from beamlit_controller.core.decision import Change
from beamlit_controller.core.replay import ReplayStats
from beamlit_controller.core.spec import Mode
from beamlit_controller.rehearsal.simulation import _LEARNED, CandidateResult, Rehearsal

LATEST = 20
"""Number of changes in the table."""
ASSUMED = (
    "Assumptions: nothing was offloaded during the recording, and a metric is proportional to the local share of the "
    "requests. There is one decision per sample."
)


def show(done: Rehearsal) -> RenderableType:
    """Render the table."""
    lines = (Text(line) for line in head(done))
    hints = (Text(printable.line(hint), "dim") for hint in (*done.hints, ASSUMED))
    return Group(*lines, Text(), table(done), Text(), *_remotes(done), *_lines(done), *hints)


def head(done: Rehearsal) -> list[str]:
    """Return the heading."""
    times = done.recording.times
    metrics = ", ".join(f"{wording.name(each)} (target {wording.target(each.target)})" for each in done.spec.metrics)
    gaps = f", {100 * done.gaps:.1f} % of them incomplete" if done.gaps else ""
    requests = done.alone.requests
    counted = f", {requests:,.0f} requests" if requests is not None else ""
    return [
        printable.line(f"{done.spec.key}: {metrics}"),
        f"{times[0]:%Y-%m-%d %H:%M} to {times[-1]:%Y-%m-%d %H:%M} UTC, {len(times):,} samples{gaps}{counted}",
        *(printable.line(f"The file: {note}.") for note in done.notes),
        *([_LEARNED] if any(each.candidate.spec.behavior.mode is Mode.ADAPTIVE for each in done.played) else []),
    ]


def table(done: Rehearsal) -> Table:
    """Return one row per candidate."""
    first, *figures = header(done)
    made = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    made.add_column(first, overflow="fold")
    for column in figures:
        made.add_column(column.replace(" ", "\n"), justify="right", no_wrap=True)
    for row in cells(done):
        made.add_row(*(Text(cell) for cell in (row[0].replace(",", ",\n"), *row[1:])))
    return made


def header(done: Rehearsal) -> list[str]:
    """Return the column names."""
    counted = ["requests moved"] if done.recording.rates else []
    priced = ["cost"] if done.price is not None else []
    return ["", "offloads (time)", "mean share", "changes", "flaps", "over target", *counted, *priced]


def cells(done: Rehearsal) -> list[list[str]]:
    """Return the rows: nothing offloaded, as written, each alternative, and the plain rule."""
    rows = [("nothing offloaded", done.alone), *((each.candidate.name, each.stats) for each in done.played)]
    return [[printable.line(name), *_cells(done, figures)] for name, figures in rows]


def _cells(done: Rehearsal, figures: ReplayStats) -> list[str]:
    whole = figures.seconds or 1.0
    cost = done.cost(figures)
    return [
        f"{100 * figures.offloading / whole:.1f} %",
        f"{figures.mean:.1f} %",
        str(figures.changes),
        str(figures.flaps),
        f"{100 * figures.over / whole:.1f} %",
        *([] if figures.offloaded is None else [f"{figures.offloaded:,.0f}"]),
        *([] if cost is None else [f"{cost:,.2f}"]),
    ]


def _remotes(done: Rehearsal) -> Iterator[RenderableType]:
    """List what each remote would have answered, if there are several, or prices or budgets."""
    rows = [row for each in done.played for row in _cost_cells(each)]
    if not rows or not (len(done.spec.remotes) > 1 or any(each.price or each.budget for each in done.spec.remotes)):
        return
    made = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    made.add_column("offloaded to", overflow="fold")
    for column in ("requests", "cost", "out of budget\n(time)"):
        made.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        made.add_row(*map(Text, row))
    yield made
    yield Text()


def _cost_cells(played: CandidateResult) -> Iterator[tuple[str, str, str, str]]:
    if played.costs is None:
        return
    whole = played.stats.seconds or 1.0
    name = printable.line(played.candidate.name)
    for each in played.costs.remotes:
        cost = "" if each.cost is None else f"{spending_text.amount(each.cost)} {each.currency}"
        out = f"{100 * each.spent_seconds / whole:.1f} %" if each.spent_seconds else ""
        yield f"{name}: {printable.line(each.name)}", f"{each.requests:,.0f}", cost, out
    if played.costs.kept >= 1:
        yield f"{name}: local, as no budget was left", f"{played.costs.kept:,.0f}", "", ""


def _lines(done: Rehearsal) -> list[RenderableType]:
    """List the last changes of the model as written."""
    changes = done.played[0].replay.changes
    if not changes:
        return [Text("As written, the share would never have changed."), Text()]
    left_out = len(changes) - LATEST
    title = f"The last {LATEST} of {len(changes)} changes, as written:" if left_out > 0 else "Changes, as written:"
    made = Table.grid(padding=(0, 2))
    for change in changes[-LATEST:]:
        moved = f"{change.previous} % -> {change.percentage} %"
        why = printable.line(f"{change.reason}: {change.message}")
        made.add_row(Text(f"{change.at:%Y-%m-%d %H:%M:%S}"), Text(moved), Text(why))
    return [Text(title), made, Text()]


def as_json(done: Rehearsal) -> str:
    """Return the result as JSON: times in RFC 3339, durations in seconds, percentages."""
    times = done.recording.times
    document: dict[str, Any] = {
        "namespace": done.spec.key.namespace,
        "name": done.spec.key.name,
        "since": instant(times[0]),
        "until": instant(times[-1]),
        "samples": len(times),
        "incomplete": done.gaps,
        "courses": [
            {"name": "nothing offloaded", **_numbers(done, done.alone), "shares": []},
            *(
                {
                    "name": each.candidate.name,
                    **_numbers(done, each.stats),
                    "shares": [_change(change) for change in each.replay.changes],
                    **_costs(each),
                }
                for each in done.played
            ),
        ],
        "notes": [*done.notes, *done.hints],
        "assumed": ASSUMED,
    }
    return json.dumps(document, indent=2)


def _numbers(done: Rehearsal, figures: ReplayStats) -> dict[str, Any]:
    return {**asdict(figures), "cost": done.cost(figures)}


def _costs(played: CandidateResult) -> dict[str, Any]:
    if played.costs is None:
        return {}
    remotes = [
        {**asdict(each), "cost": None if each.cost is None else float(each.cost)} for each in played.costs.remotes
    ]
    return {"remotes": remotes, "kept": played.costs.kept}


def _change(change: Change) -> dict[str, Any]:
    return {**asdict(change), "at": instant(change.at)}
