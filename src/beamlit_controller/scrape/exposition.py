"""Finds one metric on a server's page, in the Prometheus text format or in OpenMetrics.

https://prometheus.io/docs/instrumenting/exposition_formats/ and https://prometheus.io/docs/specs/om/open_metrics_spec/

Only lines that may contain the metric are passed to the parser of prometheus-client. On vLLM's page (190 KB, 1,700
lines) a gauge with four series takes 0.1 ms; parsing the whole page takes 30 ms, or 47 ms as OpenMetrics.
"""

import re
import sys
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from fractions import Fraction
from functools import reduce
from itertools import islice
from math import ceil, inf, isnan, nan

from prometheus_client import Metric
from prometheus_client import parser as text_format
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.samples import Sample

from beamlit_controller.core.metric_spec import Aggregation, Selector, SeriesSelector
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.scrape.histogram import MOST_BUCKETS, BucketSeries


@dataclass(frozen=True, slots=True)
class Page:
    """A server's response."""

    body: bytes
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Total:
    """The aggregated value in thousandths, rounded away from zero.

    `age` is the age of the oldest sample, if the page has timestamps. `series` is how many were aggregated.
    """

    milli: int
    age: timedelta = timedelta(0)
    series: int = field(default=1, compare=False)


def first(
    page: Page,
    metrics: Iterable[SeriesSelector],
    *,
    at: datetime,
    stale_after: timedelta,
    aggregation: Aggregation = Aggregation.SUM,
) -> Total | Missing:
    """Aggregate the first of several alternative names that is on the page, because versions of a server differ."""
    missing = Missing(Reason.NO_SERIES, "expected a metric's name, got none")
    for number, metric in enumerate(metrics):
        found = total(page, metric, at=at, stale_after=stale_after, aggregation=aggregation)
        if isinstance(found, Total) or found.reason is not Reason.NO_SERIES:
            return found
        missing = missing if number else found
    return missing


def total(
    page: Page,
    metric: SeriesSelector,
    *,
    at: datetime,
    stale_after: timedelta,
    aggregation: Aggregation = Aggregation.SUM,
) -> Total | Missing:
    """Aggregate the series with exactly this name whose labels match the selector.

    A counter or a part of a histogram is named with its suffix: `requests_total`, `latency_seconds_count`.
    """
    selected = _selected(page, metric)
    if isinstance(selected, Missing):
        return selected
    return _repeated(selected) or _together(selected, aggregation, at=at, stale_after=stale_after)


def buckets(page: Page, metric: SeriesSelector) -> list[BucketSeries] | Missing:
    """Return the `_bucket` series of a histogram with this name."""
    selected = _selected(page, replace(metric, name=f"{metric.name}_bucket"))
    if isinstance(selected, Missing):
        return selected
    if repeated := _repeated(selected):
        return repeated
    found = [_bucket(each) for each in selected]
    broken = next((each for each in found if isinstance(each, Missing)), None)
    series = [each for each in found if isinstance(each, BucketSeries)]
    count = len({each.bound for each in series})
    if count > MOST_BUCKETS:
        return Missing(Reason.ANSWER_TOO_LARGE, f"expected at most {MOST_BUCKETS} buckets, got {count}")
    return broken or series


def _bucket(sample: Sample) -> BucketSeries | Missing:
    count = _number(sample.value)
    if isinstance(count, Missing):
        return count
    try:
        bound = float(sample.labels.get("le", ""))
    except ValueError:
        bound = nan
    if isnan(bound) or bound == -inf or count < 0:
        return Missing(Reason.MALFORMED_ANSWER, "expected buckets with a number as le, and a count")
    return BucketSeries(frozenset(sample.labels.items()), bound, Fraction(count))


def _selected(page: Page, metric: SeriesSelector) -> list[Sample] | Missing:
    """Return the samples with this name whose labels match, at least one."""
    if _is_foreign(page):
        return Missing(Reason.MALFORMED_ANSWER, f"expected metrics, got {shown(page.content_type)}: {_excerpt(page)}")
    samples = _samples(page, metric.name)
    if isinstance(samples, Missing):
        return samples
    selected = [sample for sample in samples if _is_selected(metric.selector, sample.labels)]
    if not selected:
        what = "with these labels" if samples else "of this name"
        return Missing(Reason.NO_SERIES, f"there is no series {what} on the page")
    return selected


def _is_selected(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Return whether a selector matches. As in Prometheus, an empty label is like an absent one."""
    present = {name: value for name, value in labels.items() if value}
    return all(present.get(name, "") == value for name, value in selector.match_labels) and all(
        requirement.matches(present) for requirement in selector.match_expressions
    )


def shown(text: str) -> str:
    """Return a server's text as one short line."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())[:_SHOWN]


def _excerpt(page: Page) -> str:
    return shown(page.body[:4096].decode(errors="replace"))


def _is_foreign(page: Page) -> bool:
    """Return whether a page is something other than metrics. The content type can't tell: OpenVINO's says application/json."""
    media_type = page.content_type.partition(";")[0].strip().lower()
    begins = page.body[:100].removeprefix(BOM_UTF8).lstrip()
    is_json = media_type == "application/json" and begins.startswith((b"{", b"[", b'"'))
    return is_json or media_type == "application/vnd.google.protobuf" or begins.startswith(_NO_TEXT)


def _samples(page: Page, name: str) -> list[Sample] | Missing:
    """Parse the samples with this name."""
    mentions = list(islice(_mentions(page.body, name), _MOST_MENTIONS + 1))
    lines = [line for line in mentions if _may_have(line.lstrip(), name)]
    if len(mentions) > _MOST_MENTIONS or len(lines) > _MOST_SERIES:
        return Missing(Reason.ANSWER_TOO_LARGE, f"expected at most {_MOST_SERIES} series of this name")
    if any(len(line) > _LONGEST_LINE for line in lines):
        return Missing(Reason.MALFORMED_ANSWER, f"expected lines of at most {_LONGEST_LINE} bytes")
    try:
        return [sample for family in _parsed(page, name, lines) for sample in family.samples if sample.name == name]
    except Exception as error:  # noqa: BLE001 # the parser reads what strangers wrote, and names no errors of its own
        return Missing(Reason.MALFORMED_ANSWER, f"a line with this name can't be read: {shown(str(error))}")


def _mentions(body: bytes, name: str) -> Iterator[bytes]:
    """Find the lines that contain the name anywhere, which is much faster than checking every line."""
    written = _written(name)
    position = body.find(written) if name else -1
    while position >= 0:
        end = body.find(b"\n", position)
        end = len(body) if end < 0 else end
        yield body[body.rfind(b"\n", 0, position) + 1 : end].removeprefix(BOM_UTF8)
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


def _repeated(samples: list[Sample]) -> Missing | None:
    if len({frozenset(sample.labels.items()) for sample in samples}) == len(samples):
        return None
    return Missing(Reason.MALFORMED_ANSWER, "one series stands on the page more than once")


def _together(
    samples: list[Sample], aggregation: Aggregation, *, at: datetime, stale_after: timedelta
) -> Total | Missing:
    values, oldest = [], 0.0
    for sample in samples:
        age, number = _age(sample, at), _number(sample.value)
        if isinstance(number, Missing):
            return number
        if not age <= stale_after.total_seconds():
            return _stale(age, stale_after)
        oldest = max(oldest, age)
        values.append(number)
    return Total(_milli(values, aggregation), timedelta(seconds=oldest), len(values))


def _stale(age: float, stale_after: timedelta) -> Missing:
    hint = "; the text format has timestamps in milliseconds" if age > _DECADES else ""
    message = f"expected a sample younger than {stale_after}, got one of {age:.0f} s ago{hint}"
    return Missing(Reason.STALE, message)


def _milli(values: list[Decimal], aggregation: Aggregation) -> int:
    value = _aggregate(values, aggregation)
    milli = ceil(abs(value) * 1000)
    return milli if value >= 0 else -milli


def _aggregate(values: list[Decimal], aggregation: Aggregation) -> Fraction:
    match aggregation:
        case Aggregation.SUM:
            return Fraction(reduce(_EXACT.add, values))
        case Aggregation.MEAN:
            return Fraction(reduce(_EXACT.add, values)) / len(values)
        case Aggregation.MAX:
            return Fraction(max(values))
        case Aggregation.MIN:
            return Fraction(min(values))


def _age(sample: Sample, at: datetime) -> float:
    """Return a sample's age in seconds: 0 without a timestamp, infinite if the timestamp is out of range."""
    try:
        return at.timestamp() - float(sample.timestamp) if sample.timestamp is not None else 0.0
    except OverflowError:
        return inf


def _number(value: float) -> Decimal | Missing:
    """Return the decimal number as written, not the nearest binary fraction."""
    if value != value:  # noqa: PLR0124 # NaN alone differs from itself; an int of a thousand digits has no isnan
        return Missing(Reason.NOT_A_NUMBER, "the value is NaN")
    if abs(value) > sys.float_info.max:  # integers are parsed to int, of any size
        return Missing(Reason.INFINITE, "the value is infinite, or larger than a float64 can be")
    return Decimal(repr(value))


# A sample up to the exemplar: name, labels (whose values may contain anything), value and timestamp. It never backtracks.
_BEFORE_EXEMPLAR = re.compile(
    rb'[^{"\s]*+\s*+(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*+")*+\})?+\s*+[^\s#]++(?:\s++[^\s#]++)?+(?=\s++# \{)'
)
_DECADES = 20 * 365 * 86400
_NO_TEXT = (b"<", b"\x1f\x8b", b"\xff\xfe", b"\xfe\xff")
"""The first bytes of HTML, gzip and UTF-16."""
_SHOWN = 200

# The parser takes quadratic time in a line's length, and no model server has thousands of series of one name.
_LONGEST_LINE = 16 * 1024
_MOST_SERIES = 5_000
_MOST_MENTIONS = 50_000

# Sums of float64 numbers are exact in 1,500 digits.
_EXACT = Context(prec=1500, traps=[Inexact, InvalidOperation, Overflow])
