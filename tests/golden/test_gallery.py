"""The gallery of behaviour: what a manifest and a course of readings come to, round by round, up to the status.

A case is a folder with `model.yaml` (a manifest) and `signals.yaml` (rounds: when, and what each metric read).
`outcome.yaml` is what came out: `pytest tests/golden --inline-snapshot=fix,create` brings it up to date.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from inline_snapshot import external_file

from beamlit_controller.api import manifests, status
from beamlit_controller.api.settings import Settings
from beamlit_controller.core import cycle
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import (
    LocalHealth,
    Missing,
    Pod,
    PodSample,
    PodSamples,
    Reading,
    Sample,
    Scale,
    Signals,
)
from beamlit_controller.core.spec import OffloadSpec
from builders import NOW, milli

HERE = Path(__file__).parent
CASES = sorted(path.name for path in HERE.iterdir() if (path / "model.yaml").exists())


@pytest.mark.parametrize("case", CASES)
def test_the_gallery(case: str) -> None:
    model, rounds = (HERE / case / "model.yaml").read_text(), yaml.safe_load((HERE / case / "signals.yaml").read_text())
    (spec,) = manifests.parse(model, settings=Settings()).specs

    outcome = yaml.safe_dump(played(spec, rounds), sort_keys=False, allow_unicode=True, width=120)

    assert outcome == external_file(HERE / case / "outcome.yaml", format=".txt")


def played(spec: OffloadSpec, rounds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give what each round came to; only those that are told to be shown, and those that change something."""
    shown, last = [], None
    for each in rounds:
        for second in seconds(each["at"]):
            now = NOW + timedelta(seconds=second)
            record = cycle.run(spec, signals(each, now), previous=last.decision if last else None, now=now)
            if last is None or record.changed:
                shown.append(told(record, second))
            last = record
    assert last is not None
    return [*shown, {"status at the end": status.status(last)}]


def seconds(at: int | str) -> range:
    """Read a moment, or `FIRST-LAST/STEP`."""
    if isinstance(at, int):
        return range(at, at + 1)
    span, step = at.split("/")
    first, last = span.split("-")
    return range(int(first), int(last) + 1, int(step))


def signals(given: dict[str, Any], now: Any) -> Signals:  # noqa: ANN401 - a datetime
    readings = tuple(reading(each, now) for each in given["readings"])
    count = given.get("replicas", 2)
    pods = tuple(Pod(f"worker-{index}") for index in range(count))
    return Signals(now, readings, pods, Scale(count, count), LocalHealth(count, count))


def reading(given: object, now: Any) -> Reading:  # noqa: ANN401 - a datetime
    match given:
        case {"missing": reason, "message": message}:
            return Missing(Reason(reason), message)
        case list(values):
            return PodSamples(tuple(PodSample(f"worker-{i}", milli(str(value)), now) for i, value in enumerate(values)))
        case value:
            return Sample(milli(str(value)), now)


def told(record: Cycle, second: int) -> dict[str, Any]:
    decided = record.decision
    return {
        "at": second,
        "verdict": record.verdict.judgement.value,
        "percentage": decided.percentage,
        "reason": decided.reason.value,
        "message": decided.message,
    }
