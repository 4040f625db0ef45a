"""When the samples of a series were scraped, asked in the same query as their values.

The response to an instant query has the time of its evaluation. `timestamp(series)` gives that of each sample, as values of
more series, which have a label of ours.
"""

import json
from collections.abc import Sequence

LABEL = "beamlit_sample_time"
_TIME = "true"


def query(values: str, selector: str) -> str:
    """Return a query for values, and for the times of the samples of a selector."""
    return f'{values} or label_replace(timestamp({selector}), "{LABEL}", "{_TIME}", "", "")'


def split(series: Sequence[object]) -> tuple[list[object], list[object | None]]:
    """Return the series with values, and for each the one with the time of its sample; None for a series that has ended."""
    values: list[tuple[str, object]] = []
    times: dict[str, object] = {}
    for each in series:
        match each:
            case {"metric": {} as labels} if labels.get(LABEL) == _TIME:
                times[_identity(labels)] = each
            case {"metric": {} as labels}:
                values.append((_identity(labels), each))
            case _:
                values.append(("", each))
    return [each for _, each in values], [times.get(identity) for identity, _ in values]


def _identity(labels: dict[str, object]) -> str:
    """Return what is equal for a series and the time of its sample, which has no name."""
    return json.dumps(sorted((name, value) for name, value in labels.items() if name not in {"__name__", LABEL}))
