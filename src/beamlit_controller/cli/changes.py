"""A change of the percentage in words, for `explain` and `history`."""

from beamlit_controller.api.models_view import ChangeView


def shares(change: ChangeView) -> str:
    """Return both percentages: `0 → at most 100 %`."""
    before, now = ("at most " if each else "" for each in (change.previous_at_most, change.at_most))
    return f"{before}{change.previous} → {now}{change.percentage} %"
