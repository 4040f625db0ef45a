"""Build the documentation site: `make docs`.

The pages are those that are read in the repository, and keep their places, so that a link works on both sides: this collects them,
with the files that they link to, into `build/pages`, and has zensical make `build/site` of them. A warning, such as a link that leads
nowhere, ends it with an error.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = ROOT / "build" / "pages"
COLLECTED: Final = (
    "*.md",
    "LICENSE",
    "docs/**/*",
    "examples/*",
    "chart/README.md",
    "chart/dashboards/*",
    "tests/golden/README.md",
)


def main() -> None:
    """Collect the pages and build the site; exits with zensical's code."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for path in sorted({path for pattern in COLLECTED for path in ROOT.glob(pattern) if path.is_file()}):
        target = PAGES / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    sys.exit(subprocess.run(["zensical", "build", "--strict", "--clean"], cwd=ROOT, check=False).returncode)  # noqa: S607 - our own command


if __name__ == "__main__":
    main()
