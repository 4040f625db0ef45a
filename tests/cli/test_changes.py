"""Changes of the percentage in words."""

import pytest

from beamlit_controller.api.models_view import ChangeView
from beamlit_controller.cli import changes
from builders import NOW


@pytest.mark.parametrize(
    ("limits", "text"),
    [((False, False), "0 → 100 %"), ((False, True), "0 → at most 100 %"), ((True, False), "at most 0 → 100 %")],
)
def test_a_change_in_words_tells_which_percentages_are_limits(limits: tuple[bool, bool], text: str) -> None:
    before, after = limits
    change = ChangeView(
        at=NOW, previous=0, percentage=100, reason="", message="", previous_at_most=before, at_most=after
    )

    assert changes.shares(change) == text
