"""What objects still hold of something that is gone: a walk over all that can be reached from them."""

import gc
from collections import deque
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Final

ENDS: Final = (ModuleType, FunctionType, BuiltinFunctionType, type)
"""What leads to the whole program."""


def mentions(roots: dict[str, object], text: str, *, without: tuple[object, ...] = ()) -> list[str]:
    """Return where a text is part of a string that can be reached from the roots, by the types on the way; `without` is not entered."""
    seen: dict[int, Any] = {id(each): each for each in without}
    found: list[str] = []
    ahead: deque[tuple[object, str]] = deque((each, name) for name, each in roots.items())
    while ahead:
        each, way = ahead.popleft()
        if id(each) in seen or isinstance(each, ENDS):
            continue
        seen[id(each)] = each
        if isinstance(each, str):
            found += [f"{way}: {each[:60]}"] if text in each else []
        else:
            ahead.extend((inner, f"{way} > {type(inner).__name__}") for inner in gc.get_referents(each))
    return found
