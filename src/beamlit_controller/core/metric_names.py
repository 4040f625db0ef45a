"""The names by which the state of each metric is recorded in Adaptive mode.

A name is cut, and the same series may be read twice with different selectors. Metrics whose names are equal are told apart
by a digest of what they read: `queue #1f0c9a2b`.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import fields

from beamlit_controller.core import printable, wording
from beamlit_controller.core.metric_spec import MetricSpec

LONGEST = 60
"""Maximum length of a name, such as a query, without its digest."""
DIGITS = 8
_NOT_READ = frozenset({"target", "first_byte"})
_DIGEST = re.compile(rf" #[0-9a-f]{{{DIGITS}}}$")


def of(metrics: Sequence[MetricSpec], recorded: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the name of each metric. One that is recorded with a digest keeps it when no other metric has its name any more."""
    plain = [_plain(each) for each in metrics]
    distinct = [f"{name} #{_digest(each)}" for name, each in zip(plain, metrics, strict=True)]
    return tuple(
        long if plain.count(name) > 1 or long in recorded else name for name, long in zip(plain, distinct, strict=True)
    )


def upgraded(recorded: Sequence[str], metrics: Sequence[MetricSpec]) -> tuple[str, ...]:
    """Return the recorded names with digests. Earlier versions recorded none: then the metrics are in the same order."""
    return of(metrics) if [*recorded] == [_plain(each) for each in metrics] else tuple(recorded)


def shown(name: str) -> str:
    """Return a recorded name for people, without its digest."""
    return _DIGEST.sub("", name)


def _plain(metric: MetricSpec) -> str:
    return printable.short(wording.name(metric), LONGEST)


def _digest(metric: MetricSpec) -> str:
    """Return a digest of what a metric reads. Its target is left out: what was learned is kept when only that is edited."""
    reads = [(each.name, getattr(metric, each.name)) for each in fields(metric) if each.name not in _NOT_READ]
    return hashlib.sha256(repr(reads).encode()).hexdigest()[:DIGITS]
