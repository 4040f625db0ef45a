"""The picture of a run: load and answers, the share, the queue, and every request's time to first token, over time."""

import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator
from matplotlib.typing import RcKeyType

from demo import summary
from demo.plan import Plan
from demo.recorder import SMOOTHED_TICKS, Recorder, Request, Side, smoothed

LOCAL, REMOTE, LOAD, QUEUE = "#2a78d6", "#eb6834", "#3b3b3a", "#7a4fb5"
GREY, SHADE, GRID = "#6b6a66", "#fdeadf", "#e4e3df"
SIZE_INCHES, DOTS_PER_INCH = (11.0, 9.0), 150
TITLE = "Local full, and only what does not fit leaves"
SMALL = 8
"""Points, the size of what is written above the picture."""
WRAPPED = 9
"""Letters in a line of a phase's name, if the phase is wide enough."""
ACROSS = 130
"""Letters that fit side by side across the picture."""
NARROW = 0.04
"""A phase that takes less of the width than this has no room for its name."""
STYLE: dict[RcKeyType, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": LOAD,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.frameon": False,
}


def draw(book: Recorder, plan: Plan, path: Path) -> None:
    """Write the picture to a file; the ending of its name (`.png`, `.svg`) tells the format."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        rates, cap, queue, latency = figure.subplots(4, 1, sharex=True, height_ratios=(3, 1.6, 1.6, 3))
        _rates(rates, book)
        _cap(cap, book)
        _queue(queue, book)
        _latency(latency, book.requests)
        for axes in (rates, cap, queue, latency):
            _shade(axes, book)
            axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), borderaxespad=0, markerscale=2)
        _phases(rates, book)
        latency.set_xlabel("seconds since the first request")
        latency.xaxis.set_major_locator(MultipleLocator(10))
        latency.set_xlim(0, _end(book))
        figure.suptitle(TITLE, x=0.01, ha="left", weight="bold")
        rates.set_title(_found(book, plan), loc="left", pad=6 * SMALL, fontsize=10)
        figure.savefig(path, dpi=DOTS_PER_INCH)


def _found(book: Recorder, plan: Plan) -> str:
    without, offloading, halved = (summary.latencies(each).first_p95 for each in summary.same_peak(book, plan))
    if without is None or offloading is None or halved is None:
        return "no request of the peak was answered"
    span = f"the same {plan.peak_without.seconds:.0f} s of load above capacity"
    found = f"{without:.2f} s without offloading, {offloading:.2f} s with it, {halved:.2f} s as half of local goes"
    return f"{span}: p95 of the time to first token {found}"


def _rates(axes: Axes, book: Recorder) -> None:
    ticks = smoothed(book.ticks)
    at = [tick.at for tick in ticks]
    sides = [tick.local for tick in ticks], [tick.remote for tick in ticks]
    labels = "answered locally", "answered by the remote"
    axes.stackplot(at, *sides, labels=labels, colors=(LOCAL, REMOTE), alpha=0.85, linewidth=0)
    axes.plot(at, [tick.came for tick in ticks], color=LOAD, linewidth=1.6, label="load: requests that come")
    capacity = [tick.capacity for tick in ticks]
    axes.step(at, capacity, color=GREY, linestyle=(0, (4, 3)), linewidth=1.2, label="most that local can answer")
    axes.axvspan(0, 0, color=SHADE, label="half of the local slots gone")
    axes.set_ylabel(f"requests per second\n(mean of {SMOOTHED_TICKS} s)")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(0)


def _cap(axes: Axes, book: Recorder) -> None:
    steps = [(change.at, change.after) for change in book.changes if change.after is not None]
    last = [(_end(book), cap) for _, cap in steps[-1:]]
    at, caps = [at for at, _ in steps + last], [cap for _, cap in steps + last]
    axes.step(at, caps, where="post", color=REMOTE, linewidth=2, label="cap, learned from the queue")
    axes.set_ylabel("most in flight\nper local server")
    axes.set_ylim(0)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _queue(axes: Axes, book: Recorder) -> None:
    seen = [tick for tick in book.ticks if tick.waiting is not None]
    at, waiting = [tick.at for tick in seen], [tick.waiting or 0 for tick in seen]
    axes.fill_between(at, waiting, step="post", color=QUEUE, alpha=0.85, linewidth=0, label="waiting for a slot")
    axes.set_ylabel("requests in the\nlocal queues")
    axes.set_ylim(0)


def _latency(axes: Axes, requests: list[Request]) -> None:
    for side, colour, label in ((Side.LOCAL, LOCAL, "answered locally"), (Side.REMOTE, REMOTE, "by the remote")):
        dots = [request for request in requests if request.side is side and request.first_token is not None]
        at, seconds = [request.at for request in dots], [request.first_token or 0.0 for request in dots]
        axes.plot(at, seconds, ".", color=colour, markersize=5, alpha=0.6, markeredgewidth=0, label=label)
    axes.set_ylabel("time to first token (s),\none dot per request")
    axes.set_ylim(0)


def _shade(axes: Axes, book: Recorder) -> None:
    """Shade the time since half of the local slots were gone, and mark where each phase began."""
    for since, until in halved(book):
        axes.axvspan(since, until, color=SHADE, zorder=0)
    for begun in book.begun:
        axes.axvline(begun.at, color=GREY, linewidth=0.8, linestyle=":")


def halved(book: Recorder) -> list[tuple[float, float]]:
    """Return the time from when half of the local slots were gone until the end, if it came to that."""
    return [(begun.at, _end(book)) for begun in book.begun if begun.phase.name == "halved"]


def _untils(starts: list[float], book: Recorder) -> list[float]:
    """Return the end of each span that lasts until the next one starts, the last until the run's end."""
    return [*starts[1:], _end(book)][: len(starts)]


def _phases(axes: Axes, book: Recorder) -> None:
    """Name the phases above the picture, and above them whether the gateway was there."""
    ends = _untils([begun.at for begun in book.begun], book)
    spans = [(begun.phase, begun.at, end) for begun, end in zip(book.begun, ends, strict=True)]
    for phase, since, until in spans:
        if until - since > NARROW * _end(book):
            _above(axes, wrapped(phase.title, (until - since) / _end(book)), (since + until) / 2, rows=0.4)
    for offloading, title in ((False, "without offloading"), (True, "with offloading")):
        of_side = [(since, until) for phase, since, until in spans if phase.offloading is offloading]
        if of_side:
            _above(axes, title, (of_side[0][0] + of_side[-1][1]) / 2, rows=3.4, weight="bold")


def wrapped(title: str, part: float) -> str:
    """Return a phase's name in lines that fit above it; `part` is the part of the picture's width that it takes."""
    return textwrap.fill(title, min(WRAPPED, int(part * ACROSS)), break_long_words=False)


def _above(axes: Axes, text: str, at: float, *, rows: float, weight: str = "normal") -> None:
    axes.annotate(
        text,
        (at, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, rows * SMALL),
        textcoords="offset points",
        fontsize=SMALL,
        weight=weight,
        color=LOAD,
        ha="center",
        va="bottom",
    )


def _end(book: Recorder) -> float:
    return max([1.0, *(tick.at for tick in book.ticks)])
