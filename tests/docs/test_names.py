"""Every file of the source and every function that a page names is there: the map of the code can't outlive the code."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from beamlit_controller.cli.main import COMMANDS
from docs import pages
from docs.pages import ROOT

SOURCE = ROOT / "src" / "beamlit_controller"
FILE = re.compile(r"`((?:[\w-]+/)+[\w.-]+\.py)`")
MODULE = re.compile(r"`(\w+\.py)`")
AFTER = re.compile(r"`((?:[\w-]+/)+\w+\.py)`: (`\w+`(?:,? (?:and )?`\w+`)*)")
BEFORE = re.compile(r"`(\w+)` in `((?:[\w-]+/)+\w+\.py)`")


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_are_there(page: Path) -> None:
    missing = [name for name in FILE.findall(text(page)) if found(name) is None]

    assert missing == []


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_that_a_page_names_without_their_folder_are_there(page: Path) -> None:
    """`handover.py` stood in a page after the module had got another name."""
    known = {path.name for path in SOURCE.rglob("*.py")}

    assert set(MODULE.findall(text(page))) - known == set()


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_functions_that_a_page_names_are_defined_in_their_file(page: Path) -> None:
    missing = [f"{file}: {name}" for file, name in names(text(page)) if name not in defined(file)]

    assert missing == []


def test_the_map_of_the_code_names_functions() -> None:
    # Else the two above would say nothing once its columns are written in another way.
    assert len(names(text(ROOT / "docs" / "architecture.md"))) > 50
    assert len(names(text(ROOT / "CONTRIBUTING.md"))) > 20


def text(page: Path) -> str:
    """Return a page's prose, in which lines are broken anywhere."""
    return re.sub(r"\n +|(?<!\|)\n(?![\n|])", " ", pages.prose(page))


def names(prose: str) -> list[tuple[str, str]]:
    """Return the functions, classes and constants that are named with their file."""
    after = [
        (file, name) for file, listed in AFTER.findall(prose) for name in re.findall(r"\w+", listed) if name != "and"
    ]
    return after + [(file, name) for name, file in BEFORE.findall(prose)]


def found(name: str) -> Path | None:
    """Return the file of this name in the package, or in the repository."""
    return next((path for path in (SOURCE / name, ROOT / name) if path.is_file()), None)


@cache
def defined(file: str) -> frozenset[str]:
    """Return what a file defines at any depth: functions, classes, constants, fields."""
    path = found(file)
    tree = ast.parse(path.read_text()) if path else ast.Module([], [])
    return frozenset(name for node in ast.walk(tree) for name in named_by(node))


def named_by(node: ast.AST) -> list[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case _:
            return []


def test_the_page_on_monitoring_has_every_metric_of_the_controller() -> None:
    exposing = [*(SOURCE / "telemetry").glob("*.py"), *(SOURCE / "wiring").glob("*_web.py")]
    exposed = {name for path in exposing for name in METRIC.findall(path.read_text())}
    page = pages.prose(ROOT / "docs" / "monitoring.md")
    tables = "\n".join(line.split(" | ")[0] for line in page.splitlines() if line.startswith("| "))

    listed = re.findall(r"beamlit_\w+", tables)

    assert sorted(name.removesuffix("_total") for name in listed) == sorted(
        name.removesuffix("_total") for name in exposed
    )
    assert len(listed) > 30


METRIC = re.compile(r'"(beamlit_(?!controller)[a-z_]+)"')


@pytest.mark.parametrize(
    "package", sorted(path.parent for path in SOURCE.glob("*/__init__.py")), ids=lambda path: path.name
)
def test_a_package_says_what_each_of_its_modules_does(package: Path) -> None:
    said = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    commands = modules & set(COMMANDS) if package.name == "cli" else set()

    assert modules - commands - set(re.findall(r"`(\w+)`", said)) == set()
