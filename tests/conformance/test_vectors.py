"""What the real HorizontalPodAutoscaler answered, replayed through the core.

`HPA_VECTORS=FILE pytest tests/conformance` replays another file of the same format.
"""

import copy
import functools
import json
import operator
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

from beamlit_controller.core import quantity
from beamlit_controller.core.metric_spec import Value
from conformance import adapter, empties, judge
from conformance.adapter import InexpressibleError, Json

SHIPPED = Path(__file__).with_name("vectors.json")
FILE = Path(os.environ.get("HPA_VECTORS", SHIPPED))
RECORD = json.loads(FILE.read_text())

METRICS: Sequence[Json] = RECORD.get("metricVectors") or ()
SEVERAL: Sequence[Json] = RECORD.get("multiVectors") or ()
QUANTITIES: Sequence[Json] = RECORD.get("quantityVectors") or ()

JUDGED = ("metricVectors", "multiVectors", "quantityVectors")

# Lists of vectors that are not about the core.
ELSEWHERE = {
    "validationVectors": "what a user may write: judged where it is parsed",
    "discoveryVectors": "requests to a cluster: judged where they are made",
    "sequenceVectors": "the HPA's own scaling over time: shares of requests are decided here, not replicas",
}


@pytest.mark.parametrize(
    "vector", [vector for vector in METRICS if not judge.unjudged(vector)], ids=lambda vector: vector["id"]
)
def test_a_metric_is_computed_as_the_hpa_does(vector: Json) -> None:
    replay(vector)


@pytest.mark.parametrize("write", empties.WAYS)
@pytest.mark.parametrize(
    "vector", [vector for vector in METRICS if not judge.unjudged(vector)], ids=lambda vector: vector["id"]
)
def test_a_vector_says_the_same_however_its_encoder_writes_what_is_not_there(vector: Json, write: empties.Way) -> None:
    replay(write(vector))


@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        (("out", "podValuesMilli"), {"p0": -1}),
        (("out", "groups"), {"ready": 99}),
        (("out", "requestsMilli"), {"p0": -1}),
        (("out", "calc"), {"error": "failed"}),
        (("out", "hpa", "statuses"), [{"type": "Resource", "resource": {"name": "cpu", "current": {"value": "1"}}}]),
        (("out", "ratio"), {"first": 1e6}),
    ],
)
@pytest.mark.parametrize("write", empties.WAYS)
def test_a_wrong_record_is_noticed_however_it_is_written(
    where: Sequence[str], wrong: object, write: empties.Way
) -> None:
    vector = copy.deepcopy(next(each for each in METRICS if each["out"].get("requestsMilli", {}).get("p0")))
    *path, last = where
    functools.reduce(operator.getitem, path, vector)[last] = wrong

    with pytest.raises(AssertionError):
        replay(write(vector))


def replay(vector: Json) -> None:
    """Hold what we make of a vector against what it records."""
    case, out = adapter.case(vector["in"], RECORD["defaults"]), judge.recorded(vector["out"])
    try:
        metric = adapter.metric(vector["in"]["metric"])
        reading = adapter.reading(metric, case)
        outcome = judge.assess(case, metric, reading)
    except InexpressibleError:
        assert judge.failed(out)
        return
    judge.check_pods(metric, reading, case, out)
    judge.check_outcome(outcome, vector)


@pytest.mark.parametrize(
    "vector",
    [vector for vector in SEVERAL if not judge.unjudged(vector)] or [None],
    ids=lambda vector: vector and vector["id"],
)
def test_several_metrics_are_reported_as_the_hpa_does(vector: Json | None) -> None:
    """A metric that judge.failed is an entry without a type in the HPA's `currentMetrics`."""
    if vector is None:
        assert not [each for each in SEVERAL if not judge.unjudged(each)], "the shipped file has no such vectors"
        return
    case, metrics = adapter.case(vector["in"], RECORD["defaults"]), vector["in"]["metrics"]
    statuses = judge.recorded(vector["out"])["hpa"].get("statuses") or [{}] * len(metrics)

    for given, status in zip(metrics, statuses, strict=True):
        try:
            metric = adapter.metric(given)
            outcome = judge.assess(case, metric, adapter.reading(metric, case))
        except InexpressibleError:
            assert "type" not in status
            continue
        case = adapter.without_answer(metric, case)
        if "type" in status:
            judge.check_status(outcome, status)
        elif not isinstance(metric.target, Value) or adapter.matching_pods(case):
            judge.check_failure(outcome)


@pytest.mark.parametrize(
    "vector", QUANTITIES, ids=[f"{i}-{judge.text_of(each)[:20]!r}" for i, each in enumerate(QUANTITIES)]
)
@pytest.mark.parametrize("write", [empties.as_recorded, empties.absent])
def test_a_quantity_is_read_and_printed_as_kubernetes_does(vector: Json, write: empties.Way) -> None:
    vector = write(vector)
    text, difference = judge.text_of(vector), judge.quantity_difference(vector)

    if adapter.is_set(vector, "error") or difference in {judge.NO_DIGITS, judge.ABSURD}:
        with pytest.raises(ValueError, match="expected a quantity"):
            quantity.parse(text)
        return
    amount, milli = quantity.parse(text), vector.get("milli") or 0

    assert str(amount) == (judge.plain(text) if difference == judge.ECHO else vector["canonical"])
    if difference == judge.EXACT:
        assert amount.milli / 1000 == pytest.approx(float(vector.get("float") or 0), rel=1e-12)
    else:
        assert amount.milli == (-milli if difference == judge.SIGN_LOST else milli)


def test_what_is_not_judged_or_differs_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = {reason: RECORD.get(name) or () for name, reason in ELSEWHERE.items()}
    not_judged = grouped({each["id"]: judge.unjudged(each) for each in (*METRICS, *SEVERAL)})
    differing = grouped(
        {each["id"]: judge.metric_difference(each) for each in METRICS if not judge.unjudged(each)}
    ) | grouped({judge.text_of(each): judge.quantity_difference(each) for each in QUANTITIES})

    with capsys.disabled():
        total = sum(len(each or ()) for name, each in RECORD.items() if name.endswith("Vectors"))
        left = sum(len(each) for each in (*elsewhere.values(), *not_judged.values()))
        print(f"\n{FILE.name}: {total - left} of {total} vectors judged")  # noqa: T201 - to be seen
        for title, groups in (("elsewhere", elsewhere), ("not judged", not_judged), ("on purpose", differing)):
            for reason, names in groups.items():
                print(f"  {len(names):4} {title}: {reason}")  # noqa: T201 - to be seen

    assert {name for name in RECORD if name.endswith("Vectors")} <= {*JUDGED, *ELSEWHERE}
    if FILE == SHIPPED:
        assert {name: len(RECORD.get(name) or ()) for name in ELSEWHERE} == {
            "validationVectors": 22,
            "discoveryVectors": 2,
            "sequenceVectors": 0,
        }
        assert not_judged == {}
        assert differing == {
            judge.NO_POD_NEEDED: ["ext-h007-value-no-pods"],
            judge.EXACT: ["1e19", "-9223372036854775808", "99999999999999999999", "9Pi"],
            judge.NO_DIGITS: ["m"],
            judge.ECHO: ["+1", "1.", "1e+3"],
            judge.ABSURD: ["1e1000"],
            judge.SIGN_LOST: ["-0.0000000001"],
        }


def grouped(reasons: dict[str, str | None]) -> dict[str, list[str]]:
    """Return the names by reason, without those that have none."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, reason in reasons.items():
        if reason:
            groups[reason].append(name)
    return dict(groups)
