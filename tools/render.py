"""Render again what is rendered and committed: `make render`."""

from pathlib import Path

from beamlit_controller.api import reference

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Write the CRD, the reference pages, the protocol's classes and the golden files."""
    for name, text in reference.render_all().items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
