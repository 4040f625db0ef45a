"""A real, headless browser (Debian's package `chromium`), driven over its DevTools protocol.

`async with browser(tmp_path) as page:` gives one tab: `open` it, `evaluate` in it, `press` keys. What it complains of, such
as an error of a script or a breach of the page's own policy, is in `complaints`.
"""

import asyncio
import itertools
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import websockets

from absence import missing
from waiting import eventually

FLAGS = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--no-proxy-server",
)
KEYS = {"Tab": 9, "Enter": 13}


class Page:
    """One tab."""

    def __init__(self, connection: websockets.ClientConnection) -> None:
        self.complaints: list[str] = []
        self._connection = connection
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def listen(self) -> None:
        """Take in what the browser says until it ends."""
        async for message in self._connection:
            said = json.loads(message)
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            elif said["method"] == "Runtime.exceptionThrown" or said["method"] == "Log.entryAdded":
                self.complaints.append(json.dumps(said["params"]))

    async def send(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a command and give its result."""
        number = next(self._numbers)
        self._answers[number] = answer = asyncio.get_running_loop().create_future()
        await self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        said = await asyncio.wait_for(answer, 30)
        assert "error" not in said, (method, said["error"])
        return said["result"]

    async def open(self, url: str) -> None:
        """Go to an address."""
        for domain in ("Page", "Runtime", "Log", "Accessibility"):
            await self.send(f"{domain}.enable")
        await self.send("Page.navigate", url=url)

    async def evaluate(self, expression: str) -> Any:  # noqa: ANN401 - whatever JavaScript gives
        """Return the value of an expression."""
        said = await self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    async def text(self, selector: str = "body") -> str:
        """Return the text that is to be seen in an element; "" where it is not there."""
        return await self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    async def press(self, key: str) -> None:
        """Press a key and let it go."""
        known = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        await self.send("Input.dispatchKeyEvent", type="keyDown", **known, **text)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **known)

    async def resize(self, width: int, height: int = 800, *, dark: bool = False) -> None:
        """Be a screen of another size, and maybe one in dark mode."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def heard(self) -> list[tuple[str, str]]:
        """Return role and name of everything that a screen reader has of the page."""
        tree = await self.send("Accessibility.getFullAXTree")
        return [(_said(node, "role"), _said(node, "name")) for node in tree["nodes"] if not node["ignored"]]


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Page]:
    """Start a browser with an empty profile in a folder, and end it."""
    binary = shutil.which("chromium") or missing("chromium", "make packages installs it as root")
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
    with (folder / "browser.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            binary, *FLAGS, *sandbox, f"--user-data-dir={folder / 'profile'}", "about:blank", stdout=log, stderr=log
        )
    try:
        async with websockets.connect(await _tab(folder / "browser.log"), max_size=None, proxy=None) as connection:
            page = Page(connection)
            listening = asyncio.create_task(page.listen())
            yield page
            listening.cancel()
            await asyncio.wait([listening])
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _tab(log: Path) -> str:
    def port() -> str | None:
        found = re.search(r"DevTools listening on ws://127\.0\.0\.1:(\d+)/", log.read_text(errors="replace"))
        return found[1] if found else None

    await eventually(port, what="the browser is up")
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as client:
        tabs = (await client.get(f"http://127.0.0.1:{port()}/json/list")).json()
    return next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")


def _said(node: dict[str, Any], what: str) -> str:
    return str(node.get(what, {}).get("value", ""))
