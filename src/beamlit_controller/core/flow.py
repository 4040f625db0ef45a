"""The requests of a model in a time span, as counted by its gateways."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Flow:
    """The requests of a model from `since` to `until`, summed over its gateways.

    `in_flight` is the number of local requests in flight at the end, `most_in_flight` the highest number in the span.
    `served` counts requests finished locally, `sent` those that went to the remote for any reason, and `overflowed`
    those of them that were above the cap.
    """

    since: datetime
    until: datetime
    in_flight: int
    most_in_flight: int
    served: int
    sent: int
    overflowed: int
