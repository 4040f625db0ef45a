"""The requests of a model in a time span, as counted by its gateways."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Flow:
    """The requests of a model from `since` to `until`, summed over its gateways.

    `in_flight` is the number of local requests in flight at the end, `most_in_flight` the highest number in the span.
    `served` counts requests finished locally, and `sent` those that were not: the remote answered them, for any reason, or
    nobody did, which is demand as well. `overflowed` are those that the remote answered because they were above the cap.
    `first_bytes` are those of local response bodies, and `first_byte_ms` is the sum of the times to them, in milliseconds.
    """

    since: datetime
    until: datetime
    in_flight: int
    most_in_flight: int
    served: int
    sent: int
    overflowed: int
    first_bytes: int = 0
    first_byte_ms: int = 0
