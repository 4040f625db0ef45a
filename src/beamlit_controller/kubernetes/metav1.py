"""Conditions as in metav1.Condition. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from beamlit_controller.core.reason import Reason

Json = dict[str, Any]

LONGEST_MESSAGE: Final = 32768


class ConditionStatus(StrEnum):
    """The status of a condition, as in metav1.Condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition without its times."""

    type: str
    status: ConditionStatus
    reason: Reason
    message: str


def written(condition: Condition, generation: int) -> Json:
    """Render a condition that was observed at this generation, without its time."""
    return {
        "type": condition.type,
        "status": condition.status.value,
        "reason": condition.reason.value,
        "message": condition.message[:LONGEST_MESSAGE],
        "observedGeneration": generation,
    }


def dated(condition: Json, before: Sequence[Mapping[str, Any]], now: str) -> Json:
    """Add the time of the transition: that of the condition before, if its status is the same."""
    same = (
        each.get("lastTransitionTime")
        for each in before
        if each["type"] == condition["type"] and each["status"] == condition["status"]
    )
    return {**condition, "lastTransitionTime": next(same, None) or now}
