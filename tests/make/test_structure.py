"""The structure of the source: names that stand once, modules and functions of a size that is read at once."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src/beamlit_controller"
GENERATED = {"rtds_pb2.py"}
LONGEST_MODULE = 300
LONGEST_OF_NINE_IN_TEN = 20
STILL_TOO_LONG: frozenset[str] = frozenset()
STILL_TWICE: frozenset[str] = frozenset()


def modules() -> Iterator[tuple[str, str]]:
    for path in sorted(SOURCE.rglob("*.py")):
        if path.name not in GENERATED:
            yield str(path.relative_to(SOURCE)), path.read_text()


def test_no_class_name_stands_in_two_modules() -> None:
    defined = [
        (name, node.name)
        for name, text in modules()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
    ]

    counted = Counter(name for _, name in set(defined))

    assert {name for name, count in counted.items() if count > 1} == STILL_TWICE


def test_no_module_is_longer_than_is_read_at_once() -> None:
    lengths = {name: len(text.splitlines()) for name, text in modules()}

    assert {name for name, length in lengths.items() if length > LONGEST_MODULE} == STILL_TOO_LONG


def test_nine_functions_in_ten_fit_on_a_third_of_a_screen() -> None:
    functions = [
        node
        for _, text in modules()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    lengths = sorted(_lines(each) for each in functions)

    assert lengths[len(lengths) * 9 // 10] <= LONGEST_OF_NINE_IN_TEN


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines without the docstring."""
    said = len((ast.get_docstring(function, clean=False) or "").splitlines())
    return (function.end_lineno or 0) - function.lineno + 1 - said
