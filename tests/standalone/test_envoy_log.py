"""Finds in Envoy's log why it ended."""

from pathlib import Path

import pytest

from beamlit_controller.standalone import envoy_log

AT = "[2026-11-28 11:00:00.123][4711]"
CASES = {
    "the severe lines": (
        f"""\
{AT}[warning][main] [source/a.cc:1] a warning
{AT}[error][config] [source/listener_manager_impl.cc:1405] listener 'stats' failed: cannot bind '127.0.0.1:9': in use
{AT}[critical][main] [source/server/server.cc:449] error `cannot bind '127.0.0.1:9'` in 'goo.gle/debugstr    
  /state/gateways/default.llama/bootstrap.json'
{AT}[info][main] [source/server/server.cc:1] exiting
""",  # noqa: W291 - as Envoy writes it
        "listener 'stats' failed: cannot bind '127.0.0.1:9': in use",
    ),
    "what failed, not where in its code": (
        f"""\
{AT}[critical][assert] [source/common/filesystem/inotify/watcher_impl.cc:26] assert failure: inotify_fd_ >= 0.
{AT}[error][envoy_bug] [./source/common/common/assert.h:66] #0 UNKNOWN [0x560ba7fc622c]
{AT}[critical][backtrace] [./source/server/backtrace.h:129] Caught Aborted, suspect faulting address 0x3ea
{AT}[critical][backtrace] [./source/server/backtrace.h:114] #0: [0x7f4f7e349050]
""",
        "assert failure: inotify_fd_ >= 0.",
    ),
    "the last lines where none is severe": ("one\ntwo\nthree\n", "two; three"),
    "each only once": (f"{AT}[error][main] a\n{AT}[error][main] a\n", "a"),
    "no control characters": ("\x1b[2Jevil\x00\n", " [2Jevil "),
    "nothing": ("", ""),
}


@pytest.mark.parametrize(("text", "reason"), CASES.values(), ids=CASES)
def test_gives(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "envoy.log").write_text(text)

    assert envoy_log.reason(tmp_path / "envoy.log", since=0) == reason


def test_leaves_out_what_an_earlier_process_wrote(tmp_path: Path) -> None:
    log = tmp_path / "envoy.log"
    log.write_text(f"{AT}[critical][main] old\n")
    since = envoy_log.size(log)
    log.write_text(log.read_text() + f"{AT}[critical][main] new\n")

    assert envoy_log.reason(log, since=since) == "new"


def test_reads_only_the_end_of_a_huge_log_and_says_little(tmp_path: Path) -> None:
    log = tmp_path / "envoy.log"
    log.write_bytes(b"\xff" * 10_000_000)

    assert len(envoy_log.reason(log, since=0)) <= envoy_log.LONGEST
    envoy_log.rotate(log)
    assert [path.name for path in tmp_path.iterdir()] == ["envoy.log.old"]


def test_a_log_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    log = tmp_path / "envoy.log"

    envoy_log.rotate(log)

    assert (envoy_log.size(log), envoy_log.reason(log, since=0)) == (0, "")
