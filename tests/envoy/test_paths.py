"""Which paths servers parse differently, by the expression itself; with a real Envoy: `tests/system/test_gateway_keep.py`."""

import re
import sys
import unicodedata
from urllib.parse import quote

import pytest

from beamlit_controller.envoy import paths

# Blanks, control and format characters; format characters that are written, such as Arabic signs, are left out.
INVISIBLE = [
    char
    for char in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(char) in {"Zs", "Zl", "Zp", "Cc"}
    or (unicodedata.category(char) == "Cf" and unicodedata.bidirectional(char) not in {"AN", "AL", "L"})
]


def is_ambiguous(path: str) -> bool:
    return re.fullmatch(paths.AMBIGUOUS, path, re.IGNORECASE) is not None


def test_a_segment_that_begins_or_ends_with_anything_invisible_is_ambiguous() -> None:
    plain = {
        char
        for char in INVISIBLE
        for path in ("/{}metrics", "/metrics{}", "/v1/{}files/a", "/v1{}/files")
        if not is_ambiguous(path.format(quote(char)))
    }

    assert {f"U+{ord(char):04X}" for char in plain} == set()
    assert len(INVISIBLE) > 80


@pytest.mark.parametrize(
    "path", ["/a%20b", "/日本", "/naïve/é", "/a/%e2%80%98b%e2%80%99", "/a%c2%b5/b", "/%e2%82%ac", "/a.b/c"]
)
def test_other_characters_are_not(path: str) -> None:
    assert not is_ambiguous(quote(path, safe="/%"))
