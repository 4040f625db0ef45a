"""The pictures of the page and of `top` in the documentation: `make pictures` draws them again from tools/scene.py.

It takes Debian's package `chromium`. The pictures of the demo, of `simulate` and of `make bench` are drawn by those.
"""

import asyncio
import base64
import io
import tempfile
from pathlib import Path

from PIL import Image
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.terminal_theme import MONOKAI

from beamlit_controller.cli import top_table
from beamlit_controller.telemetry import models, web
from beamlit_controller.telemetry.exposition import Exposition
from beamlit_controller.telemetry.liveness import Check
from beamlit_controller.telemetry.page import PageAccess
from beamlit_controller.telemetry.web import WebEndpoints
from fakes.browser import Page, browser
from tools.scene import World

DOCS = Path(__file__).parent.parent / "docs"
WIDTH, COLUMNS, LINES = 1100, 110, 24
COLOURS = 128
WELL = Check(ok=True, text="all is well")
CHOSEN = "models%2Fchat"
FRAME = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="beamlit-controller top">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, monospace; font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs>{lines}</defs>
<rect width="{width}" height="{height}" rx="8" fill="#1b1f24" />
<g transform="translate({terminal_x}, 24)"><g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def main() -> None:
    """Draw all of them."""
    world = World().play()
    (DOCS / "top.svg").write_text(_top(world), encoding="utf-8")
    (DOCS / "page.png").write_bytes(_small(asyncio.run(_page(world))))


def _top(world: World) -> str:
    console = Console(width=COLUMNS, file=io.StringIO(), record=True, force_terminal=True, color_system="truecolor")
    console.print(top_table.show(models.view(world.models.snapshot()), COLUMNS, LINES))
    drawn = console.export_svg(theme=MONOKAI, code_format=FRAME, unique_id="top")
    return "\n".join(line.rstrip() for line in drawn.splitlines()) + "\n"


async def _page(world: World) -> bytes:
    site = WebEndpoints(lambda: WELL, lambda: WELL, Exposition(CollectorRegistry()), world.models, PageAccess())
    listener = web.bind("127.0.0.1:0")
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/#{CHOSEN}"
    serving = asyncio.create_task(web.run(site, listener))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        async with browser(Path(folder)) as tab:
            await tab.resize(WIDTH)
            await tab.open(address)
            while await tab.evaluate("document.querySelectorAll('figure').length") < 2:  # noqa: ASYNC110, PLR2004 - both lines
                await asyncio.sleep(0.1)
            shown = await _picture(tab)
    serving.cancel()
    return shown


async def _picture(tab: Page) -> bytes:
    height = await tab.evaluate("document.documentElement.scrollHeight")
    area = {"x": 0, "y": 0, "width": WIDTH, "height": height, "scale": 1}
    taken = await tab.send("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=area)
    return base64.b64decode(taken["data"])


def _small(picture: bytes) -> bytes:
    """Reduce the colours: a page has few."""
    written = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS).save(written, "PNG", optimize=True)
    return written.getvalue()


if __name__ == "__main__":
    main()
