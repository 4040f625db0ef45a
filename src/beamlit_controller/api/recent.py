"""Tells how a model's requests are answered now: since that last changed, at most in the last minute."""

from typing import Final

from beamlit_controller.api.models_view import LatestView, ModelView

ALMOST_ALL: Final = 0.995
"""Fraction of requests that is reported as all of them."""
SOME: Final = 0.05
FEW: Final = 3
"""Fraction and number of requests without an answer from which they are reported as a problem."""


def requests(model: ModelView) -> LatestView | None:
    """Return the requests that tell what is true now; None if nothing is known."""
    seen = model.traffic
    if seen is None:
        return None
    if seen.latest is not None:
        return seen.latest
    return LatestView(
        seconds=seen.seconds,
        local_per_second=seen.local_per_second,
        remote_per_second=seen.remote_per_second,
        sent=seen.sent,
        left=seen.left,
        unanswered=seen.unanswered,
        text=seen.text,
    )


def period(model: ModelView) -> str:
    """Return the time that they cover: `the last minute`, `the last 12 s`."""
    changed = model.traffic.latest if model.traffic else None
    return f"the last {changed.seconds:.0f} s" if changed else "the last minute"


def sent(model: ModelView) -> float:
    """Return the fraction of the requests that the remote answers; 0 if unknown."""
    seen = requests(model)
    return seen.sent if seen else 0.0


def unanswered(model: ModelView) -> float:
    """Return the fraction of the requests that nobody answers; 0 if unknown."""
    seen = requests(model)
    return seen.unanswered if seen else 0.0


def some_unanswered(model: ModelView) -> bool:
    """Return whether so many requests get no answer that it is no accident: a twentieth of them, and at least three."""
    seen = requests(model)
    if seen is None or seen.unanswered < SOME:
        return False
    answered = (seen.local_per_second + seen.remote_per_second) * seen.seconds
    return seen.unanswered >= ALMOST_ALL or answered * seen.unanswered / (1 - seen.unanswered) >= FEW - 0.5


def local_fails(model: ModelView) -> bool:
    """Return whether local answers none of the requests that were not sent to the remote by percentage or by clients."""
    seen = requests(model)
    if seen is None:
        return False
    failed, intended = seen.left.unavailable + seen.unanswered, 1 - seen.left.share - seen.left.forced
    return failed > 1 - ALMOST_ALL and failed >= ALMOST_ALL * intended
