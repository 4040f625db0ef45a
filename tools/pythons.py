"""The versions of Python that pyproject.toml names: where they are on this machine, and an environment for each."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
UV = str(Path(sys.executable).parent / "uv")
"""An environment takes it a few seconds, where pip takes a minute; it is one of the pinned tools."""

Command = tuple[str, ...]


def supported(text: str) -> tuple[str, ...]:
    """Return the versions that the classifiers of a pyproject.toml name."""
    return tuple(re.findall(r'"Programming Language :: Python :: (\d+\.\d+)"', text))


def find(version: str) -> Path | None:
    """Return an interpreter of a version: the one on PATH, or one of pyenv's."""
    return next(filter(_works, _candidates(version)), None)


def environment(version: str) -> Path:
    """Return the interpreter of the environment for a version, which `made` makes."""
    return ROOT / f".venv-{version}" / "bin" / "python"


def made(version: str, interpreter: Path) -> Iterator[Command]:
    """Yield the commands that make the environment; none if it is there and up to date."""
    python, folder = str(environment(version)), environment(version).parents[1]
    done = folder / ".installed"
    if _is_newer(done, than=(ROOT / "requirements" / "dev.txt", ROOT / "pyproject.toml")):
        return
    install = (UV, "pip", "install", "--quiet", "--no-deps", f"--python={python}")
    yield UV, "venv", "--quiet", "--clear", f"--python={interpreter}", str(folder)
    yield *install, "--require-hashes", "--requirements=requirements/dev.txt"
    yield *install, "--no-build-isolation", "--editable=."
    yield "touch", str(done)


def _candidates(version: str) -> Iterator[Path]:
    if named := shutil.which(f"python{version}"):
        yield Path(named)
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(root.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)


def _works(interpreter: Path) -> bool:
    """Return whether it runs: pyenv puts commands on PATH that only name the versions it has."""
    return subprocess.run([interpreter, "-c", "import ensurepip"], capture_output=True, check=False).returncode == 0  # noqa: S603 - found on this machine


def _is_newer(path: Path, *, than: Iterable[Path]) -> bool:
    return path.exists() and all(path.stat().st_mtime >= each.stat().st_mtime for each in than)
