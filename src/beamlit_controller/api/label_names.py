"""Keys and values of Kubernetes labels, as types of values."""

import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from beamlit_controller.api import problems
from beamlit_controller.api.scalars import matching

_NAME = r"[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_PREFIX = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/"


def _label_value(text: str) -> str:
    if text and not re.fullmatch(_NAME, text, re.ASCII):
        raise ValueError(
            f"expected at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends, got {problems.came(text)}"
        )
    return text


LabelKey = Annotated[
    str, *matching(f"({_PREFIX})?{_NAME}", "the key of a label or taint, such as example.com/pool", longest=317)
]
LabelValue = Annotated[
    str, AfterValidator(_label_value), WithJsonSchema({"type": "string", "pattern": f"^({_NAME})?$", "maxLength": 63})
]
