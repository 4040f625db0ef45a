"""Decisions in closed loop, beside the plain rule: one table of figures, and the pictures of docs/decisions-explained.md.

`python -m benchmarks.decisions [FOLDER]` also draws, into that folder. Nothing here depends on the machine.
"""

import itertools
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

from benchmarks import pool
from benchmarks.pool import FIXED, LOADS, PERIOD, PROPORTIONAL, Course, Kind, Loop, Scaler

DELAYS = (0, 15, 30, 60)
RULES = {"plain rule": (FIXED, True), "Fixed, 60 %": (FIXED, False), "Proportional": (PROPORTIONAL, False)}
COLOURS = {"plain rule": "#2e8b57", "Fixed, 60 %": "#eb6834", "Proportional": "#7a4fb5"}
DEMAND, SEEN, TARGET, GREY, GRID = "#3b3b3a", "#9db8d9", "#b3261e", "#6b6a66", "#e4e3df"
STYLE: dict[RcKeyType, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "legend.frameon": False,
}


def main(folder: Path | None = None) -> None:
    print("\n".join(table()))
    if folder is not None:
        with mpl.rc_context(STYLE):
            _draw(Loop(Kind.CPU, LOADS["step"])).savefig(folder / "decisions-step.png", dpi=120)
            _draw(Loop(Kind.QUEUE, LOADS["day with noise"])).savefig(folder / "decisions-queue.png", dpi=120)
            _draw_scaled().savefig(folder / "decisions-autoscaler.png", dpi=120)


def table() -> list[str]:
    """Return the figures as Markdown: each is the worst over the delays."""
    rules = "plain | Fixed | Proportional"
    measures = ("changes", "over target", "needless")
    lines = [
        f"| metric | load | {' | '.join(f'{measure}: {rules}' for measure in measures)} |",
        "|---|---|" + "--:|" * len(measures) * len(RULES),
    ]
    for kind, (name, load) in itertools.product(Kind, LOADS.items()):
        worst = [_worst(Loop(kind, load, behavior, plain=plain)) for behavior, plain in RULES.values()]
        lines.append(f"| {kind} | {name} | {' | '.join(itertools.chain(*zip(*worst, strict=True)))} |")
    return lines


def _worst(loop: Loop) -> tuple[str, str, str]:
    ran = [pool.run(replace(loop, delay=delay)) for delay in DELAYS]
    over, needless = max(each.over for each in ran), max(each.needless for each in ran)
    return str(max(each.changes for each in ran)), f"{100 * over:.0f} %", f"{100 * needless:.0f} %"


# Pictures.


def _draw(loop: Loop) -> Figure:
    """Draw one load under each rule."""
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    load, *shares = figure.subplots(1 + len(RULES), 1, sharex=True, height_ratios=(1.5, 1, 1, 1))
    courses = {name: pool.run(replace(loop, behavior=rule[0], plain=rule[1])) for name, rule in RULES.items()}
    _line(load, next(iter(courses.values())).loads, DEMAND, "load that comes")
    _target(load)
    load.set_title(f"A {loop.kind} metric, seen with up to {loop.delay} s delay", loc="left", weight="bold")
    for axes, (name, course) in zip(shares, courses.items(), strict=True):
        _share(axes, course, name)
    shares[-1].set_xlabel("minutes")
    return figure


def _draw_scaled() -> Figure:
    """Draw the same load with an autoscaler on the metric that offloading lowers, and with one on true demand."""
    figure = Figure(figsize=(11, 6.0), layout="constrained")
    grid = figure.subplots(3, 2, sharex=True, sharey="row")
    load = pool.step(1.5, until=pool.THREE_HOURS)
    for number, (scaler, aim) in enumerate(((Scaler.METRIC, 1.0), (Scaler.DEMAND, 0.8))):
        course = pool.run(Loop(Kind.CPU, load, FIXED, scaler=scaler, aim=aim))
        first, replicas, share = (row[number] for row in grid)
        _line(first, course.ratios, SEEN, "the metric")
        _line(first, course.loads, DEMAND, "demand per replica")
        _target(first)
        first.set_ylim(0, 200)
        first.set_title(f"The autoscaler follows {scaler}", loc="left", weight="bold")
        _line(replicas, course.replicas, "#2a78d6", "replicas", scale=1)
        replicas.set_ylim(0, 13)
        _share(share, course, "Fixed, 60 %")
        share.set_xlabel("minutes")
    return figure


def _line(axes: Axes, values: Sequence[float], colour: str, label: str, *, scale: float = 100) -> None:
    axes.plot(_minutes(len(values)), [scale * value for value in values], color=colour, linewidth=1.2, label=label)
    axes.legend(loc="upper right", ncols=3)


def _target(axes: Axes) -> None:
    axes.axhline(100, color=TARGET, linewidth=1, linestyle=(0, (4, 3)), label="target")
    axes.set_ylabel("% of the target")
    axes.set_ylim(0)
    axes.legend(loc="upper right", ncols=3)


def _share(axes: Axes, course: Course, name: str) -> None:
    axes.fill_between(
        _minutes(len(course.shares)), course.shares, step="post", color=COLOURS[name], alpha=0.75, linewidth=0
    )
    axes.set_ylim(0, 105)
    axes.set_ylabel("share (%)")
    said = f"{name}: {course.changes} changes, over the target {100 * course.over:.0f} % of the time"
    axes.set_title(said, loc="left", fontsize=9)


def _minutes(count: int) -> list[float]:
    return [number * PERIOD / 60 for number in range(count)]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
