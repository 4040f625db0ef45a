"""Which headers are removed, by the expressions themselves; with a real Envoy: `tests/system/test_gateway_private.py`."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.envoy import sensitive_names as names

WORDS = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=8)


def is_removed(name: str, *, forwards: bool = False, selects: bool = False) -> bool:
    expressions = names.patterns(forwards_credentials=forwards, selects_model=selects)
    keys = [] if forwards else [names.KEYS]
    return re.fullmatch("|".join(f"(?:{each})" for each in (*expressions, *keys)), name, re.IGNORECASE) is not None


@given(st.lists(WORDS, min_size=1, max_size=3), st.sampled_from("-_."))
def test_every_key_is_a_credential_but_the_harmless_ones(words: list[str], separator: str) -> None:
    name = separator.join((*words, "key"))
    is_harmless = any(words[-1].endswith(each) for each in names.HARMLESS_KEYS)

    assert is_removed(name) or is_harmless


@given(st.sampled_from(names.HARMLESS_KEYS), st.sampled_from(("", "-", "_", ".")))
def test_harmless_keys_pass(word: str, separator: str) -> None:
    assert not is_removed(f"x-{word}{separator}key")


def test_what_keeps_the_caches_of_tenants_apart_at_a_provider_passes() -> None:
    assert not is_removed("x-prompt-cache-isolation-key")


@pytest.mark.parametrize("word", names.NO_KEYS)
def test_other_words_that_end_like_keys_pass(word: str) -> None:
    assert not is_removed(f"x-{word}")
    assert is_removed(f"x-a{word}")


@pytest.mark.parametrize("word", names.ANYWHERE)
@pytest.mark.parametrize("name", ["{}", "x-{}", "{}-of-this", "acme_{}_2", "acme.{}"])
def test_some_words_tell_wherever_they_are(name: str, word: str) -> None:
    assert is_removed(name.format(word))
    assert not is_removed(f"{name.format('a')}q{word}q")


@given(WORDS)
def test_everything_that_is_said_about_somebody_is_removed_but_for_agents(attribute: str) -> None:
    assert is_removed(f"x-user-{attribute}") != attribute.startswith("agent")


@pytest.mark.parametrize(
    "name", ["user-agent", "x-user-agent", "x-amz-user-agent", "x-userland", "usergroupie", "teamwork"]
)
def test_other_words_are_no_people(name: str) -> None:
    assert not is_removed(name)


@pytest.mark.parametrize("name", ["x-target-url", "acme-callback-uri", "webhook-host", "x-proxy", "x-my-provider"])
def test_where_else_to_send_a_request_is_removed_even_if_credentials_pass(name: str) -> None:
    assert is_removed(name, forwards=True)
    assert not is_removed("x-api-key", forwards=True)
