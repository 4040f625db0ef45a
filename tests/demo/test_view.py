"""The live picture and the plain lines: they fit, and they say what is."""

import io

import pytest
from demo.bars import Axis, Stack
from demo.plan import Plan
from demo.recorder import Begun, Recorder, State, Tick
from rich.console import Console

from demo import bars, screen, view

BLUE, ORANGE = view.LOCAL_COLOUR, view.REMOTE_COLOUR


def drawn(book: Recorder, *, width: int, height: int, now: float = 80) -> list[str]:
    console = Console(width=width, height=height, force_terminal=False, color_system=None)
    with console.capture() as captured:
        console.print(view.frame(book, now=now, seconds=88, width=width, height=height))
    return captured.get().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 40), (200, 60)])
def test_the_picture_fits_the_terminal(book: Recorder, width: int, height: int) -> None:
    book.ticks[-1] = _with(book.ticks[-1], State(100, "DemandAboveTarget", "vllm:kv_cache_usage_perc " * 40))

    lines = drawn(book, width=width, height=height)

    assert len(lines) <= height
    assert max(map(len, lines)) <= width


def test_the_picture_says_phase_share_reason_and_who_answered(book: Recorder) -> None:
    book.ticks = book.ticks[:60]

    said = "\n".join(drawn(book, width=100, height=30, now=60))

    assert "low load again: 1.0 requests/s through the gateway" in said
    assert "at most 3.5 in flight per local server, MetricAboveTarget: why" in said
    assert "120 answered locally" in said
    assert "40 by the remote" in said
    assert "contract: 30 for 0.031 USD, budget spent   on-demand: 10 for 0.005 USD" in said
    assert "50 %" in said
    assert "60 s of about 88 s" in said


def test_a_run_that_has_just_begun_can_be_drawn() -> None:
    assert any("no controller runs yet" in line for line in drawn(Recorder(capacity=8), width=80, height=24, now=0))


def test_a_controller_that_is_gone_is_told(book: Recorder) -> None:
    book.ticks[-1] = _with(book.ticks[-1], None)

    assert any("the controller does not answer" in line for line in drawn(book, width=80, height=24))


def test_a_run_that_takes_longer_than_planned_still_fits(book: Recorder) -> None:
    book.ticks.append(_with(book.ticks[-1], None, at=400))

    assert max(map(len, drawn(book, width=80, height=24, now=400))) <= 80


def test_columns_are_stacked_with_the_limit_where_there_is_room() -> None:
    stack = Stack((4.0, 2.0, None), (0.0, 2.0, None), BLUE, ORANGE, top=4, limits=(3, 3, 1))

    rows = [row.plain for row in bars.columns(stack, 2)]

    assert rows == ["██ ", "██┄"]


def test_a_cell_that_both_sides_share_has_both_colours() -> None:
    stack = Stack((1.0,), (3.0,), BLUE, ORANGE, top=4, limits=(4,))

    (lower,) = list(bars.columns(stack, 1))

    assert lower.plain == "▂"
    assert str(lower.spans[0].style) == f"{BLUE} on {ORANGE}"


def test_what_was_not_seen_has_no_bar_and_0_the_thinnest() -> None:
    assert bars.line((None, 0.0, 4.0, 8.0), top=8, style="").plain == " ▁▄█"


def test_a_column_is_the_mean_of_its_seconds() -> None:
    ticks = [Tick(at, came, 0, 0, None, None, None, None) for at, came in ((1.0, 2), (2.0, 4), (3.1, 8))]

    assert Axis(3, 2).mean(ticks, lambda tick: tick.came) == (3, 8, None)


def test_the_axis_is_as_fine_as_the_width_allows() -> None:
    assert bars.axis(90, 100) == Axis(100, 1)
    assert bars.axis(90, 56) == Axis(56, 2)
    assert Axis(30, 2).figures() == "0         20        40 s"


def test_without_a_terminal_there_are_lines_for_phases_decisions_and_figures(book: Recorder, plan: Plan) -> None:
    output = io.StringIO()
    growing = Recorder(capacity=8)
    growing.begun = [Begun(plan.calm_before, 20)]

    with screen.shown(growing, Console(file=output, width=80), seconds=88, plain=False) as show:
        for tick in book.ticks[20:40]:
            growing.ticks.append(tick)
            show(tick.at)

    lines = output.getvalue().splitlines()
    assert lines[0] == "   20 s  ▸ low load: 2.5 requests/s through the gateway"
    assert [line for line in lines if "why" in line] == [
        "   21 s  no cap yet, MetricBelowTarget: why",
        "   32 s  at most 7.5 in flight per local server, MetricAboveTarget: why",
    ]
    assert len([line for line in lines if "queue" in line]) == 4


def _with(tick: Tick, state: State | None, at: float | None = None) -> Tick:
    return Tick(at or tick.at, tick.came, tick.local, tick.remote, None, None, None, state)
