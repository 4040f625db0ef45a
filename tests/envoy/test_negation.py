"""Expressions of what does not begin or end with certain words, compared with Python's own functions."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.envoy import negation

LETTERS = "abcd-"
TEXTS = st.text(alphabet=LETTERS, max_size=6)
WORDS = st.lists(st.text(alphabet=LETTERS, min_size=1, max_size=3), min_size=1, max_size=4, unique=True)


@given(WORDS, TEXTS)
def test_matches_what_does_not_end_with_a_word(words: list[str], text: str) -> None:
    assert (re.fullmatch(negation.not_ending(words), text) is None) == text.endswith(tuple(words))


@given(WORDS, TEXTS)
def test_matches_what_does_not_begin_with_a_word(words: list[str], text: str) -> None:
    assert (re.fullmatch(negation.not_beginning(words), text) is None) == text.startswith(tuple(words))


@given(WORDS, st.text(alphabet="abcdefgh", max_size=6))
def test_of_certain_letters_it_matches_no_other_texts(words: list[str], text: str) -> None:
    words = [re.sub("-", "a", word) for word in words]
    matched = re.fullmatch(negation.not_beginning(words, letters="abcdef"), text) is not None

    assert matched == (not text.startswith(tuple(words)) and set(text) <= set("abcdef"))


@pytest.mark.parametrize("text", ["", "a", "predic", "unload"])
def test_shorter_and_other_words_are_matched(text: str) -> None:
    assert re.fullmatch(negation.not_beginning(["predict"]), text)
