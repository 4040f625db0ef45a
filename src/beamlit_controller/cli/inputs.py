"""What commands share: reading the files that they are given, and ending with one line that says what is wrong."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import structlog
from cyclopts import Parameter

from beamlit_controller.api import settings as api_settings
from beamlit_controller.api.settings import Settings

Format = Literal["auto", "json", "console"]
Level = Literal["debug", "info", "warning", "error"]
SettingsFile = Annotated[Path | None, Parameter(name="--settings")]


def settings(path: Path | None) -> Settings:
    """Read a settings file, or give the defaults. With a mistake in it, print every mistake and end the command."""
    given = api_settings.parse(read(path)) if path else Settings()
    if isinstance(given, Settings):
        return given
    for mistake in given:
        print(f"{path}: {mistake}", file=sys.stderr)
    sys.exit(1)


def read(path: Path) -> str:
    """Read a file of UTF-8 text, or end the command."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        fail(f"{path}: {error.strerror}")
    except UnicodeDecodeError as error:
        fail(f"{path}: is no UTF-8 text: {error.reason} at byte {error.start}")


def default_state() -> Path:
    """Give the state folder of `run` where none is named."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "beamlit-controller"


def said(errors: BaseExceptionGroup[BaseException]) -> str:
    """Give the texts of all errors, however deep in the group."""
    texts = [said(each) if isinstance(each, BaseExceptionGroup) else str(each) for each in errors.exceptions]
    return "; ".join(texts)


def fail(message: str) -> NoReturn:
    """Print what is wrong and end the command with exit code 1."""
    print(f"beamlit-controller: {message}", file=sys.stderr)
    sys.exit(1)


def ended(error: Exception) -> NoReturn:
    """Say in one line what ended the controller; what nobody expected has its traceback in the log."""
    from beamlit_controller.standalone import faults  # noqa: PLC0415 - only for this
    from beamlit_controller.standalone.state_folder import StateError  # noqa: PLC0415 - only for this

    if not isinstance(error, StateError | OSError):
        structlog.get_logger().error("ended by an error that nobody expected", exc_info=error)
    fail(faults.said(error))
