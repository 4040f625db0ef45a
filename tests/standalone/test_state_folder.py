"""One controller at a time in a state folder."""

import os
import stat
from pathlib import Path

import pytest

from beamlit_controller.standalone import state_folder
from beamlit_controller.standalone.state_folder import StateError


def test_a_second_controller_is_refused(tmp_path: Path) -> None:
    with (
        state_folder.locked(tmp_path / "state"),
        pytest.raises(StateError, match="another controller is using"),
        state_folder.locked(tmp_path / "state"),
    ):
        pass


def test_the_folder_is_free_again_afterwards(tmp_path: Path) -> None:
    with state_folder.locked(tmp_path / "state"):
        pass

    with state_folder.locked(tmp_path / "state") as again:
        assert again.root == tmp_path / "state"


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StateError, match="can't be used"), state_folder.locked(tmp_path / "file" / "state"):
        pass


def test_clearing_leaves_nothing_behind(tmp_path: Path) -> None:
    with state_folder.locked(tmp_path / "state") as place:
        for folder in (place.gateways, place.decisions, place.manifests, place.overrides):
            folder.mkdir()
        for folder in (place.gateways, place.manifests):
            (folder / "file").write_text("")
        place.shares.write_text("")
        place.clear()

    assert list(tmp_path.iterdir()) == []


def test_clearing_keeps_the_history_and_what_was_set_by_hand(tmp_path: Path) -> None:
    with state_folder.locked(tmp_path / "state") as place:
        for folder in (place.decisions, place.overrides):
            folder.mkdir()
            (folder / "default.llama.json").write_text("")
        place.clear()

    assert {path.name for path in place.root.iterdir()} == {"decisions", "overrides"}


def test_clearing_keeps_what_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")

    with state_folder.locked(tmp_path) as place:
        place.clear()

    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_folder_that_everybody_can_write_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)

    with pytest.raises(StateError, match="is writable by everyone"), state_folder.locked(tmp_path):
        pass

    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("owner", "group", "mode", "safe"),
    [
        (1000, 1000, 0o700, True),
        (1000, 1000, 0o755, True),
        (1000, 1000, 0o775, True),
        (0, 1000, 0o2775, True),
        (1000, 100, 0o755, True),
        (1001, 1000, 0o700, False),
        (1000, 1000, 0o757, False),
        (0, 0, 0o1777, False),
        (1000, 100, 0o775, False),
        (0, 0, 0o2775, False),
    ],
)
def test_state_is_kept_where_no_other_user_can_put_files(owner: int, group: int, mode: int, *, safe: bool) -> None:
    folder = os.stat_result((stat.S_IFDIR | mode, 0, 0, 2, owner, group, 0, 0, 0, 0))

    assert (state_folder.unsafe(folder, user=1000, group=1000) == "") is safe
