"""Every reason is explained to users."""

from pathlib import Path

from beamlit_controller.core.reason import Reason

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reasons.md"


def test_every_reason_is_in_the_documentation_and_no_other() -> None:
    text = DOCS.read_text()

    unexplained = {reason.value for reason in Reason if f"`{reason.value}`" not in text}
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    explained = {word for row in rows for word in row.replace("`", "").replace(",", "").split()}

    assert unexplained == set()
    assert explained == {reason.value for reason in Reason}
