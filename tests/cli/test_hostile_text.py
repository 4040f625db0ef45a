"""Names and values in files that would control a terminal: nothing that quotes them sends them there as they are."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fakes import commands

HOSTILE = "\x1b]0;title\x07\x1b[31m\u202e\x9b31m"
AUTOSCALER = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "a", "namespace": HOSTILE},
    "spec": {
        HOSTILE: 1,
        "scaleTargetRef": {"kind": HOSTILE, "name": HOSTILE},
        "maxReplicas": 3,
        "metrics": [{"type": HOSTILE}],
    },
}


def model(**changed: Any) -> dict[str, Any]:  # noqa: ANN401 - anything may be in a manifest
    api = {"apiVersion": "deployment.beamlit.com/v1alpha1", "kind": "ModelDeployment"}
    return {**api, "metadata": {"name": "a"}, "spec": {}, **changed}


@pytest.mark.parametrize(
    ("command", "content"),
    [
        (("check",), model(kind=HOSTILE)),
        (("check",), model(metadata={"name": HOSTILE, "namespace": HOSTILE, "labels": {HOSTILE: HOSTILE}})),
        (("check",), model(spec={HOSTILE: 1})),
        (
            ("check",),
            model(spec={"offloadingConfig": {"remoteBackend": {"host": HOSTILE, "headersToAdd": {HOSTILE: "a"}}}}),
        ),
        (("convert",), AUTOSCALER),
        (("render", "envoy"), model(spec={"serviceRef": {"name": HOSTILE}})),
        (("run", "--manifests=.", "--settings"), {"config": {HOSTILE: HOSTILE}}),
    ],
)
def test_it_is_escaped(tmp_path: Path, command: tuple[str, ...], content: Mapping[str, Any]) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(json.dumps(content))

    ended = commands.typed(*command, file)

    said = ended.stdout + ended.stderr
    assert "31m" in said
    assert {each for each in said if not each.isprintable()} <= {"\n"}


def test_so_is_the_name_of_a_file(tmp_path: Path) -> None:
    ended = commands.typed("check", tmp_path / "\x1b[31m.yaml")

    assert ended.stdout.endswith(r"\x1b[31m.yaml: No such file or directory" + "\n")
