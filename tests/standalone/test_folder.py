"""Manifests from a folder, with real files."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from beamlit_controller.api import manifests
from beamlit_controller.api.settings import Settings
from beamlit_controller.core.spec import ModelKey, OffloadSpec, Override, Rejected
from beamlit_controller.standalone.folder import Folder
from beamlit_controller.standalone.overrides import Overrides

LATER = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
KEY = ModelKey("default", "llama")


def manifest(percentage: object = 50, name: str = "llama") -> str:
    spec = {
        "serviceRef": {"name": "llama", "targetPort": 8000},
        "offloadingConfig": {"remoteBackend": {"host": "api.example.com"}, "behavior": {"percentage": percentage}},
    }
    api = {"apiVersion": "deployment.beamlit.com/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": name}}
    return json.dumps({**api, "spec": spec})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "manifests").mkdir()
    return tmp_path / "manifests"


def together(specs: Sequence[OffloadSpec]) -> tuple[Rejected, ...]:
    """Refuse a third model."""
    return (Rejected("config", "two are enough"),) if len(specs) > 2 else ()


def folder(path: Path) -> Folder:
    return Folder(
        path,
        kept=path.parent / "kept",
        parse=partial(manifests.parse, settings=Settings()),
        together=together,
        overrides=Overrides(path.parent / "overrides"),
    )


def percentages(read: Folder) -> dict[ModelKey, int]:
    read.read()
    return {key: spec.behavior.percentage for key, spec in read.manifests.specs.items()}


def test_reads_yaml_and_json_and_nothing_else(path: Path) -> None:
    for name in ("a.yaml", "c.json", "d.txt", ".e.yaml", "f.yaml~"):
        (path / name).write_text(manifest(name=name.strip(".")[0]))

    assert [key.name for key in percentages(folder(path))] == ["a", "c"]


def test_follows_changes_and_deletions(path: Path) -> None:
    read = folder(path)
    (path / "a.yaml").write_text(manifest(50))
    assert percentages(read) == {KEY: 50}

    (path / "a.yaml").write_text(manifest(20))
    assert percentages(read) == {KEY: 20}

    (path / "a.yaml").unlink()
    assert percentages(read) == {}


def test_a_broken_file_leaves_its_last_good_version_also_after_a_restart(path: Path) -> None:
    read = folder(path)
    (path / "a.yaml").write_text(manifest(50))
    read.read()

    (path / "a.yaml").write_text(manifest(500))

    assert percentages(read) == {KEY: 50}
    assert percentages(folder(path)) == {KEY: 50}
    (problem,) = read.manifests.problems
    assert problem.where.startswith("a.yaml")
    assert problem.field == "spec.offloadingConfig.behavior.percentage"


def test_a_file_that_was_never_good_is_a_problem_and_no_model(path: Path) -> None:
    read = folder(path)
    (path / "a.yaml").write_text("kind: [")

    assert percentages(read) == {}
    assert len(read.manifests.problems) == 1


def test_a_deleted_broken_file_is_not_remembered(path: Path) -> None:
    read = folder(path)
    (path / "a.yaml").write_text(manifest(50))
    read.read()
    (path / "a.yaml").unlink()
    read.read()
    (path / "a.yaml").write_text(manifest(500))

    assert percentages(folder(path)) == {}


def test_the_first_of_two_models_with_one_name_wins_and_the_other_says_so(path: Path) -> None:
    read = folder(path)
    (path / "a.yaml").write_text(manifest(50))
    (path / "b.yaml").write_text(manifest(20))

    assert percentages(read) == {KEY: 50}
    (problem,) = read.manifests.problems
    assert (
        str(problem)
        == "b.yaml default/llama: metadata.name: default/llama is given in a.yaml already; rename or remove one of them"
    )


def test_of_models_that_cannot_run_side_by_side_the_first_run_and_the_others_say_why(path: Path) -> None:
    read = folder(path)
    for name in ("a", "b", "c"):
        (path / f"{name}.yml").write_text(manifest(name=name))

    assert [key.name for key in percentages(read)] == ["a", "b"]
    assert [str(problem) for problem in read.manifests.problems] == ["c.yml default/c: config: two are enough"]


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff\xfe\x00", "is no UTF-8 text"), (b" " * (1024 * 1024 + 1), "larger than 1048576 bytes")],
)
def test_what_is_no_manifest_at_all_is_said(path: Path, content: bytes, said: str) -> None:
    read = folder(path)
    (path / "a.yaml").write_bytes(content)

    read.read()

    assert said in read.manifests.problems[0].message


def test_notices_belong_to_their_model(path: Path) -> None:
    read = folder(path)
    document = json.loads(manifest())
    (path / "a.yaml").write_text(json.dumps(document))

    read.read()

    (notice,) = read.manifests.notices[KEY]
    assert notice.startswith("spec.offloadingConfig.metrics: no metric is given")


def test_what_was_set_by_hand_goes_before_the_manifest_until_it_is_taken_away(path: Path) -> None:
    read = folder(path)
    document = json.loads(manifest())
    document["metadata"]["annotations"] = {"offloading.beamlit.com/override": "10"}
    (path / "a.yaml").write_text(json.dumps(document))
    hands = Overrides(path.parent / "overrides")

    hands.put(KEY, Override(25, LATER, "ada", "a rehearsal"))
    read.read()
    by_hand = read.manifests.specs[KEY].override
    hands.put(KEY, None)
    hands.put(KEY, None)
    read.read()

    assert by_hand == Override(25, LATER, "ada", "a rehearsal")
    assert read.manifests.specs[KEY].override == Override(10)


def test_what_was_set_by_hand_and_has_ended_leaves_the_manifest_in_force(path: Path) -> None:
    read = folder(path)
    document = json.loads(manifest())
    document["metadata"]["annotations"] = {"offloading.beamlit.com/override": "10"}
    (path / "a.yaml").write_text(json.dumps(document))
    hands = Overrides(path.parent / "overrides")
    hands.put(KEY, Override(25, datetime.now(UTC) - timedelta(seconds=1)))

    read.read()

    assert read.manifests.specs[KEY].override == Override(10)
    assert list(hands.folder.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    ['{"percentage": "all"}', '{"percentage": 400}', "{", '{"percentage": 5, "until": "2026-06-01T12:00:00"}'],
)
def test_what_was_set_by_hand_and_can_not_be_understood_changes_nothing(path: Path, content: str) -> None:
    read = folder(path)
    (path / "a.yaml").write_text(manifest())
    hands = Overrides(path.parent / "overrides")
    hands.put(KEY, Override(25))
    (file,) = hands.folder.iterdir()
    file.write_text(content)

    read.read()

    assert read.manifests.specs[KEY].override is None
    hands.keep_only([])
    assert list(hands.folder.iterdir()) == []
