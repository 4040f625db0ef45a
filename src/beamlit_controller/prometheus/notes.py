"""What a server notes beside a result: whether the result is whole, in each product's own way of saying so.

Since 2.53 Prometheus keeps notes of level info in `infos`. Before that, and in Thanos to this day, they stand in `warnings`.
VictoriaMetrics has `isPartial` instead of a warning. Thanos, Mimir, Cortex (and so Amazon's service), M3 and Google's
service put a sentence into `warnings` when a part of the data could not be read.
"""

import re
from collections.abc import Iterator, Mapping


def incomplete(document: object) -> str | None:
    """Say why a result may not be whole or not be right; None for one that is."""
    if not isinstance(document, Mapping):
        return None
    said = "; ".join(_warnings(document))
    return f"the result may not be whole: {said}" if said else None


def _warnings(document: Mapping[object, object]) -> Iterator[str]:
    if document.get("isPartial") not in (None, False):
        yield "isPartial: a part of the storage did not answer"
    given = document.get("warnings")
    for each in given if isinstance(given, list) else [given] if given else []:
        if not (isinstance(each, str) and _INFO.match(each)):
            yield str(each)


# The second is written when there are more notes than an answer has room for, by level.
_INFO = re.compile(r"\s*(PromQL info: |[0-9]+ more info annotations omitted)")
