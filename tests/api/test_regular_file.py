"""Files that somebody may replace by a pipe, a device or a huge file."""

import os
from pathlib import Path

import pytest

from beamlit_controller.api import regular_file

DESCRIPTORS = Path("/proc/self/fd")


def test_the_content_of_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("é" * 4)

    assert regular_file.text(file, 8) == "éééé"


def test_a_larger_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 9)

    with pytest.raises(OSError) as refused:  # noqa: PT011 - its strerror is what counts
        regular_file.read(file, 8)

    assert refused.value.strerror == "it is larger than 8 bytes"


def test_a_pipe_is_refused_at_once_even_if_nobody_writes_to_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    for refusing in (regular_file.read, regular_file.expect):
        with pytest.raises(OSError) as refused:  # noqa: PT011 - the same
            refusing(pipe)
        assert refused.value.strerror == "it is not a regular file"


def test_a_symbolic_link_is_followed_as_kubernetes_mounts_a_secret(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "token").write_text("abc")
    (tmp_path / "token").symlink_to(Path("..data") / "token")

    assert regular_file.text(tmp_path / "token") == "abc"
    regular_file.expect(tmp_path / "token")
    regular_file.expect(None)


def test_what_is_refused_leaves_no_descriptor_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = len(tuple(DESCRIPTORS.iterdir()))

    for path in (tmp_path, tmp_path / "pipe", tmp_path / "none"):
        with pytest.raises(OSError):  # noqa: PT011 - any reason
            regular_file.read(path)

    assert len(tuple(DESCRIPTORS.iterdir())) == before
