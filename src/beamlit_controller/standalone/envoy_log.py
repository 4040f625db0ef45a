"""Finds the reason in Envoy's log why it ended."""

import os
import re
from pathlib import Path

LARGEST = 4 * 1024 * 1024
"""Size in bytes above which the log is rotated when Envoy is restarted."""
READ = 16 * 1024
LINES = 2
LONGEST = 400
"""Maximum length of the reason."""
_SEVERE = re.compile(r"\[(?:critical|error)\](?!\[(?:backtrace|envoy_bug)\])(?!.*goo\.gle/debug)")
"""Severe messages, except stack traces and repetitions of an error as protobuf text, which differs each time."""
_PREFIX = re.compile(r"^(?:\[[^\]]*\]\s*){1,5}")
_REFUSED = re.compile(r"update (?:rejected|failure): ")
_LAST_WORDS = re.compile(r"^exiting$")


def rotate(path: Path) -> None:
    """Rotate a long log, replacing the previously rotated one."""
    try:
        if path.stat().st_size > LARGEST:
            path.replace(path.with_suffix(".log.old"))
    except FileNotFoundError:
        return


def size(path: Path) -> int:
    """Return the log's size, 0 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def reason(path: Path, *, since: int) -> str:
    """Return the last severe messages written after the first `since` bytes, or the last lines if none is severe."""
    lines = [line for line in _tail(path, since).splitlines() if line.strip()]
    severe = [line for line in lines if _SEVERE.search(line)]
    words = [_PREFIX.sub("", line).strip() for line in severe or lines]
    found = dict.fromkeys(word for word in words if word and not _LAST_WORDS.match(word))
    return "; ".join("".join(c if c.isprintable() else " " for c in each) for each in list(found)[-LINES:])[:LONGEST]


def refusal(path: Path, *, since: int) -> str:
    """Return the last message about a rejected file, written after the first `since` bytes; "" if there is none."""
    refused = [line for line in _tail(path, since).splitlines() if _REFUSED.search(line)]
    return (
        "".join(c if c.isprintable() else " " for c in _PREFIX.sub("", refused[-1]).strip())[:LONGEST]
        if refused
        else ""
    )


def _tail(path: Path, since: int) -> str:
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(since if since <= end else 0, end - READ))
            return file.read(READ).decode(errors="replace")
    except OSError:
        return ""
