"""What commands share: reading files, running until done, and reporting an error in one line."""

import asyncio
import os
import pwd
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Literal, NoReturn, TextIO

import structlog
from cyclopts import Parameter

from beamlit_controller.api import settings as api_settings
from beamlit_controller.api.settings import Settings
from beamlit_controller.core import printable

Format = Literal["auto", "json", "console"]
Level = Literal["debug", "info", "warning", "error"]
LARGEST = 16 * 1024 * 1024
"""Maximum size in bytes of a file that a command reads."""
SettingsFile = Annotated[Path | None, Parameter(name="--settings")]
Namespace = Annotated[str, Parameter(alias="-n")]


def settings(path: Path | None) -> Settings:
    """Read a settings file; None gives the defaults. If it is invalid, print every mistake and exit with 1."""
    given = api_settings.parse(read(path)) if path else Settings()
    if isinstance(given, Settings):
        return given
    for mistake in given:
        say(f"{path}: {mistake}", file=sys.stderr)
    sys.exit(1)


def read(path: Path) -> str:
    """Read a UTF-8 text file; if that fails, print why and exit with 1."""
    try:
        return text(path)
    except OSError as error:
        fail(f"{path}: {error.strerror}")
    except UnicodeDecodeError as error:
        fail(f"{path}: is not UTF-8 text: {error.reason} at byte {error.start}")


def text(path: Path) -> str:
    """Return the content of a file in UTF-8, which may be a pipe. Raises OSError and UnicodeDecodeError."""
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise OSError(0, f"it is larger than {LARGEST // 1024 // 1024} MiB", os.fspath(path))
    return content.decode()


def qualified(name: str, namespace: str) -> str:
    """Return NAMESPACE/NAME, or NAME if there is no namespace; on two different namespaces, print that and exit with 1."""
    stated, slash, _ = name.rpartition("/")
    if not slash:
        return f"{namespace}/{name}" if namespace else name
    if namespace not in {"", stated}:
        fail(f"--namespace: expected the namespace of {name}, or none, got {namespace}")
    return name


def user() -> str:
    """Return the name of the user who runs the command, or the number if the user has no name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def default_state() -> Path:
    """Return the default state folder of `run`."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "beamlit-controller"


def run(work: Coroutine[object, object, None], *, overdue: str = "") -> None:
    """Run until done; an error of the API server or the system is printed as one line, with exit code 1.

    A TimeoutError is printed as `overdue`, if that is given.
    """
    from beamlit_controller.kubernetes.api_server import ApiError  # noqa: PLC0415 - the HTTP client is slow to import

    failure = ""
    try:
        asyncio.run(work)
    except* TimeoutError as errors:
        failure = overdue or messages_of(errors)
    except* (ApiError, OSError) as errors:
        failure = messages_of(errors)
    if failure:
        fail(failure)


def messages_of(errors: BaseExceptionGroup[BaseException]) -> str:
    """Join the messages of all errors in a group, nested groups included."""
    texts = [messages_of(each) if isinstance(each, BaseExceptionGroup) else str(each) for each in errors.exceptions]
    return "; ".join(texts)


def say(text: str, *, file: TextIO | None = None) -> None:
    """Print a line, which may quote foreign text: control characters are escaped. By default to standard output."""
    print(printable.line(text), file=file)


def fail(message: str) -> NoReturn:
    """Print an error message and exit with 1."""
    say(f"beamlit-controller: {message}", file=sys.stderr)
    sys.exit(1)


def ended(error: Exception) -> NoReturn:
    """Describe in one line what ended the controller; the traceback of an unexpected error is in the log."""
    from beamlit_controller.standalone import faults  # noqa: PLC0415 - only for this
    from beamlit_controller.standalone.state_folder import StateError  # noqa: PLC0415 - only for this

    if not isinstance(error, StateError | OSError):
        structlog.get_logger().error("ended by an unexpected error", exc_info=error)
    fail(faults.message_of(error))
