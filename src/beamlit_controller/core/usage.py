"""Usage of a remote: answered requests and tokens, as counted by its gateways, and their cost."""

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from decimal import Decimal

from beamlit_controller.core.price import Price

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Usage:
    """Requests, the tokens that their responses reported, and the number of requests of which none could be read."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    unread: int = 0

    @property
    def tokens(self) -> int:
        """Return the sum of input and output tokens."""
        return self.input_tokens + self.output_tokens


NOTHING = Usage()
Usages = Mapping[str, Usage]
"""The usage of each remote, by its name."""


def plus(one: Usage, other: Usage) -> Usage:
    """Return the sum of two."""
    return Usage(*(mine + others for mine, others in zip(astuple(one), astuple(other), strict=True)))


def total(several: Iterable[Usage]) -> Usage:
    """Return the sum of several."""
    summed = NOTHING
    for each in several:
        summed = plus(summed, each)
    return summed


def fresh(before: Usage, after: Usage) -> Usage:
    """Return the difference to earlier counts; the new counts if any of them decreased, because then the gateway restarted."""
    pairs = tuple(zip(astuple(before), astuple(after), strict=True))
    if any(now < then for then, now in pairs):
        return after
    return Usage(*(now - then for then, now in pairs))


def assumed(new: Usage, known: Usage) -> Usage:
    """Return the tokens to assume for the unread requests: each takes the mean of those that were read, rounded up; 0 if none was."""
    read = known.requests - known.unread
    if read <= 0:
        return NOTHING
    tokens = (-(-each * new.unread // read) for each in (known.input_tokens, known.output_tokens))
    return Usage(0, *tokens)


def cost(used: Usage, price: Price) -> Decimal:
    """Return the exact cost."""
    tokens = used.input_tokens * price.input_per_million + used.output_tokens * price.output_per_million
    return tokens / MILLION + used.requests * price.per_request
