"""`metadata` of a ModelDeployment: its name, and the annotations that this controller reads."""

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field, JsonValue

from beamlit_controller.api import problems, scalars
from beamlit_controller.api.model import StrictModel
from beamlit_controller.api.scalars import DnsLabel
from beamlit_controller.core.spec import Rejected

ANNOTATIONS: Final = "offloading.beamlit.com/"
OVERRIDE: Final = f"{ANNOTATIONS}override"
OVERRIDE_UNTIL: Final = f"{ANNOTATIONS}override-until"
OVERRIDE_AUTHOR: Final = f"{ANNOTATIONS}override-author"
OVERRIDE_REASON: Final = f"{ANNOTATIONS}override-reason"
OVERRIDES: Final = (OVERRIDE, OVERRIDE_UNTIL, OVERRIDE_AUTHOR, OVERRIDE_REASON)
LONGEST_WORD = 200


_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?", re.ASCII)
LONGEST_NAME: Final = 55


def _name(text: str) -> str:
    if not _NAME.fullmatch(text) or len(text) > LONGEST_NAME:
        raise ValueError(
            f"expected at most {LONGEST_NAME} lower-case letters, digits and '-', beginning with a letter "
            f"(Services NAME-local and NAME-gateway are named after it), got {problems.came(text)}"
        )
    return text


class ObjectMeta(StrictModel):
    """The metadata of a Kubernetes object; only the fields used here are checked."""

    name: Annotated[str, AfterValidator(_name)]
    namespace: DnsLabel = "default"
    labels: dict[str, str] = Field(default={})
    annotations: dict[str, str] = Field(default={})
    generation: Annotated[int, Field(ge=0)] = 0
    generate_name: JsonValue = None
    uid: JsonValue = None
    resource_version: JsonValue = None
    creation_timestamp: JsonValue = None
    deletion_timestamp: JsonValue = None
    deletion_grace_period_seconds: JsonValue = None
    finalizers: JsonValue = None
    owner_references: JsonValue = None
    managed_fields: JsonValue = None
    self_link: JsonValue = None


def override(text: str) -> int:
    """Parse the percentage of the override annotation. Raises ValueError."""
    if not re.fullmatch(r"[0-9]{1,3}", text, re.ASCII) or int(text) > 100:  # noqa: PLR2004 - percent
        raise ValueError(f'expected a percentage from "0" to "100", got {problems.came(text)}')
    return int(text)


def mistaken_override(annotations: Mapping[str, str]) -> Rejected | None:
    """Describe what is wrong with override annotations; such an override is ignored, and the spec is still used."""
    for key, read in ((OVERRIDE, override), (OVERRIDE_UNTIL, scalars.instant)):
        if key in annotations:
            try:
                read(annotations[key])
            except ValueError as error:
                return Rejected(problems.path(("metadata", "annotations", key)), str(error))
    return None
