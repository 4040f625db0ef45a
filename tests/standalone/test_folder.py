"""Manifests from a folder, with real files."""

import asyncio
import json
import os
import resource
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from beamlit_controller.api import manifests
from beamlit_controller.api.settings import Settings
from beamlit_controller.core.spec import ModelKey, OffloadSpec, Override, Rejected
from beamlit_controller.standalone import overrides
from beamlit_controller.standalone.folder import Folder
from beamlit_controller.standalone.merging import ORIGINS
from beamlit_controller.standalone.overrides import KEPT, Overrides
from waiting import eventually

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


@dataclass
class Now:
    """A clock that stands still."""

    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    def now(self) -> datetime:
        return self.time


def by_hand(path: Path, clock: Now | None = None) -> Overrides:
    return Overrides(path.parent / "overrides", clock or Now())


def folder(path: Path) -> Folder:
    return Folder(
        path,
        kept=path.parent / "kept",
        parse=partial(manifests.parse, settings=Settings()),
        together=together,
        overrides=by_hand(path),
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
        == "b.yaml default/llama: metadata.name: default/llama is already defined in a.yaml; rename or remove one of them"
    )


def test_a_copy_of_a_manifest_changes_nothing_whatever_its_name(path: Path) -> None:
    """A new file that sorted first replaced the policy in force."""
    read = folder(path)
    (path / "b.yaml").write_text(manifest(50))
    assert percentages(read) == {KEY: 50}

    (path / "a.yaml").write_text(manifest(20))

    assert percentages(read) == {KEY: 50}
    (problem,) = read.manifests.problems
    assert (problem.where, problem.field) == ("a.yaml default/llama", "metadata.name")
    assert "already defined in b.yaml" in problem.message
    assert percentages(folder(path)) == {KEY: 50}


def test_a_copy_takes_over_once_the_file_in_force_is_gone(path: Path) -> None:
    read = folder(path)
    (path / "b.yaml").write_text(manifest(50))
    read.read()
    (path / "a.yaml").write_text(manifest(20))
    read.read()
    (path / "b.yaml").unlink()

    assert percentages(read) == {KEY: 20}
    assert not read.manifests.problems
    (path / "b.yaml").write_text(manifest(50))
    assert percentages(read) == {KEY: 20}


@pytest.mark.parametrize("record", [b"\xff", b"[]", b'[["default", "llama", "gone.yaml"]]', b'{"x": 1}'])
def test_without_a_usable_record_of_what_was_in_force_the_first_file_counts(path: Path, record: bytes) -> None:
    (path / "a.yaml").write_text(manifest(50))
    (path / "b.yaml").write_text(manifest(20))
    percentages(folder(path))
    (path.parent / "kept" / ORIGINS).write_bytes(record)

    assert percentages(folder(path)) == {KEY: 50}


def test_a_new_model_displaces_none_that_runs_where_both_can_not_run(path: Path) -> None:
    read = folder(path)
    for name in ("b", "c"):
        (path / f"{name}.yml").write_text(manifest(name=name))
    read.read()

    (path / "a.yml").write_text(manifest(name="a"))

    assert [key.name for key in percentages(read)] == ["b", "c"]
    assert [str(problem) for problem in read.manifests.problems] == ["a.yml default/a: config: two are enough"]


def test_of_models_that_cannot_run_side_by_side_the_first_run_and_the_others_say_why(path: Path) -> None:
    read = folder(path)
    for name in ("a", "b", "c"):
        (path / f"{name}.yml").write_text(manifest(name=name))

    assert [key.name for key in percentages(read)] == ["a", "b"]
    assert [str(problem) for problem in read.manifests.problems] == ["c.yml default/c: config: two are enough"]


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff\xfe\x00", "is not UTF-8 text"), (b" " * (1024 * 1024 + 1), "larger than 1048576 bytes")],
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
    hands = path.parent / "overrides"

    overrides.put(hands, KEY, Override(25, LATER, "ada", "a rehearsal"))
    read.read()
    in_force = read.manifests.specs[KEY].override
    overrides.put(hands, KEY, None)
    overrides.put(hands, KEY, None)
    read.read()

    assert in_force == Override(25, LATER, "ada", "a rehearsal")
    assert read.manifests.specs[KEY].override == Override(10)


def test_what_was_set_by_hand_and_has_ended_leaves_the_manifest_in_force(path: Path) -> None:
    read = folder(path)
    document = json.loads(manifest())
    document["metadata"]["annotations"] = {"offloading.beamlit.com/override": "10"}
    (path / "a.yaml").write_text(json.dumps(document))
    hands = path.parent / "overrides"
    overrides.put(hands, KEY, Override(25, datetime.now(UTC) - timedelta(seconds=1)))

    read.read()

    assert read.manifests.specs[KEY].override == Override(10)


def test_what_was_set_by_hand_is_in_force_again_once_a_clock_that_was_ahead_is_right(path: Path) -> None:
    clock = Now()
    hand, spec, override = by_hand(path, clock), OffloadSpec(KEY, "llama"), Override(25, LATER)
    overrides.put(hand.folder, KEY, override)

    def in_force() -> Override | None:
        return hand.applied_to({KEY: spec})[0][KEY].override

    clock.time = LATER + KEPT
    ahead = in_force()
    clock.time = LATER - timedelta(seconds=1)

    assert (ahead, in_force()) == (None, override)


def test_what_was_set_by_hand_and_ended_long_ago_is_removed(path: Path) -> None:
    clock = Now()
    hand = by_hand(path, clock)
    overrides.put(hand.folder, KEY, Override(25, LATER))

    clock.time = LATER + KEPT + timedelta(seconds=1)
    hand.applied_to({KEY: OffloadSpec(KEY, "llama")})

    assert list(hand.folder.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    ['{"percentage": "all"}', '{"percentage": 400}', "{", '{"percentage": 5, "until": "2026-06-01T12:00:00"}'],
)
def test_what_was_set_by_hand_and_can_not_be_understood_changes_nothing(path: Path, content: str) -> None:
    read = folder(path)
    (path / "a.yaml").write_text(manifest())
    hands = path.parent / "overrides"
    overrides.put(hands, KEY, Override(25))
    (file,) = hands.iterdir()
    file.write_text(content)

    read.read()

    assert read.manifests.specs[KEY].override is None
    by_hand(path).keep_only([])
    assert list(hands.iterdir()) == []


# A folder that is away, replaced, or can't be read.


@contextmanager
def away(path: Path) -> Iterator[None]:
    path.rename(path.with_name("elsewhere"))
    yield
    path.with_name("elsewhere").rename(path)


@contextmanager
def a_file_instead(path: Path) -> Iterator[None]:
    with away(path):
        path.write_text("no folder")
        yield
        path.unlink()


@contextmanager
def no_descriptors(_: Path) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def a_loop(path: Path) -> Iterator[None]:
    with away(path):
        path.symlink_to(path)
        yield
        path.unlink()


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (away, "No such file"),
        (a_file_instead, "Not a directory"),
        (no_descriptors, "Too many open files"),
        (a_loop, "symbolic links"),
    ],
)
def test_a_folder_that_can_not_be_read_is_a_problem_and_its_models_stay(path: Path, trouble: object, said: str) -> None:
    assert callable(trouble)
    read = folder(path)
    (path / "a.yaml").write_text(manifest(50))
    read.read()

    with trouble(path):
        during = percentages(read)
        problems = [str(problem) for problem in read.manifests.problems]

    assert during == {KEY: 50}
    assert any(said in problem and "stays in force" in problem for problem in problems)
    assert percentages(read) == {KEY: 50}
    assert read.manifests.problems == ()


def test_a_folder_that_can_not_be_read_at_the_start_has_the_models_of_the_run_before(path: Path) -> None:
    (path / "a.yaml").write_text(manifest(50))
    folder(path).read()

    with away(path):
        next_run = folder(path)
        assert percentages(next_run) == {KEY: 50}
        assert len(next_run.manifests.problems) == 1

    assert percentages(next_run) == {KEY: 50}
    assert next_run.manifests.problems == ()


async def test_while_nothing_could_be_read_yet_nobody_is_told_that_there_are_no_models(path: Path) -> None:
    read = folder(path)
    specs = read.specs()
    with away(path):
        read.read()
        asking = asyncio.ensure_future(anext(specs))
        await asyncio.sleep(0)
        assert not asking.done()
    (path / "a.yaml").write_text(manifest(50))

    read.read()

    assert [key.name for key in await asking] == ["llama"]


@pytest.mark.parametrize("kind", ["dangling", "gone wrong"])
def test_a_file_that_can_not_be_read_any_more_leaves_its_last_good_version(path: Path, kind: str) -> None:
    read = folder(path)
    file = path / "a.yaml"
    file.write_text(manifest(50))
    (path / "b.yaml").write_text(manifest(20, "mistral"))
    read.read()

    file.unlink()
    file.symlink_to(path / "nowhere" if kind == "dangling" else file)

    assert percentages(read) == {KEY: 50, ModelKey("default", "mistral"): 20}
    (problem,) = read.manifests.problems
    assert problem.where == "a.yaml"


def test_a_pipe_is_no_manifest_and_blocks_nobody(path: Path) -> None:
    os.mkfifo(path / "a.yaml")
    (path / "b.yaml").write_text(manifest(20))

    assert percentages(folder(path)) == {KEY: 20}


def test_an_error_that_nobody_expected_of_a_file_is_its_problem_alone(path: Path) -> None:
    def parse(text: str) -> manifests.Parsed:
        if "mistral" in text:
            raise RecursionError("deep")
        return manifests.parse(text, settings=Settings())

    (path / "a.yaml").write_text(manifest(50))
    (path / "b.yaml").write_text(manifest(20, "mistral"))
    read = Folder(path, kept=path.parent / "kept", parse=parse, together=together, overrides=by_hand(path))

    assert percentages(read) == {KEY: 50}
    assert [str(problem) for problem in read.manifests.problems] == ["b.yaml: can't be processed: RecursionError: deep"]


def test_a_copy_that_can_not_be_kept_is_a_problem_and_is_kept_later(path: Path) -> None:
    read = folder(path)
    (path.parent / "kept").write_text("no folder")
    (path / "a.yaml").write_text(manifest(50))

    assert percentages(read) == {KEY: 50}
    (problem,) = read.manifests.problems
    assert "can't be written" in problem.message
    (path.parent / "kept").unlink()
    read.read()

    assert not read.manifests.problems
    assert [copy.name for copy in (path.parent / "kept").iterdir()] == ["a.yaml"]


def test_a_copy_that_somebody_removed_is_kept_again(path: Path) -> None:
    read = folder(path)
    (path / "a.yaml").write_text(manifest(50))
    read.read()
    (path.parent / "kept" / "a.yaml").unlink()

    read.read()

    assert (path.parent / "kept" / "a.yaml").exists()


@asynccontextmanager
async def followed(read: Folder) -> AsyncIterator[None]:
    task = asyncio.create_task(read.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait((task,))


def moved(path: Path, name: str) -> None:
    path.rename(path.with_name(name))


def linked(path: Path, **percentages: int) -> None:
    """Make a folder for each, and of the path a link to the first."""
    for name, percentage in percentages.items():
        (path.parent / name).mkdir()
        (path.parent / name / "a.yaml").write_text(manifest(percentage))
    path.rmdir()
    path.symlink_to(next(iter(percentages)))


async def test_a_folder_that_is_swapped_as_a_whole_is_followed(path: Path) -> None:
    """It ended the controller, and the new folder was never looked at."""
    read = folder(path)
    (path / "a.yaml").write_text(manifest(50))
    following = path.with_name("new")
    following.mkdir()
    (following / "a.yaml").write_text(manifest(20))

    async with followed(read):
        await eventually(lambda: percentages_now(read) == {KEY: 50})
        moved(path, "old")
        await eventually(lambda: len(read.manifests.problems) == 1)
        assert percentages_now(read) == {KEY: 50}

        moved(following, path.name)
        await eventually(lambda: percentages_now(read) == {KEY: 20} and not read.manifests.problems)
        (path / "a.yaml").write_text(manifest(30))
        await eventually(lambda: percentages_now(read) == {KEY: 30})
        (path / "a.yaml").unlink()
        await eventually(lambda: percentages_now(read) == {})


async def test_a_link_that_is_turned_to_another_folder_is_followed(path: Path) -> None:
    linked(path, one=50, two=20)
    read = folder(path)

    async with followed(read):
        await eventually(lambda: percentages_now(read) == {KEY: 50})
        (path.parent / "turned").symlink_to("two")
        (path.parent / "turned").replace(path)
        await eventually(lambda: percentages_now(read) == {KEY: 20})


def percentages_now(read: Folder) -> dict[ModelKey, int]:
    return {key: spec.behavior.percentage for key, spec in read.manifests.specs.items()}


@pytest.mark.parametrize("trouble", [away, a_file_instead, no_descriptors])
def test_what_was_set_by_hand_stays_while_it_can_not_be_read_until_it_ends(path: Path, trouble: object) -> None:
    assert callable(trouble)
    clock = Now()
    read = Folder(
        path,
        kept=path.parent / "kept",
        parse=partial(manifests.parse, settings=Settings()),
        together=together,
        overrides=by_hand(path, clock),
    )
    (path / "a.yaml").write_text(manifest())
    hands = path.parent / "overrides"
    overrides.put(hands, KEY, Override(25, LATER))
    read.read()

    with trouble(hands):
        read.read()
        during = read.manifests.specs[KEY].override
        said = read.manifests.problems
        clock.time = LATER
        read.read()
        ended = read.manifests.specs[KEY].override

    assert during == Override(25, LATER)
    assert said
    assert ended is None
