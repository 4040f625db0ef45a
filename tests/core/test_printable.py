"""Text from elsewhere, made fit to show."""

import unicodedata

import pytest

from beamlit_controller.core import printable


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "\x9b", "a\nb", "\u202eabc", "a\u2066", "\u200b", "\ufeff", "\U000e0041", "\u2028"]
)
def test_nothing_that_steers_or_hides_text_is_left(text: str) -> None:
    shown = printable.line(text)

    assert all(unicodedata.category(character) not in {"Cc", "Cf", "Zl", "Zp"} for character in shown)


def test_what_can_be_seen_stays_as_it_is() -> None:
    assert printable.line("caf\xe9 模型 \N{ROCKET} a\\b") == "caf\xe9 模型 \N{ROCKET} a\\b"
