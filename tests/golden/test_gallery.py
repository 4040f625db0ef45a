"""The gallery of behaviour: each folder shows one, from a manifest and readings to decisions, status and Envoy's files.

`gallery` says what the inputs are. The list in README.md and each `outcome.yaml` are rendered:
`pytest tests/golden --inline-snapshot=fix,create` brings them up to date.
"""

from pathlib import Path

import pytest
import yaml
from inline_snapshot import external_file

from golden import gallery

HERE = Path(__file__).parent
CASES = sorted(path.name for path in HERE.iterdir() if (path / "model.yaml").exists())


@pytest.fixture(scope="module")
def outcomes() -> dict[str, gallery.Json]:
    return {case: gallery.outcome(HERE / case) for case in CASES}


@pytest.mark.parametrize("case", CASES)
def test_the_case_comes_to_its_outcome(case: str, outcomes: dict[str, gallery.Json]) -> None:
    outcome = outcomes[case]

    written = yaml.safe_dump(outcome, sort_keys=False, allow_unicode=True, width=120)

    assert outcome
    assert written == external_file(HERE / case / "outcome.yaml", format=".txt")


@pytest.mark.parametrize("case", CASES)
def test_only_what_a_case_says_is_absent_from_envoys_files(case: str, outcomes: dict[str, gallery.Json]) -> None:
    shown = outcomes[case].get("envoy", {})

    absent = [label for label, part in shown.items() if part == gallery.ABSENT]

    assert absent == [label for label in shown if label.startswith("no ")]


def test_no_two_cases_come_to_the_same(outcomes: dict[str, gallery.Json]) -> None:
    written = {yaml.safe_dump(outcome) for outcome in outcomes.values()}

    assert len(written) == len(outcomes)


def test_the_gallery_has_a_list_of_what_it_shows() -> None:
    lines = (f"- [{case}]({case}): {said(case)}" for case in CASES)

    listed = "\n".join(["# What the controller does", "", *lines, ""])

    assert listed == external_file(HERE / "README.md", format=".txt")


def said(case: str) -> str:
    """Return the sentence that a case begins with."""
    first = (HERE / case / "model.yaml").read_text().splitlines()[0]
    assert first.startswith("# "), first
    assert first.endswith("."), first
    return first.removeprefix("# ")
