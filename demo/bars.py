"""Charts of block characters: a line of bars, and columns of two colours, over the same time axis."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.style import Style
from rich.text import Text

from demo.recorder import Tick

EIGHTHS = " ▁▂▃▄▅▆▇█"
STEPS = len(EIGHTHS) - 1
FIGURES_APART = 10
"""Columns between two figures under the axis."""
LIMIT = "┄"

Levels = tuple[float | None, ...]
"""One value per column; None where nothing was seen."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The time axis: so many columns, each so many whole seconds wide."""

    columns: int
    seconds: int

    def mean(self, ticks: Iterable[Tick], value: Callable[[Tick], float | None]) -> Levels:
        """Return the mean of a value over the ticks of each column."""
        columns: list[list[float]] = [[] for _ in range(self.columns)]
        for tick in ticks:
            if (seen := value(tick)) is not None:
                columns[min(int(tick.at - 1) // self.seconds, self.columns - 1)].append(seen)
        return tuple(sum(column) / len(column) if column else None for column in columns)

    def figures(self) -> str:
        """Return the seconds to write under the columns."""
        starts = range(0, self.columns - len("000 s"), FIGURES_APART)
        figures = "".join(f"{start * self.seconds:<{FIGURES_APART}}" for start in starts)
        return f"{figures.rstrip()} s"


def axis(seconds: float, width: int) -> Axis:
    """Return the finest axis on which so many seconds fit in a width."""
    return Axis(width, max(1, -int(-seconds // width)))


def line(levels: Levels, *, top: float, style: str) -> Text:
    """Draw one row of bars; `top` fills a row. What was seen and is 0 gets the thinnest bar."""
    return Text(
        "".join(" " if level is None else EIGHTHS[max(1, _steps(level, top, 1))] for level in levels), style=style
    )


@dataclass(frozen=True, slots=True)
class Stack:
    """Two series, one on the other, with a limit for each column drawn where there is room."""

    lower: Levels
    upper: Levels
    lower_colour: str
    upper_colour: str
    top: float
    limits: Sequence[float]


def columns(stack: Stack, rows: int) -> Iterator[Text]:
    """Draw a stack as so many rows of text, the highest first."""
    limit_rows = [_steps(limit, stack.top, rows) // STEPS for limit in stack.limits]
    heights = [
        (_steps(lower or 0.0, stack.top, rows), _steps((lower or 0.0) + (upper or 0.0), stack.top, rows))
        for lower, upper in zip(stack.lower, stack.upper, strict=True)
    ]
    for row in reversed(range(rows)):
        cells = (_cell(lower - row * STEPS, both - row * STEPS, stack) for lower, both in heights)
        empty = ((LIMIT if row == limit_row else " ", "dim") for limit_row in limit_rows)
        yield Text.assemble(*(cell or none for cell, none in zip(cells, empty, strict=True)))


def _cell(lower: int, both: int, stack: Stack) -> tuple[str, str | Style] | None:
    """Draw one cell that the lower series fills by so many eighths, and both together by so many."""
    if both <= 0:
        return None
    if lower <= 0:
        return EIGHTHS[min(both, STEPS)], stack.upper_colour
    if lower >= STEPS or both < STEPS:
        return EIGHTHS[min(both, STEPS)], stack.lower_colour
    return EIGHTHS[lower], Style.parse(f"{stack.lower_colour} on {stack.upper_colour}")


def _steps(level: float, top: float, rows: int) -> int:
    return min(round(level / top * rows * STEPS), rows * STEPS) if top > 0 else 0


def highest(series: Sequence[Levels], least: float) -> float:
    """Return the highest of all values, or `least` if that is higher: a scale that all of them fit."""
    return max([least, *(level for levels in series for level in levels if level is not None)])
