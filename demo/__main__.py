"""The command line of the demo: `python -m demo`."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.text import Text

from demo import outcome, picture, place, ports, screen, story, summary
from demo import plan as plans
from demo.boot import NotUpError
from demo.children import ROOT, ChildEndedError
from demo.place import Place
from demo.plan import Plan
from demo.ports import DEFAULT_BASE, HIGHEST_BASE, Ports
from demo.recorder import Recorder
from demo.story import Stage

FOLDER, PICTURE = ROOT / "demo-run", "offloading.png"
STRIDE = 10_000
NOT_SHOWN, INTERRUPTED = 1, 130
PICTURES = (".png", ".svg")

app = App(name="python -m demo", version_flags=[])


@app.default
def main(
    *,
    duration: Annotated[float, Parameter(validator=Number(gte=0.2, lte=10))] = 1.0,
    output: Path | None = None,
    base_port: Annotated[int, Parameter(validator=Number(gte=1024, lte=HIGHEST_BASE))] = DEFAULT_BASE,
    plain: bool = False,
) -> None:
    """Watch what does not fit on this machine go to a remote, while half of the machine goes away, in about 90 s.

    Starts four small model servers (two of them are remotes, behind TLS), a load that rises above what the local two
    can serve, the controller and its gateway. On the way the local servers lose half of their slots, and the first remote's
    budget is spent. Exit code 0 means that offloading began and ended, that the cap followed, that the second remote answered
    once the first one's budget was spent, and that no request failed.

    Parameters
    ----------
    duration
        Makes the run so many times as long.
    output
        The file for the picture of the run, .png or .svg. Default: demo-run/offloading.png
    base_port
        The first of the ports on 127.0.0.1; the others are this one + 1, 21, 22, 363 and 364.
    plain
        Print lines instead of a live picture, as it is done where there is no terminal.
    """
    if output is not None and output.suffix not in PICTURES:
        _refuse(f"--output: expected a file that ends in {' or '.join(PICTURES)}, got {output}")
    chosen = Ports(base_port)
    if taken := ports.taken(chosen):
        said = "; ".join(f"port {port} ({name})" for name, port in taken)
        _refuse(f"already in use on 127.0.0.1: {said}. Choose others with --base-port {_another(base_port)}")
    console = Console(highlight=False)
    made = place.prepare(_folder(base_port), chosen)
    picture_file = output or made.folder / PICTURE
    sys.exit(_run(console, Run(made, chosen, plans.plan(duration), picture_file), plain=plain))


@dataclass(frozen=True, slots=True)
class Run:
    """What was asked for, ready to be played."""

    place: Place
    ports: Ports
    plan: Plan
    picture: Path


def _run(console: Console, run: Run, *, plain: bool) -> int:
    book = Recorder(plans.capacity())
    try:
        with screen.shown(book, console, seconds=run.plan.seconds, plain=plain) as show:
            asyncio.run(_played(Stage(run.plan, run.place, run.ports, book, show)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(f"\nEnded before the end. No process is left; logs are in {run.place.logs}.", file=sys.stderr)
        return INTERRUPTED
    except ExceptionGroup as errors:
        expected, others = errors.split((ChildEndedError, NotUpError))
        if others or expected is None:
            raise
        for error in _each(expected):
            print(f"demo: {error}", file=sys.stderr)
        return NOT_SHOWN
    console.print(summary.tables(book, run.plan))
    _draw(book, run.plan, run.picture)
    return _verdict(console, book, run.place.logs)


async def _played(stage: Stage) -> None:
    """Play, and take a SIGTERM or a closed terminal as what Ctrl-C is: a reason to clean up and end."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is not None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, task.cancel)
    await story.play(stage)


def _each(errors: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in errors.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _each(error)
        else:
            yield error


def _draw(book: Recorder, plan: Plan, output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    picture.draw(book, plan, output)
    print(f"\nThe picture of the run: {output.resolve()}")


def _verdict(console: Console, book: Recorder, logs: Path) -> int:
    unmet = outcome.shortcomings(book)
    if not unmet:
        console.print(
            Text(
                "Offloading began and ended, the cap followed what local can do, and no request failed.",
                style="bold green",
            )
        )
        return 0
    for each in unmet:
        console.print(Text(f"Not met: {each}", style="bold red"), soft_wrap=True)
    print(f"Logs are in {logs}")
    return NOT_SHOWN


def _folder(base_port: int) -> Path:
    """Return the run's folder: one for each choice of ports, so that two runs don't take each other's."""
    return FOLDER if base_port == DEFAULT_BASE else FOLDER / str(base_port)


def _another(base_port: int) -> int:
    return base_port + STRIDE if base_port + STRIDE <= HIGHEST_BASE else base_port - STRIDE


def _refuse(message: str) -> NoReturn:
    print(f"demo: {message}", file=sys.stderr)
    sys.exit(NOT_SHOWN)


if __name__ == "__main__":
    app()
