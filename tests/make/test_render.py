"""`make render` writes golden files: it fails only if a test fails with them."""

import os
import subprocess
from pathlib import Path

import pytest
from tools import render

pytestmark = pytest.mark.system


@pytest.fixture(autouse=True)
def _as_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide that this run has several workers: a run that has them writes no golden files."""
    for name in [each for each in os.environ if each.startswith("PYTEST_")]:
        monkeypatch.delenv(name)


CASE = """\
from pathlib import Path

from inline_snapshot import external_file


def test_case():
    assert "new" == external_file(Path(__file__).parent / "golden.txt", format=".txt")
"""


def test_golden_files_that_are_outdated_or_missing_are_written_without_an_error(tmp_path: Path) -> None:
    """Each time that there was something to write, it ended with an error, and had to be run again."""
    for name in ("outdated", "missing"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"test_{name}.py").write_text(CASE)
    (tmp_path / "outdated" / "golden.txt").write_text("old")

    render.golden_files("outdated", "missing", folder=tmp_path)

    assert [path.read_text() for path in sorted(tmp_path.glob("*/golden.txt"))] == ["new", "new"]


def test_a_test_that_fails_for_another_reason_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text("def test_other():\n    assert 1 == 2\n")

    with pytest.raises(subprocess.CalledProcessError):
        render.golden_files("test_other.py", folder=tmp_path)
