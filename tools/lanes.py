"""Run the lanes of `make check`, `make test` or `make coverage`, each to its end whatever became of the others, and sum them up.

A lane is a list of commands. A test run counts its tests, by the report that pytest writes; any other command counts as one.

`python -m tools.lanes check|test|coverage [SELECTION …]` passes the selection to every pytest.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree as ET

from tools import pythons
from tools.pythons import Command

ROOT = Path(__file__).parent.parent
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
NO_TESTS = 5
"""What pytest exits with if nothing was selected."""

SLOWEST = ("--durations=25", "--durations-min=5")
"""What to look at when the tests get slow."""
PARALLEL = ("-n", "2", "--dist", "loadgroup", "--no-loadscope-reorder", *SLOWEST)
FAST = "not cluster and not node and not long"
PURE = f"{FAST} and not system"
BRIEF = ("env", "HYPOTHESIS_PROFILE=brief")


@dataclass(frozen=True, slots=True)
class Lane:
    """Commands that run one after another, and then perhaps a pytest of an interpreter.

    `before` is what that command begins with, such as `env`; `absent` says why the lane can't run.
    """

    name: str
    commands: tuple[Command, ...] = ()
    tests: Command = ()
    before: Command = ()
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Count:
    """How many passed, failed and were skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a lane."""

    lane: Lane
    count: Count
    seconds: float

    def __str__(self) -> str:
        ran = f"{self.count}, {self.seconds:.0f} s"
        return f"{self.lane.name}: {f'NOT RUN: {self.lane.absent}' if self.lane.absent else ran}"


def main(which: str, selection: Sequence[str]) -> int:
    """Run the lanes, print the summary and give the exit code."""
    lanes = tuple(LANES[which]())
    outcomes = [run(lane, selection) for lane in lanes]
    print("\n" + "\n".join(summary(outcomes)), flush=True)  # noqa: T201 - what it is for
    return exit_code(outcomes)


def checks() -> Iterator[Lane]:
    """Give what runs no other program, on each Python, with few examples of a property."""
    yield lint()
    yield Lane(f"tests on Python {HERE}", tests=(sys.executable, *PARALLEL, "-m", PURE), before=BRIEF)
    yield from on_other_pythons()


def everything() -> Iterator[Lane]:
    """Give what runs every test on this Python; `checks` has the other Pythons."""
    yield lint()
    yield Lane("what tests run on", (("make", "--silent", "packages"), ("make", "--silent", "assets")))
    yield Lane(f"tests on Python {HERE}", tests=(sys.executable, *PARALLEL, "-m", "not alone"))
    yield Lane("tests with nothing beside them", tests=(sys.executable, *SLOWEST, "-m", "alone"))


def coverage() -> Iterator[Lane]:
    """Give what tells which lines no test runs that takes neither root nor Go."""
    cover = ("--cov", "--cov-report=")
    yield Lane("tests with coverage", tests=(sys.executable, *PARALLEL, "-m", FAST, *cover))
    yield Lane("coverage", ((sys.executable, "-m", "coverage", "report"),))


def lint() -> Lane:
    """Give the checks of style, types and layers."""
    return Lane(
        "style, types and layers", (("ruff", "check"), ("ruff", "format", "--check"), ("mypy",), ("lint-imports",))
    )


def on_other_pythons() -> Iterator[Lane]:
    """Give the tests that run no other program, on each further Python that is supported."""
    for version in pythons.supported((ROOT / "pyproject.toml").read_text(encoding="utf-8")):
        if version != HERE:
            yield _on(version)


def _on(version: str) -> Lane:
    name, interpreter = f"tests on Python {version}, without other programs", pythons.find(version)
    if interpreter is None:
        return Lane(name, absent=f"there is no Python {version} here")
    python = str(pythons.environment(version))
    return Lane(name, tuple(pythons.made(version, interpreter)), (python, *PARALLEL, "-m", PURE), BRIEF)


LANES = {"check": checks, "test": everything, "coverage": coverage}


def run(lane: Lane, selection: Sequence[str] = ()) -> Outcome:
    """Run a lane, with all it prints to be seen. A command that fails keeps no other from running."""
    print(f"\n=== {lane.name}", flush=True)  # noqa: T201 - a heading for what the commands print
    began = time.monotonic()
    count = sum((_command(each) for each in lane.commands), Count())
    if lane.tests:
        count += _tests(lane, selection)
    return Outcome(lane, count, time.monotonic() - began)


def _command(command: Command) -> Count:
    return Count(failed=1) if _exit_code(command) else Count(passed=1)


def _tests(lane: Lane, selection: Sequence[str]) -> Count:
    python, *options = lane.tests
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        code = _exit_code((*lane.before, python, "-m", "pytest", *options, f"--junitxml={report}", *selection))
        count = counted(report)
    if code == 0 or (code == NO_TESTS and selection) or count.failed:
        return count
    return count + Count(failed=1)


def counted(report: Path) -> Count:
    """Count the tests of a report; none, if pytest did not get as far as to write one."""
    if not report.exists():
        return Count()
    suites = ET.parse(report).getroot().iter("testsuite")  # noqa: S314 - pytest has just written it
    return sum((_suite(each.attrib) for each in suites), Count())


def _suite(said: dict[str, str]) -> Count:
    failed, skipped = int(said["failures"]) + int(said["errors"]), int(said["skipped"])
    return Count(int(said["tests"]) - failed - skipped, failed, skipped)


def _exit_code(command: Command) -> int:
    try:
        return subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603 - our own commands
    except OSError as error:
        print(f"{command[0]}: {error}", file=sys.stderr)  # noqa: T201 - to be seen
        return 1


def summary(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """Give a line for each lane, and the total last."""
    outcomes = tuple(outcomes)
    yield from map(str, outcomes)
    total = sum((outcome.count for outcome in outcomes), Count())
    yield f"total: {total}, {sum(outcome.seconds for outcome in outcomes):.0f} s"


def exit_code(outcomes: Iterable[Outcome]) -> int:
    """Give 1 if anything failed, or with CI=true if a lane could not run."""
    strict = os.environ.get("CI") == "true"
    return int(any(outcome.count.failed or (strict and outcome.lane.absent) for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
