"""What the API server accepts in `spec.metrics` of an HPA is accepted here, and what it refuses is refused, at the same field."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beamlit_controller.api.manifests import Parsed

Read = Callable[..., Parsed]

VECTORS = json.loads((Path(__file__).parents[1] / "conformance" / "vectors.json").read_text())["validationVectors"]
APPLICABLE = [each for each in VECTORS if each["spec"].get("metrics")]
NOT_APPLICABLE = {
    "val-062": "an HPA without metrics gets cpu 80 %; a model without metrics is not offloaded by one",
    "val-063": "minReplicas",
    "val-065": "maxReplicas",
    "val-066": "maxReplicas",
    "val-067": "behavior of scaling",
    "val-070": "behavior of scaling",
    "val-075": "scaleTargetRef",
}


def kind(message: str) -> str:
    """Return which of the API server's kinds of mistake a message of ours words."""
    if message.startswith("required"):
        return "FieldValueRequired"
    if message.startswith(("may not be set", "may not set both")):
        return "FieldValueForbidden"
    return "FieldValueNotSupported" if message.startswith("expected one of") else "FieldValueInvalid"


def test_every_vector_is_replayed_or_listed() -> None:
    assert len(APPLICABLE) + len(NOT_APPLICABLE) == len(VECTORS) == 22
    assert {each["id"] for each in VECTORS if each not in APPLICABLE} == NOT_APPLICABLE.keys()


@pytest.mark.parametrize("vector", APPLICABLE, ids=lambda vector: f"{vector['id']} {vector['note']}")
def test_agrees_with_the_api_server(read: Read, vector: dict[str, Any]) -> None:
    theirs = {(each["field"].removeprefix("spec."), each["type"]) for each in vector.get("errors") or ()}

    parsed = read({"metrics": vector["spec"]["metrics"]})

    ours = {(each.field.removeprefix("spec.offloadingConfig."), kind(each.message)) for each in parsed.problems}
    assert bool(parsed.specs) == (not theirs)
    assert {field for field, _ in ours} == {field for field, _ in theirs}
    # Where the API server complains twice about one field, once is enough.
    assert ours <= theirs
