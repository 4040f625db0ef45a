"""The picture of a run: written in the format that its name tells, and true to the book."""

from pathlib import Path

from demo.plan import Plan
from demo.recorder import Recorder

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


def test_shades_the_time_since_half_of_the_slots_were_gone(book: Recorder) -> None:
    assert picture.halved(book) == [(45, 80)]


def test_shades_nothing_where_no_slot_was_taken() -> None:
    assert picture.halved(Recorder(capacity=8)) == []


def test_the_name_of_a_short_phase_does_not_run_into_the_next_one() -> None:
    assert picture.wrapped("low load", 4 / 90) == "low\nload"
    assert picture.wrapped("low load again", 9 / 90) == "low load\nagain"
