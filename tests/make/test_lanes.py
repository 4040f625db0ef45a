"""The lanes of `make check` and `make test`: none hides another, and the summary counts them all."""

import sys
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


def command(code: int) -> tuple[str, ...]:
    return sys.executable, "-c", f"import sys; sys.exit({code})"


def test_a_failure_keeps_no_other_command_and_no_test_of_its_lane_from_running(tmp_path: Path) -> None:
    tests = having(tmp_path, "def test_a(): pass\ndef test_b(): assert False\n").tests

    outcome = lanes.run(Lane("some", (command(1), command(0)), tests))

    assert outcome.count == Count(passed=2, failed=2)


def test_the_summary_has_a_line_for_each_lane_and_the_total_last() -> None:
    first = Outcome(Lane("first"), Count(passed=3, skipped=1), 2)
    second = Outcome(Lane("second"), Count(passed=1, failed=2), 3)
    third = Outcome(Lane("third", absent="there is no Python 3.99 here"), Count(), 0)

    said = list(lanes.summary([first, second, third]))

    assert said == [
        "first: 3 passed, 0 failed, 1 skipped, 2 s",
        "second: 1 passed, 2 failed, 0 skipped, 3 s",
        "third: NOT RUN: there is no Python 3.99 here",
        "total: 4 passed, 2 failed, 1 skipped, 5 s",
    ]
    assert lanes.exit_code([first, second, third]) == 1


def test_only_a_selection_may_leave_a_lane_without_tests(tmp_path: Path) -> None:
    lane = having(tmp_path, "def test_a(): pass\n")

    selected, unselected = lanes.run(lane, ["-k", "nothing"]), lanes.run(having(tmp_path, ""))

    assert selected.count == Count()
    assert unselected.count == Count(failed=1)


@pytest.mark.parametrize("broken", ["syntax error(", "import no_such_module"])
def test_a_file_that_can_not_be_read_is_a_failure(tmp_path: Path, broken: str) -> None:
    assert lanes.run(having(tmp_path, broken)).count.failed == 1


def test_a_command_that_is_not_there_is_a_failure() -> None:
    assert lanes.run(Lane("some", (("no-such-command",),))).count == Count(failed=1)


def test_a_run_that_ends_before_its_report_is_a_failure(tmp_path: Path) -> None:
    lane = having(tmp_path, "import os\nos._exit(3)\n")

    assert lanes.run(lane).count == Count(failed=1)


def test_every_supported_python_has_a_lane() -> None:
    text = (lanes.ROOT / "pyproject.toml").read_text()

    names = " ".join(lane.name for lane in lanes.checks())

    assert pythons.supported(text)[0] == "3.11"
    assert all(f"Python {version}" in names for version in pythons.supported(text))


def test_a_python_that_is_not_there_is_named_as_such() -> None:
    assert pythons.find("3.99") is None
