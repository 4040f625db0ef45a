"""Showing a run: a live picture on a terminal, plain lines elsewhere."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from demo import view
from demo.recorder import Recorder, State, Tick

LINE_SECONDS = 5.0
Show = Callable[[float], None]
"""What shows the run as it is at a time, in seconds."""


@contextmanager
def shown(book: Recorder, console: Console, *, seconds: float, plain: bool) -> Iterator[Show]:
    """Provide what shows the book as it is; on a terminal it is there until the block ends."""
    if plain or not console.is_terminal or console.is_dumb_terminal or "CI" in os.environ:
        yield Lines(book, console).show
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:

        def show(now: float) -> None:
            width, height = console.size
            live.update(view.frame(book, now=now, seconds=seconds, width=width, height=height), refresh=True)

        show(0)
        yield show


class Lines:
    """Plain lines: one every few seconds, and one for each new phase and each new decision."""

    def __init__(self, book: Recorder, console: Console) -> None:
        self._book = book
        self._console = console
        self._phases = 0
        self._said: tuple[float | None, str] | None = None
        self._next = 0.0

    def show(self, _: float) -> None:
        """Print what is new."""
        for begun in self._book.begun[self._phases :]:
            self._print(begun.at, f"▸ {begun.phase}")
        self._phases = len(self._book.begun)
        if not self._book.ticks:
            return
        tick = self._book.ticks[-1]
        if tick.state is not None and self._said != (said := (tick.state.cap, tick.state.reason)):
            self._said = said
            self._print(tick.at, _decision(tick.state))
        if tick.at >= self._next:
            self._next = tick.at + LINE_SECONDS - 0.5
            self._print(tick.at, _figures(tick))

    def _print(self, at: float, said: str) -> None:
        self._console.print(f"{at:5.0f} s  {said}", markup=False, highlight=False, soft_wrap=True)


def _decision(state: State) -> str:
    limit = "no cap yet" if state.cap is None else f"at most {state.cap:.1f} in flight per local server"
    return f"{limit}, {state.reason}: {state.message}"


def _figures(tick: Tick) -> str:
    queue = "?" if tick.waiting is None else str(tick.waiting)
    latency = "-" if tick.p50 is None or tick.p95 is None else f"{tick.p50:.2f} s / {tick.p95:.2f} s"
    return (
        f"load {tick.came:4.1f}/s, answered {tick.local:4.1f}/s locally and {tick.remote:4.1f}/s by the remote, "
        f"queue {queue:>3}, first token p50 / p95 {latency}"
    )
