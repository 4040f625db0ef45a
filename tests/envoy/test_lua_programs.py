"""The programs in Envoy: what a client or a server writes can't make one of them take long."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

import builders
import lua_patterns
from beamlit_controller.api.addresses import Address
from beamlit_controller.api.settings import SharedListener, SharedRoute
from beamlit_controller.core.price import UsageMode
from beamlit_controller.core.spec import (
    ApiKey,
    AwsSignature,
    GoogleToken,
    ModelKey,
    OAuth,
    OffloadSpec,
    RemoteBackend,
    Scheme,
    SecretKey,
)
from beamlit_controller.core.stickiness import CookieStickiness
from beamlit_controller.envoy import config, shared_listener
from beamlit_controller.envoy.gateway_params import GatewayParams

KEY = SecretKey("name", "key")
NAMES = (("llama", "gpt"),)
PARAMS = GatewayParams(
    node="a/b", directory="/x", front="127.0.0.1:1", stats="127.0.0.1:2", admin="unix:a", shares="unix:b"
)
CALL = re.compile(
    r"""(?:string\.)?\b(find|match|gmatch|gsub)\(([^\n]*?),\s*("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')(?!\s*\.\.)(,[^\n]*?true\))?"""
)
# These look only at texts of at most 64 bytes.
BOUNDED = ("short(text)", "rest")
SAMPLES = " \ta1Z%=&;,.:/[]{}\"'\\\n\r_-hms!\x01"


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function that takes a pattern."""

    function: str
    subject: str
    pattern: str


def specs() -> Iterator[OffloadSpec]:
    remote = RemoteBackend(scheme=Scheme.HTTPS, host="api.example.com", port=443)
    for auth in (ApiKey(KEY), AwsSignature(KEY, "r", "s"), GoogleToken(), OAuth("c", KEY, "https://t.example.com/")):
        for usage in (UsageMode.ASK, UsageMode.READ):
            own = {"auth": auth, "usage": usage, "model_names": NAMES}
            yield builders.spec(remote=replace(remote, **own), stickiness=CookieStickiness("session"))


def programs() -> set[str]:
    """Return the text of every program of every kind of gateway."""
    route = SharedRoute(ModelKey("a", "b"), model="llama")
    shared = SharedListener(Address("127.0.0.1", 1), (route,))
    files = [
        *(config.files(spec, PARAMS) for spec in specs()),
        shared_listener.files(ModelKey("a", "b"), shared, PARAMS, gateways={ModelKey("a", "b"): "127.0.0.1:3"}),
    ]
    return {
        program
        for each in files
        for name, text in each.items()
        if name.endswith(".json")
        for program in _inline(json.loads(text))
    }


def _inline(value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        if isinstance(program := value.get("inline_string"), str) and "function " in program:
            yield program
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _inline(each)


def calls() -> set[Call]:
    found = {match.groups() for program in programs() for match in CALL.finditer(program)}
    return {
        Call(function, subject, _meant(literal))
        for function, subject, literal, plain in found
        if not plain and subject not in BOUNDED
    }


def _meant(literal: str) -> str:
    numbers = re.sub(r"\\(\d{1,3})", lambda found: chr(int(found[1])), literal[1:-1])
    named = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
    return re.sub(r"\\(.)", lambda found: named.get(found[1], found[1]), numbers)


def hostile_to(pattern: str) -> Iterator[Callable[[int], str]]:
    """Yield texts of any length: runs of each character, alone, between others, and behind what the pattern begins with."""
    prefix = re.split(r"[\[(%.*+?-]", pattern.lstrip("^"), maxsplit=1)[0]
    for sample in SAMPLES:
        yield lambda size, char=sample: char * size  # type: ignore[misc]
        yield lambda size, char=sample: f"a{char * size}a"  # type: ignore[misc]
        yield lambda size, char=sample: f"{char}a" * size  # type: ignore[misc]
        yield lambda size, char=sample: f"{prefix}{char * size}\x01"  # type: ignore[misc]
        yield lambda size, char=sample: f"{prefix}{char}" * (size // 10)  # type: ignore[misc]
        yield lambda size, char=sample: f"[{char * size} {' ' * size}\x01"  # type: ignore[misc]


def test_no_pattern_takes_more_than_linear_time() -> None:
    """A header of 58,000 blanks froze a worker for 8 s, because `^%s*(.-)%s*$` tries the end from each of them."""
    slow = {
        call.pattern
        for call in calls()
        if not all(
            lua_patterns.is_linear(call.pattern, text, everywhere=call.function in {"gmatch", "gsub"})
            for text in hostile_to(call.pattern)
        )
    }

    assert slow == set()


def test_all_programs_are_looked_at() -> None:
    found = {call.pattern for call in calls()}

    assert {"^%s*{", "[^;]+", "%s+", "[^&]+", "^[^?]*"} <= found
    assert len(found) >= 30


@pytest.mark.parametrize("pattern", ["^%s*(.-)%s*$", "%s*$", "(%d+)x"])
def test_patterns_that_take_longer_are_recognized(pattern: str) -> None:
    texts = list(hostile_to(pattern))

    assert not all(lua_patterns.is_linear(pattern, text, everywhere=False) for text in texts)
