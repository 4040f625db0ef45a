import asyncio
import sys
from pathlib import Path

import psutil
import pytest

from kube.processes import ROOT
from waiting import eventually

OPENS_A_ROOM = """
import sys, time
from pathlib import Path
sys.path.insert(0, "tests")
from kube import netns, processes
with processes.held(Path(sys.argv[1])) as outside, netns.opened(Path(sys.argv[1]), outside) as opened:
    opened.inside.run("sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & :")
    print(outside.pid("room"), flush=True)
    time.sleep(1000)
"""


@pytest.mark.usefixtures("takes_root")
async def test_nothing_in_a_room_outlives_tests_that_are_killed(tmp_path: Path) -> None:
    command = (sys.executable, "-c", OPENS_A_ROOM, str(tmp_path))
    tests = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert tests.stdout
    room = psutil.Process(int(await tests.stdout.readline()))
    await eventually(lambda: any(each.cmdline() == ["sleep", "1000"] for each in room.children(recursive=True)))
    inside = room.children(recursive=True)

    tests.kill()
    await tests.wait()

    await eventually(lambda: not any(process.is_running() for process in inside), within=60)
