"""What a test does where the machine lacks something that it runs on."""

import os
from typing import NoReturn

import pytest

WITHOUT = "there is no "


def missing(what: str, why: object) -> NoReturn:
    """Skip, or with CI=true fail; the end of the run says what was not tested."""
    text = f"{WITHOUT}{what}: {why}"
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)
