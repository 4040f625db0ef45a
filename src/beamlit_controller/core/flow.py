"""What the gateways saw of a model's requests."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Flow:
    """What all gateways of a model saw of its requests from `since` to `until`.

    `in_flight` is how many local requests are in flight at the end, `most_in_flight` the highest number in the span.
    `served` counts the requests that local finished, `sent` those that went to the remote for whatever reason, and
    `overflowed` those of them that went because the cap was reached.
    """

    since: datetime
    until: datetime
    in_flight: int
    most_in_flight: int
    served: int
    sent: int
    overflowed: int
