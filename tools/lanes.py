"""Run the lanes of `make check`, `make test` or `make coverage`, each to its end whatever became of the others, and sum them up.

A lane is a list of commands. A test run counts its tests, by the report that pytest writes; any other command counts as one.
Lanes of one phase run at the same time, phases one after another. What a lane prints goes to a file, to be followed, and is
printed when the lane has ended.

`python -m tools.lanes check|test|coverage [SELECTION …]` passes the selection to every pytest.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from xml.etree import ElementTree as ET

from tools import pythons
from tools.pythons import Command

ROOT = Path(__file__).parent.parent
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
NO_TESTS = 5
"""What pytest exits with if nothing was selected."""

SLOWEST = ("--durations=25", "--durations-min=5")
"""What to look at when the tests get slow."""
CORES = 2
"""What the durations in the README are for."""
FAST = "not cluster and not node and not long"
PURE = f"{FAST} and not system"
BRIEF = ("env", "HYPOTHESIS_PROFILE=brief")
YIELDING = ("nice", "-n", "5")
"""For what computes beside tests that mostly wait."""
OUTPUT = ROOT / ".lanes"


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


Phase = tuple[Lane, ...]


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
    began = time.monotonic()
    outcomes = [outcome for phase in LANES[which]() for outcome in together(phase, selection, OUTPUT)]
    print("\n" + "\n".join(summary(outcomes, time.monotonic() - began)), flush=True)  # noqa: T201 - what it is for
    return exit_code(outcomes)


def checks() -> Iterator[Phase]:
    """Yield what runs no other program, on all Pythons at once, with few examples of a property; some of it waits."""
    here = Lane(f"tests on Python {HERE}", tests=(sys.executable, *parallel(CORES), "-m", PURE), before=BRIEF)
    yield lint(), here, *on_other_pythons()


def everything() -> Iterator[Phase]:
    """Yield what runs every test on this Python; `checks` has the other Pythons.

    The tests wait for most of the time, so there are two processes more than cores, and those on the node run beside them.
    """
    yield lint(), Lane("what tests run on", (("make", "--silent", "packages"), ("make", "--silent", "assets")))
    yield (
        Lane(
            f"tests on Python {HERE}", tests=(sys.executable, *parallel(CORES + 2), "-m", "not alone"), before=YIELDING
        ),
        Lane("tests on the node", tests=(sys.executable, *SLOWEST, "-m", "alone")),
    )


def coverage() -> Iterator[Phase]:
    """Yield what tells which lines no test runs that takes neither root nor Go."""
    cover = ("--cov", "--cov-report=")
    yield (Lane("tests with coverage", tests=(sys.executable, *parallel(CORES), "-m", FAST, *cover)),)
    yield (Lane("coverage", ((sys.executable, "-m", "coverage", "report"),)),)


def parallel(processes: int) -> Command:
    """Return the options for tests in this many processes."""
    return "-n", str(processes), *SLOWEST


def lint() -> Lane:
    """Return the checks of style, types and layers."""
    return Lane(
        "style, types and layers", (("ruff", "check"), ("ruff", "format", "--check"), ("mypy",), ("lint-imports",))
    )


def on_other_pythons() -> Iterator[Lane]:
    """Yield the tests that run no other program, on each further Python that is supported."""
    versions = pythons.supported((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for version in versions:
        if version != HERE:
            yield _on(version, pythons.find(version))


def _on(version: str, interpreter: Path | None) -> Lane:
    name = f"tests on Python {version}"
    if interpreter is None:
        return Lane(name, absent=f"there is no Python {version} here")
    python = str(pythons.environment(version))
    return Lane(name, tuple(pythons.made(version, interpreter)), (python, *parallel(CORES), "-m", PURE), before=BRIEF)


LANES = {"check": checks, "test": everything, "coverage": coverage}


def together(phase: Phase, selection: Sequence[str], folder: Path) -> Iterator[Outcome]:
    """Run lanes at the same time, and give what became of each as it ends, with all it printed printed."""
    folder.mkdir(exist_ok=True)
    with ThreadPoolExecutor(max(len(phase), 1)) as pool:
        running = [pool.submit(run, lane, selection, folder, number) for number, lane in enumerate(phase)]
        for each in as_completed(running):
            outcome = each.result()
            print(f"\n=== {outcome}\n{_output(folder, outcome.lane).read_text(errors='replace')}", flush=True)  # noqa: T201 - to be seen
            yield outcome


def run(lane: Lane, selection: Sequence[str], folder: Path, number: int = 0) -> Outcome:
    """Run a lane, the one of this number in its phase. A command that fails keeps no other from running."""
    path, began = _output(folder, lane), time.monotonic()
    print(f"... {lane.name}: follow it in {os.path.relpath(path)}", flush=True)  # noqa: T201 - the rest comes at its end
    with path.open("w") as output:
        count = sum((_command(each, output) for each in lane.commands), Count())
        if lane.tests:
            count += _tests(lane, selection, output, number)
    return Outcome(lane, count, time.monotonic() - began)


def _output(folder: Path, lane: Lane) -> Path:
    return folder / f"{lane.name.replace(' ', '-').replace(',', '')}.log"


def _command(command: Command, output: IO[str]) -> Count:
    return Count(failed=1) if _exit_code(command, output) else Count(passed=1)


def _tests(lane: Lane, selection: Sequence[str], output: IO[str], number: int) -> Count:
    python, *options = lane.tests
    report = Path(output.name).with_suffix(".xml")
    report.unlink(missing_ok=True)
    pytest = (python, "-m", "pytest", *options, f"--junitxml={report}", *selection)
    code = _exit_code((*lane.before, *pytest), output, LANE=str(number))
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


def _exit_code(command: Command, output: IO[str], **environment: str) -> int:
    try:
        return subprocess.run(  # noqa: S603 - our own commands
            command,
            cwd=ROOT,
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    except OSError as error:
        print(f"{command[0]}: {error}", file=output, flush=True)
        return 1


def summary(outcomes: Iterable[Outcome], seconds: float) -> Iterator[str]:
    """Yield a line for each lane, and the total last."""
    outcomes = tuple(outcomes)
    yield from map(str, outcomes)
    total = sum((outcome.count for outcome in outcomes), Count())
    yield f"total: {total}, {seconds:.0f} s"


def exit_code(outcomes: Iterable[Outcome]) -> int:
    """Return 1 if anything failed, or with CI=true if a lane could not run."""
    strict = os.environ.get("CI") == "true"
    return int(any(outcome.count.failed or (strict and outcome.lane.absent) for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
