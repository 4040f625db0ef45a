"""Secrets in what foreign servers say: whole, encoded, or cut off at the end."""

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.api import redaction

SECRET = "s3/cr+t \"of\" <us>&'them'="
ENCODED = base64.b64encode(SECRET.encode()).decode()
FORMS = {
    "plain": SECRET,
    "url": quote(SECRET, safe=""),
    "form": quote_plus(SECRET),
    "json": json.dumps(SECRET),
    "html": html.escape(SECRET),
    "python": repr(SECRET),
    "base64": ENCODED,
    "base64 for URLs": base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_hidden_however_it_is_encoded(form: str) -> None:
    shown = redaction.hidden(f"invalid token {FORMS[form]} and {FORMS[form]}", (SECRET,))

    assert shown.count("***") == 2
    assert FORMS[form] not in shown
    assert "cr" not in shown


@given(secret=st.text('abc/+ä"', min_size=5, max_size=2_000), cut=st.integers(5, 2_000))
def test_no_beginning_of_a_secret_survives_where_the_text_was_cut(secret: str, cut: int) -> None:
    shown = redaction.hidden(f"got: {secret}"[: 5 + cut], (secret,))

    assert shown == "got: ***"


def test_a_character_that_was_cut_in_half_hides_nothing_less() -> None:
    text = "got: pässwörd".encode()[:-3].decode(errors="replace")

    assert redaction.hidden(text, ("pässwörd",)) == "got: ***"


def test_other_text_stays() -> None:
    text = "the series s3 is not there, and s3/"

    assert redaction.hidden(text, (SECRET, "", "abc")) == text


def test_the_longest_secret_is_hidden_first() -> None:
    assert redaction.hidden("got me:s3cret-and-more", ("s3cret", "s3cret-and-more")) == "got me:***"


@pytest.mark.parametrize(
    ("header", "secrets"),
    [
        ("", ()),
        ("Bearer abc", ("abc",)),
        ("Basic bWU6czNjcmV0", ("bWU6czNjcmV0", "s3cret")),
        ("basic no base64!", ("no base64!",)),
        ("Basic /w==", ("/w==",)),
    ],
)
def test_the_secrets_of_a_header_are_its_credential_and_password(header: str, secrets: tuple[str, ...]) -> None:
    assert redaction.of_header(header) == secrets


def test_a_long_text_that_repeats_the_beginning_of_a_secret_is_read_once() -> None:
    """Each occurrence was compared with all that followed it: 2 MB took 45 s."""
    secret = "pass" * 40 + "x"
    text = "pass" * 500_000

    assert redaction.hidden(text, [secret]) == text[:-160] + redaction.HIDDEN
