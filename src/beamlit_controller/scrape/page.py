"""A server's page, and the samples of one name on it. The work for each page and each round is bounded.

Only lines that may contain the name are passed to the parser of prometheus-client. On vLLM's page (190 KB, 1,700
lines) a gauge with four series takes 0.1 ms; parsing the whole page takes 30 ms, or 47 ms as OpenMetrics.
"""

import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from prometheus_client import Metric
from prometheus_client import parser as text_format
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.samples import Sample

from beamlit_controller.api import redaction
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing


@dataclass(frozen=True, slots=True)
class Page:
    """A server's response; `hide` are secrets that must not appear in messages about it."""

    body: bytes
    content_type: str = ""
    hide: tuple[str, ...] = ()


@dataclass(slots=True)
class ParsingBudget:
    """How many bytes of series the pages of one model may still have in a round. Parsing them takes up to 1 µs per byte."""

    left: int
    since: int = 0
    """The number of bytes parsed since the last step ended."""

    def spend(self, size: int) -> bool:
        """Return whether this many bytes may be parsed."""
        self.left -= size
        self.since += size
        return self.left >= 0

    def ends_step(self) -> bool:
        """Return whether enough was parsed for other tasks to have their turn; if so, the next step begins."""
        ends = self.since >= _STEP
        self.since = 0 if ends else self.since
        return ends


def samples(page: Page, name: str, budget: ParsingBudget | None = None) -> list[Sample] | Missing:
    """Parse the samples with this name."""
    if _is_foreign(page):
        media_type, excerpt = shown(page.content_type, hide=page.hide), _excerpt(page)
        return Missing(Reason.MALFORMED_ANSWER, f"expected metrics, got {media_type}: {excerpt}")
    lines = _lines(page, name, budget or ParsingBudget(_MOST_PARSED + len(page.body)))
    if isinstance(lines, Missing):
        return lines
    found = _samples(page, name, lines)
    return _unreadable(page, name, lines) if found is None else found


def _samples(page: Page, name: str, lines: list[bytes]) -> list[Sample] | None:
    """Parse lines; None if one of them can't be read."""
    try:
        return [sample for family in _parsed(page, name, lines) for sample in family.samples if sample.name == name]
    except Exception:  # noqa: BLE001 # the parser reads what strangers wrote, and names no errors of its own
        return None


def _unreadable(page: Page, name: str, lines: list[bytes]) -> Missing:
    """Show the line that can't be read, if it is among the first: the parser's errors are those of Python."""
    line = next((line for line in lines[:_LINES_TRIED] if _samples(page, name, [line]) is None), None)
    which = "" if line is None else f": {shown(line[:_LONGEST_LINE].decode(errors='replace'), hide=page.hide)}"
    return Missing(Reason.MALFORMED_ANSWER, f"a line with this name can't be read{which}")


def _lines(page: Page, name: str, budget: ParsingBudget) -> list[bytes] | Missing:
    """Return the lines that may have the name."""
    if not budget.spend(len(page.body) // _SCANNED_PER_PARSED):
        return _EXHAUSTED
    mentions = list(islice(_mentions(page.body, name), _MOST_MENTIONS + 1))
    lines = [line for line in mentions if _may_have(line.lstrip(), name)]
    if len(mentions) > _MOST_MENTIONS or len(lines) > _MOST_SERIES:
        most = f"{_MOST_SERIES} series of this name, and {_MOST_MENTIONS} lines that mention it"
        return Missing(Reason.ANSWER_TOO_LARGE, f"expected at most {most}")
    if any(len(line) > _LONGEST_LINE for line in lines):
        return Missing(Reason.MALFORMED_ANSWER, f"expected lines of at most {_LONGEST_LINE} bytes")
    size = sum(map(len, lines))
    if size > _MOST_PARSED:
        return Missing(
            Reason.ANSWER_TOO_LARGE, f"expected at most {_MOST_PARSED} bytes of series of this name, got {size}"
        )
    return lines if budget.spend(size) else _EXHAUSTED


def _mentions(body: bytes, name: str) -> Iterator[bytes]:
    """Find the lines that contain the name anywhere, which is much faster than checking every line."""
    written = _written(name)
    position = body.find(written) if name else -1
    while position >= 0:
        end = body.find(b"\n", position)
        end = len(body) if end < 0 else end
        yield body[body.rfind(b"\n", 0, position) + 1 : end].removeprefix(BOM_UTF8).removesuffix(b"\r")
        position = body.find(written, end)


def _may_have(line: bytes, name: str) -> bool:
    """Return whether a line starts with the name, or with the brace before the quoted name."""
    written = _written(name)
    return line.startswith(b"{") or (line.startswith(written) and line[len(written) :][:1] in b" \t{")


def _written(name: str) -> bytes:
    """Return a name as it is written on pages: quoted if it has characters other than `a-zA-Z0-9_:`."""
    return name.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"').encode(errors="replace")


def _parsed(page: Page, name: str, lines: list[bytes]) -> Iterator[Metric]:
    """Parse lines without their type metadata: with it, the parser would rename counters and expect whole families."""
    if page.content_type.partition(";")[0].strip().lower() != "application/openmetrics-text":
        yield from text_format.text_string_to_metric_families(b"\n".join(map(_without_exemplar, lines)).decode())
        return
    if any(b" # " in line for line in lines):
        lines = [*_type_with_exemplars(name), *lines]
    written = b"\n".join([*lines, b"# EOF\n"]).decode()
    yield from openmetrics.text_string_to_metric_families(written)  # type: ignore[no-untyped-call] # it has no annotations


def _without_exemplar(line: bytes) -> bytes:
    """Remove an exemplar. Only OpenMetrics allows them, but some servers send them as text/plain, too."""
    if b" # {" not in line:
        return line
    sample = _BEFORE_EXEMPLAR.match(line)
    return sample.group() if sample else line


def _type_with_exemplars(name: str) -> list[bytes]:
    """Return a type for which OpenMetrics allows exemplars."""
    for suffix, kind in (("_total", "counter"), ("_bucket", "histogram")):
        if name.endswith(suffix):
            return [f"# TYPE {name.removesuffix(suffix)} {kind}".encode()]
    return []


def shown(text: str, *, hide: Iterable[str] = ()) -> str:
    """Return a server's text as one short line, with our secrets removed."""
    text = redaction.hidden(text, hide)
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())[:_SHOWN]


def _excerpt(page: Page) -> str:
    return shown(page.body[:4096].decode(errors="replace"), hide=page.hide)


def _is_foreign(page: Page) -> bool:
    """Return whether a page is something other than metrics. The content type can't tell: OpenVINO's says application/json."""
    media_type = page.content_type.partition(";")[0].strip().lower()
    begins = page.body[:100].removeprefix(BOM_UTF8).lstrip()
    is_json = media_type == "application/json" and begins.startswith((b"{", b"[", b'"'))
    return is_json or media_type == "application/vnd.google.protobuf" or begins.startswith(_NO_TEXT)


# A sample up to the exemplar: name, labels (whose values may contain anything), value and timestamp. It never backtracks.
_BEFORE_EXEMPLAR = re.compile(
    rb'[^{"\s]*+\s*+(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*+")*+\})?+\s*+[^\s#]++(?:\s++[^\s#]++)?+(?=\s++# \{)'
)
_NO_TEXT = (b"<", b"\x1f\x8b", b"\xff\xfe", b"\xfe\xff")
"""The first bytes of HTML, gzip and UTF-16."""
_SHOWN = 200

# Per name and page. No model server has thousands of series of one name.
_LONGEST_LINE = 8 * 1024
_MOST_SERIES = 5_000
_MOST_MENTIONS = 10_000
_MOST_PARSED = 256 * 1024
_LINES_TRIED = 100

_STEP = 64 * 1024
_SCANNED_PER_PARSED = 256
"""How many bytes are scanned for a name in the time in which one is parsed."""
_EXHAUSTED = Missing(
    Reason.ANSWER_TOO_LARGE,
    "the pages of the model's servers have too many bytes of series in this round: read fewer metrics, or ones with fewer series",
)
