"""The lanes of `make check` and `make test`: none hides another, and the summary counts them all."""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tools import lanes, pythons
from tools.lanes import Count, Lane, Outcome

pytestmark = pytest.mark.system


def having(folder: Path, content: str) -> Lane:
    (folder / "test_it.py").write_text(content)
    return Lane(
        "some", tests=(sys.executable, "-p", "no:cacheprovider", f"--rootdir={folder}", "-c/dev/null", str(folder))
    )


def run(lane: Lane, folder: Path, selection: Sequence[str] = ()) -> Outcome:
    return lanes.run(lane, selection, folder)


def command(code: int) -> tuple[str, ...]:
    return sys.executable, "-c", f"import sys; sys.exit({code})"


def test_a_failure_keeps_no_other_command_and_no_test_of_its_lane_from_running(tmp_path: Path) -> None:
    tests = having(tmp_path, "def test_a(): pass\ndef test_b(): assert False\n").tests

    outcome = run(Lane("some", (command(1), command(0)), tests), tmp_path)

    assert outcome.count == Count(passed=2, failed=2)


def test_the_summary_has_a_line_for_each_lane_and_the_total_last() -> None:
    first = Outcome(Lane("first"), Count(passed=3, skipped=1), 2)
    second = Outcome(Lane("second"), Count(passed=1, failed=2), 3)
    third = Outcome(Lane("third", absent="there is no Python 3.99 here"), Count(), 0)

    said = list(lanes.summary([first, second, third], 4))

    assert said == [
        "first: 3 passed, 0 failed, 1 skipped, 2 s",
        "second: 1 passed, 2 failed, 0 skipped, 3 s",
        "third: NOT RUN: there is no Python 3.99 here",
        "total: 4 passed, 2 failed, 1 skipped, 4 s",
    ]
    assert lanes.exit_code([first, second, third]) == 1


def test_lanes_of_a_phase_run_at_once_and_a_failed_one_hides_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meet = (
        "import os, sys; os.open(sys.argv[1], {}); print('met', sys.argv[2])"  # a fifo opens when both sides are there
    )
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = (sys.executable, "-c", meet.format("os.O_RDONLY"), str(fifo), "the reader")
    writer = (sys.executable, "-c", meet.format("os.O_WRONLY"), str(fifo), "the writer")

    outcomes = lanes.together((Lane("one", (reader, command(1))), Lane("two", (writer,))), (), tmp_path)

    counts = {outcome.lane.name: outcome.count for outcome in outcomes}
    assert counts == {"one": Count(passed=1, failed=1), "two": Count(passed=1)}
    printed = capsys.readouterr().out
    assert "=== one: 1 passed, 1 failed, 0 skipped, " in printed
    assert {"met the reader", "met the writer"} <= set(printed.splitlines())


def test_lanes_that_run_at_once_are_given_other_ports(tmp_path: Path) -> None:
    tests = "import os\ndef test_a(): print('lane', os.environ['LANE'])"
    first, second = having(tmp_path, tests), having(tmp_path, tests)
    phase = (
        replace(first, name="first", tests=(*first.tests, "-s")),
        replace(second, name="second", tests=(*second.tests, "-s")),
    )

    list(lanes.together(phase, (), tmp_path))

    assert "lane 0" in (tmp_path / "first.log").read_text()
    assert "lane 1" in (tmp_path / "second.log").read_text()


def test_only_a_selection_may_leave_a_lane_without_tests(tmp_path: Path) -> None:
    lane = having(tmp_path, "def test_a(): pass\n")

    selected, unselected = run(lane, tmp_path, ["-k", "nothing"]), run(having(tmp_path, ""), tmp_path)

    assert selected.count == Count()
    assert unselected.count == Count(failed=1)


@pytest.mark.parametrize("broken", ["syntax error(", "import no_such_module"])
def test_a_file_that_can_not_be_read_is_a_failure(tmp_path: Path, broken: str) -> None:
    assert run(having(tmp_path, broken), tmp_path).count.failed == 1


def test_a_command_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    assert run(Lane("some", (("no-such-command",),)), tmp_path).count == Count(failed=1)


def test_a_run_that_ends_before_its_report_is_a_failure(tmp_path: Path) -> None:
    lane = having(tmp_path, "import os\nos._exit(3)\n")

    assert run(lane, tmp_path).count == Count(failed=1)


def test_every_supported_python_has_a_lane() -> None:
    text = (lanes.ROOT / "pyproject.toml").read_text()

    names = " ".join(lane.name for phase in lanes.checks() for lane in phase)

    assert pythons.supported(text)[0] == "3.11"
    assert all(f"Python {version}" in names for version in pythons.supported(text))


def test_a_python_that_is_not_there_is_named_as_such() -> None:
    assert pythons.find("3.99") is None
