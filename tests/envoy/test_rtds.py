"""The compiled messages are those of the .proto."""

import subprocess
import sys
from pathlib import Path

import pytest

from beamlit_controller.envoy import rtds_pb2

COMMITTED = Path(rtds_pb2.__file__).parent


@pytest.mark.parametrize("name", ["rtds_pb2.py", "rtds_pb2.pyi"])
def test_the_committed_messages_are_up_to_date(name: str, tmp_path: Path) -> None:
    options = ["-I.", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", "beamlit_controller/envoy/rtds.proto"]
    sources = COMMITTED.parents[1]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *options], cwd=sources, check=True)

    compiled = (tmp_path / "beamlit_controller" / "envoy" / name).read_text()
    assert (COMMITTED / name).read_text() == compiled
