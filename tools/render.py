"""Render again what is rendered and committed: `make render`."""

import subprocess
import sys
from pathlib import Path

from tools import chart, dashboards, reference

ROOT = Path(__file__).parent.parent
PROTOCOL = ("-I.", "--python_out=.", "--pyi_out=.", "beamlit_controller/envoy/rtds.proto")
SNAPSHOTS = (
    "tests/golden",
    "tests/envoy",
    "tests/kubernetes",
    "tests/cli",
    "tests/telemetry",
    "tests/api",
)


def main() -> None:
    """Write the reference pages with the CRD, the protocol's classes, and the golden files of the tests."""
    for name, text in {**reference.render_all(), **chart.render_all(), **dashboards.render_all()}.items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    _python("grpc_tools.protoc", *PROTOCOL, folder=ROOT / "src")
    golden_files(*SNAPSHOTS, folder=ROOT)


def golden_files(*tests: str, folder: Path) -> None:
    """Write the golden files of tests, and fail if a test fails with them.

    inline-snapshot reports an error for every test whose golden file it has written, so these tests run again.
    """
    try:
        _python("pytest", *tests, "-q", "--inline-snapshot=fix,create", folder=folder)
    except subprocess.CalledProcessError:
        _python("pytest", *tests, "-q", "--last-failed", folder=folder)


def _python(module: str, *arguments: str, folder: Path) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], cwd=folder, check=True)  # noqa: S603 - our own commands


if __name__ == "__main__":
    main()
