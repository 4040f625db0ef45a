"""The picture of a run: written in the format that its name tells, and true to the book."""

from pathlib import Path

import pytest
from demo.plan import Plan
from demo.recorder import Change, Recorder

from demo import picture


def test_writes_a_png(book: Recorder, plan: Plan, tmp_path: Path) -> None:
    picture.draw(book, plan, tmp_path / "run.png")

    content = (tmp_path / "run.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(content) > 20_000


def test_writes_an_svg(book: Recorder, plan: Plan, tmp_path: Path) -> None:
    picture.draw(book, plan, tmp_path / "run.svg")

    assert "<svg" in (tmp_path / "run.svg").read_text()


def test_draws_a_run_that_was_over_at_once(plan: Plan, tmp_path: Path) -> None:
    picture.draw(Recorder(capacity=8), plan, tmp_path / "run.png")

    assert (tmp_path / "run.png").exists()


@pytest.mark.parametrize(
    ("shares", "spans"),
    [
        ([], []),
        ([(32, 50), (70, 0)], [(32, 70)]),
        ([(32, 25), (40, 50), (70, 0)], [(32, 40), (40, 70)]),
        ([(32, 50)], [(32, 80)]),
    ],
)
def test_shades_the_time_while_the_share_was_above_0(
    book: Recorder, shares: list[tuple[float, int]], spans: list[tuple[float, float]]
) -> None:
    book.changes = [Change(at, 0, after, "MetricAboveTarget", "why") for at, after in shares]

    assert picture.offloading(book) == spans
