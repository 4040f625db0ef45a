"""Annotations of a result (warnings, infos, isPartial): whether it may be incomplete, for each product.

Since 2.53, Prometheus lists annotations of level info in `infos`. Older versions, and Thanos, list them in `warnings`.
VictoriaMetrics has `isPartial` instead of a warning. Thanos, Mimir, Cortex (and so Amazon's service), M3 and Google's
service add a sentence to `warnings` when a part of the data could not be read.
"""

import re
from collections.abc import Iterator, Mapping


def incomplete(document: object) -> str | None:
    """Return the reason why a result may be incomplete or wrong; None if it is complete."""
    if not isinstance(document, Mapping):
        return None
    said = "; ".join(_warnings(document))
    return f"the result may be incomplete: {said}" if said else None


def _warnings(document: Mapping[object, object]) -> Iterator[str]:
    if document.get("isPartial") not in (None, False):
        yield "isPartial: a part of the storage did not answer"
    given = document.get("warnings")
    for each in given if isinstance(given, list) else [given] if given else []:
        if not (isinstance(each, str) and _INFO.match(each)):
            yield str(each)


# The second one is written if there are more annotations of a level than a response has room for.
_INFO = re.compile(r"\s*(PromQL info: |[0-9]+ more info annotations omitted)")
