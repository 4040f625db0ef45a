"""`top`: show all models of a running controller in one live table."""

import asyncio
import sys

import httpx2
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from beamlit_controller.cli import explain, top_table
from beamlit_controller.cli.explain import Failed, ModelsAnswer
from beamlit_controller.core import printable

EVERY = 1.0
"""Seconds between two updates."""


def top(*, address: str = "http://127.0.0.1:8081", once: bool = False) -> None:
    """Show all models of the running controller in one live table, those that need attention first; Ctrl-C exits.

    Parameters
    ----------
    address
        Address of the controller (config.standalone.webListen).
    once
        Print the table once and exit; the default if the output is not a terminal.
    """
    try:
        sys.exit(asyncio.run(look(address, Console(), once=once)))
    except KeyboardInterrupt:
        sys.exit(130)


async def look(address: str, console: Console, *, once: bool = False) -> int:
    """Show the table, and return the exit code: with `once`, 1 if the controller did not answer."""
    async with httpx2.AsyncClient(timeout=explain.TIMEOUT, trust_env=False) as client:
        if once or not console.is_terminal:
            return _printed(await explain.fetch(client, address), console)
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(_screen(await explain.fetch(client, address), console), refresh=True)
                await asyncio.sleep(EVERY)


def _printed(answer: ModelsAnswer | Failed, console: Console) -> int:
    if isinstance(answer, Failed):
        Console(stderr=True).print(Text(printable.line(answer.message)), soft_wrap=True)
        return answer.code
    console.print(top_table.show(answer.view, console.width))
    return 0


def _screen(answer: ModelsAnswer | Failed, console: Console) -> RenderableType:
    if isinstance(answer, Failed):
        return Text(printable.line(answer.message), "bold red")
    return top_table.show(answer.view, console.width, console.height)
