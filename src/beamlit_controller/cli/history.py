"""`history NAME`: print the last changes of a model's percentage, and their reasons."""

import asyncio
import sys
from collections.abc import Iterator

import httpx2
from rich.console import Console
from rich.table import Table
from rich.text import Text

from beamlit_controller.api.models_view import ChangeView, WaitingView
from beamlit_controller.cli import changes, explain, inputs
from beamlit_controller.cli.explain import Failed
from beamlit_controller.core import printable


def history(name: str, *, namespace: inputs.Namespace = "", address: str = "http://127.0.0.1:8081") -> None:
    """Print the last changes of a model's percentage, latest first, with their reasons.

    Parameters
    ----------
    name
        NAME or NAMESPACE/NAME of the ModelDeployment.
    namespace
        Namespace of the ModelDeployment; by default any, if only one has a model of that name.
    address
        Address of the controller (config.standalone.webListen).
    """
    sys.exit(asyncio.run(tell(inputs.qualified(name, namespace), address, Console())))


async def tell(name: str, address: str, console: Console) -> int:
    """Print the changes; exit code 1 if the controller did not answer, 2 if the name is unknown or ambiguous."""
    async with httpx2.AsyncClient(timeout=explain.TIMEOUT, trust_env=False) as client:
        answer = await explain.fetch(client, address)
    found = answer if isinstance(answer, Failed) else explain.pick(answer.view, name)
    match found:
        case Failed():
            Console(stderr=True).print(Text(printable.line(found.message)), soft_wrap=True)
            return found.code
        case WaitingView():
            console.print(Text(f"no round has succeeded yet: {printable.line(found.failure.error)}"))
        case _:
            console.print(_table(found.changes) if found.changes else Text("the percentage has not changed yet"))
    return 0


def _table(changes: tuple[ChangeView, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("WHEN", "SHARE", "REASON"):
        table.add_column(title, no_wrap=True)
    table.add_column("WHY", overflow="fold")
    for change in changes:
        table.add_row(*_cells(change))
    return table


def _cells(change: ChangeView) -> Iterator[Text]:
    yield Text(f"{change.at:%Y-%m-%d %H:%M:%SZ}")
    yield Text(changes.shares(change), "yellow" if change.percentage else "green")
    yield Text(printable.line(change.reason), "bold")
    yield Text(printable.line(change.message))
