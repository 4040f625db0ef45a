"""Plays one case of the gallery: a manifest and a course of readings, to what the controller makes of them.

A case is a folder with at most four inputs:

- `model.yaml`: the manifest; its first line is a comment that says what the case shows.
- `signals.yaml`: rounds. `at` is a second, or `FIRST-LAST/STEP`; `readings` has one entry per metric. A reading is a
  number, a list with the value of each pod, or `{missing: REASON, message: TEXT}`. `replicas` is 2 by default, `pods`
  replaces the ready pods that come with it, `window` and `age` are those of the samples in seconds (0 by default),
  and `change` is a JSON merge patch for the manifest from this round on. `flow` is what the gateways saw in the five
  seconds before: local requests `inFlight`, and how many `overflowed`; or how many requests local `served`, and how many
  were `sent` to the remote.
- `envoy.yaml`: which parts of Envoy's files are shown, and what they are called: `FILE/STEP/STEP/…` with a field, the
  index or `name` of an element, `*` for the names of all elements, or `**` for the first place below where the rest is.
  What begins with `no ` must not be there.
- `settings.yaml`: the settings, if they are other than the default.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

import builders
from beamlit_controller.api import manifests, settings, status
from beamlit_controller.api.manifests import Parsed
from beamlit_controller.api.settings import Settings
from beamlit_controller.core import cycle
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import (
    NOT_ASKED,
    LocalHealth,
    Missing,
    Pod,
    PodSample,
    PodSamples,
    Reading,
    Ready,
    Sample,
    Scale,
    Signals,
)
from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.envoy import config
from beamlit_controller.envoy.gateway_params import GatewayParams

Json = Any
PARAMS = GatewayParams(
    node="models/llama",
    directory="/gateway",
    front="0.0.0.0:8080",
    stats="127.0.0.1:9902",
    admin="unix:/gateway/admin.sock",
    shares="unix:/gateway/shares.sock",
    local=("10.0.0.1:8000", "10.0.0.2:8000"),
    secrets="/secrets",
)
ABSENT = "(absent)"
ADVISED = "spec.offloadingConfig.behavior.mode"
"""Whoever takes a queue for a share is told so; nearly every case does."""
FLOWS = timedelta(seconds=5)


def outcome(case: Path) -> dict[str, Json]:
    """Return all that a case comes to; what it does not ask for is left out."""
    manifest = yaml.safe_load((case / "model.yaml").read_text())
    chosen = _settings(case / "settings.yaml")
    parsed = _parsed(manifest, chosen)
    if parsed.problems:
        return {"refused": [_told(problem) for problem in parsed.problems]}
    notices = [_told(notice) for notice in parsed.notices if notice.field != ADVISED]
    noted = {"notices": notices} if notices else {}
    rounds, shown = _read(case / "signals.yaml"), _read(case / "envoy.yaml")
    return {
        **noted,
        **(_played(manifest, rounds, chosen) if rounds else {}),
        **({"envoy": _envoy(parsed.specs[0], shown)} if shown else {}),
    }


def _read(path: Path) -> Json:
    return yaml.safe_load(path.read_text()) if path.exists() else None


def _settings(path: Path) -> Settings:
    if not path.exists():
        return Settings()
    read = settings.parse(path.read_text())
    assert isinstance(read, Settings), read
    return read


def _parsed(manifest: Mapping[str, Json], chosen: Settings) -> Parsed:
    return manifests.parse(yaml.safe_dump(manifest), settings=chosen)


def _told(problem: object) -> str:
    return str(problem).removeprefix("document 1 (default/llama): ").removeprefix("default/llama: ")


# Rounds: verdict, decision and status.


def _played(manifest: Mapping[str, Json], rounds: list[dict[str, Json]], chosen: Settings) -> dict[str, Json]:
    """Return each round that changes the percentage, the reason or the cap, and the status after the last."""
    shown, last = [], None
    (spec,) = _parsed(manifest, chosen).specs
    for each in rounds:
        if "change" in each:
            manifest = _patched(manifest, each["change"])
            (spec,) = _parsed(manifest, chosen).specs
        for second in _seconds(each["at"]):
            now = builders.NOW + timedelta(seconds=second)
            record = cycle.run(spec, _signals(each, now), previous=last.decision if last else None, now=now)
            if record.changed or (last is not None and last.decision.cap != record.decision.cap):
                shown.append(_round(record, second))
            last = record
    assert last is not None
    return {"rounds": shown, "status": _status(last)}


def _patched(given: Json, patch: Json) -> Json:
    """Apply a JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(given) if isinstance(given, Mapping) else {}
    for name, value in patch.items():
        merged[name] = _patched(merged.get(name), value)
    return {name: value for name, value in merged.items() if value is not None}


def _seconds(at: int | str) -> range:
    if isinstance(at, int):
        return range(at, at + 1)
    span, step = at.split("/")
    first, last = span.split("-")
    return range(int(first), int(last) + 1, int(step))


def _signals(given: Mapping[str, Json], now: datetime) -> Signals:
    count = given.get("replicas", 2)
    end = now - timedelta(seconds=given.get("age", 0))
    window = timedelta(seconds=given.get("window", 0))
    readings = tuple(_reading(each, end, window) for each in given["readings"])
    pods = tuple(_pod(each, now) for each in given["pods"]) if "pods" in given else builders.pods(count)
    return Signals(now, readings, pods, Scale(count, count), LocalHealth(count, count), _flow(given.get("flow"), now))


def _flow(given: Mapping[str, int] | None, now: datetime) -> Flow | Missing:
    if given is None:
        return NOT_ASKED
    in_flight, overflowed = given.get("inFlight", 0), given.get("overflowed", 0)
    served, sent = given.get("served", 20), given.get("sent", overflowed)
    return Flow(now - FLOWS, now, in_flight, in_flight, served=served, sent=sent, overflowed=overflowed)


def _reading(given: Json, end: datetime, window: timedelta) -> Reading:
    match given:
        case {"missing": reason, "message": message}:
            return Missing(Reason(reason), message)
        case list(values):
            milli = (builders.milli(str(value)) for value in values)
            return PodSamples(tuple(PodSample(f"worker-{i}", each, end, window) for i, each in enumerate(milli)))
        case value:
            return Sample(builders.milli(str(value)), end, window)


def _pod(given: Mapping[str, Json], now: datetime) -> Pod:
    """Read a pod: `ready` is the condition's status, `since` how many seconds ago it started and became that."""
    since = now - timedelta(seconds=given.get("since", 3600))
    return builders.pod(
        given["name"],
        phase=given.get("phase", "Running"),
        deleting=given.get("deleting", False),
        ready=Ready(given.get("ready", "True"), since),
        started=since,
        containers=tuple(builders.container(name, **asked) for name, asked in _containers(given)),
    )


def _containers(given: Mapping[str, Json]) -> Iterator[tuple[str, dict[str, Json]]]:
    yield from given.get("containers", {"main": {"cpu": 1}}).items()


def _round(record: Cycle, second: int) -> dict[str, Json]:
    decided = record.decision
    return {
        "at": second,
        "verdict": record.verdict.judgement.value,
        "percentage": decided.percentage,
        **({} if decided.cap is None else {"inFlightPerReplica": float(decided.cap)}),
        "reason": decided.reason.value,
        "message": decided.message,
    }


def _status(last: Cycle) -> dict[str, Json]:
    """Return what a user reads in the status, a condition on a line."""
    told = status.status(last)
    return {
        "offloading": {each: told["offloading"][each] for each in ("inForce", "percentage", "since")},
        **({"currentMetrics": [_current(each) for each in told["currentMetrics"]]} if told["currentMetrics"] else {}),
        "conditions": {each["type"]: "{status}, {reason}: {message}".format(**each) for each in told["conditions"]},
    }


def _current(metric: Mapping[str, Json]) -> str:
    kind = metric["type"]
    told = metric[kind[0].lower() + kind[1:]]
    name = told["name"] if "name" in told else told["metric"]["name"]
    return f"{kind} {name}: " + ", ".join(f"{field} {value}" for field, value in told["current"].items())


# Envoy's files.


def _envoy(spec: OffloadSpec, shown: Mapping[str, str]) -> dict[str, Json]:
    files = {
        name: _resources(json.loads(text)) for name, text in builders.without_ids(config.files(spec, PARAMS)).items()
    }
    return {label: _at(files, path.split("/")) for label, path in shown.items()}


def _resources(file: dict[str, Json]) -> Json:
    return file.get("resources", file)


def _at(found: Json, steps: list[str]) -> Json:
    match steps:
        case []:
            return found
        case ["**", *rest]:
            return next((each for each in _anywhere(found, rest) if each != ABSENT), ABSENT)
        case [step, *rest]:
            return _at(_step(found, step), rest)


def _anywhere(found: Json, steps: list[str]) -> Iterator[Json]:
    yield _at(found, steps)
    below = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    for each in below:
        yield from _anywhere(each, steps)


def _step(found: Json, step: str) -> Json:
    match found:
        case dict():
            return found.get(step, ABSENT)
        case list() if step == "*":
            return [each.get("name", ABSENT) for each in found]
        case list() if step.isdigit():
            return found[int(step)] if int(step) < len(found) else ABSENT
        case list():
            return next((each for each in found if isinstance(each, dict) and each.get("name") == step), ABSENT)
        case _:
            return ABSENT
