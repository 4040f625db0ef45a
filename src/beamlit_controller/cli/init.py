"""`init`: write a folder with everything that `run` needs for one model on this machine."""

import getpass
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from beamlit_controller.api.presets import PRESETS
from beamlit_controller.cli import inputs, scaffold
from beamlit_controller.cli.scaffold import KEY, NO_PRESET, Setup


def init(
    folder: Path = Path("beamlit"),
    *,
    local: str = "",
    remote: str = "",
    preset: str = "",
    name: str = "",
    listen: str = "",
    web_listen: str = "127.0.0.1:8081",
    in_flight: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    first_byte: Annotated[float | None, Parameter(validator=validators.Number(gt=0, lte=3600))] = None,
    remote_key: Path | None = None,
    remote_model: str = "",
    systemd: Annotated[bool, Parameter(negative="")] = False,
    compose: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Write a manifest and settings for one model on this machine. At a terminal, missing values are asked for.

    Parameters
    ----------
    folder
        Directory to write to, created if necessary. Existing files are never overwritten.
    local
        host:port of the model server; separate several servers by commas.
    remote
        Base URL of the remote, such as https://api.example.com.
    preset
        Kind of the model server, such as vllm or llamacpp; none for any other that speaks HTTP.
    name
        Name of the model; by default "model".
    listen
        Listen address of the gateway for clients. Default: 127.0.0.1:8080, or 127.0.0.1:8090 if a model server is at the former.
    web_listen
        Listen address of the controller: page, metrics, explain and top.
    in_flight
        Maximum concurrent requests per local server; excess requests go to the remote.
    first_byte
        For servers without metrics: the mean time to the first byte of local responses, in seconds, above which requests leave. The gateway measures it.
    remote_key
        File with the API key of the remote; it is copied, with mode 0600.
    remote_model
        The model's name at the remote, if it differs.
    systemd
        Also write a systemd unit.
    compose
        Also write a compose file.
    """
    asks = sys.stdin.isatty()
    try:
        _new_folder(folder.absolute())
        servers = tuple(_given(local, "--local", "host:port of the model server", _servers, asks=asks).split(","))
        setup = Setup(
            folder=folder.absolute(),
            local=servers,
            preset=_given(preset, "--preset", _kinds(), scaffold.known_preset, asks=asks),
            remote=_given(remote, "--remote", "base URL of the remote", scaffold.known_remote, asks=asks),
            name=_given(name, "--name", _NAME, scaffold.known_name, asks=asks, default="model"),
            listen=scaffold.listener("--listen", listen) if listen else scaffold.listen_beside(servers),
            web_listen=scaffold.listener("--web-listen", web_listen),
            remote_model=remote_model or _optional(_REMOTE_MODEL, asks=asks),
            most_in_flight=in_flight or _most_in_flight(asks=asks),
            first_byte=first_byte,
        )
        if first_byte is None and setup.most_in_flight is None and not PRESETS.get(setup.preset):
            setup = replace(setup, first_byte=_seconds(asks=asks))
        key = _key(remote_key, asks=asks)
        setup = replace(setup, has_key=bool(key))
        _write(setup, _texts(setup, systemd=systemd, compose=compose), key)
    except EOFError:
        inputs.fail("the input ended before all questions were answered; nothing was written")
    except OSError as error:
        inputs.fail(f"{error.filename or folder}: {error.strerror or error}")
    except ValueError as error:
        inputs.fail(str(error))
    _say(setup, systemd=systemd, compose=compose)


def _new_folder(folder: Path) -> None:
    """Fail before asking any questions if the folder is already initialized. Raises ValueError."""
    if os.path.lexists(folder / "settings.yaml"):
        raise ValueError(f"already exists and is not overwritten: {folder / 'settings.yaml'}")


def _kinds() -> str:
    return f"kind of the model server ({', '.join(PRESETS)}; {NO_PRESET} if it is none of these)"


def _servers(text: str) -> str:
    return ",".join(map(scaffold.local, text.split(",")))


def _given(
    value: str, flag: str, what: str, read: Callable[[str], str], *, asks: bool, default: str | None = None
) -> str:
    """Return the value, or ask until it is valid. Raises ValueError with the flag if it is invalid and nobody can be asked."""
    while True:
        given = value or _optional(f"{what}: ", asks=asks) or default
        try:
            return read(_something(given, what, asks=asks))
        except ValueError as error:
            if value or not asks:
                raise ValueError(f"{flag}: {error}") from error
            inputs.say(f"  {error}", file=sys.stderr)


def _something(given: str | None, what: str, *, asks: bool) -> str:
    if not given:
        raise ValueError("a value is required" if asks else f"expected the {what}, got nothing")
    return given


def _optional(question: str, *, asks: bool) -> str:
    """Ask at a terminal; "" without an answer or a terminal."""
    return input(question).strip() if asks else ""


_NAME = "name of the model here (empty for model)"
_REMOTE_MODEL = "the model's name at the remote (empty if it is what clients send): "


def _most_in_flight(*, asks: bool) -> int | None:
    """Ask how many requests a server processes concurrently; None if unknown."""
    what = "requests that one server processes concurrently, such as --parallel of llama.cpp (empty to learn it): "
    while text := _optional(what, asks=asks):
        if re.fullmatch("[1-9][0-9]{0,8}", text):
            return int(text)
        print(f"  expected a positive integer, or nothing, got {text!r}", file=sys.stderr)
    return None


def _seconds(*, asks: bool) -> float | None:
    """Ask for a time to first byte; None for no limit."""
    while text := _optional(_FIRST_BYTE, asks=asks):
        if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?", text) and float(text):
            return float(text)
        print(f"  expected seconds such as 2 or 0.5, or nothing, got {text!r}", file=sys.stderr)
    return None


_FIRST_BYTE = "the server has no metrics: seconds to the first byte above which requests leave (empty for no limit): "


def _key(file: Path | None, *, asks: bool) -> str:
    """Read the API key of the remote from its file, or ask for it; "" for none. Raises ValueError."""
    if file is not None:
        try:
            return inputs.text(file).strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ValueError(f"--remote-key: can't read {file}: {why}") from error
    return getpass.getpass("API key of the remote (empty for none): ").strip() if asks else ""


def _texts(setup: Setup, *, systemd: bool, compose: bool) -> Mapping[Path, str]:
    texts = scaffold.files(setup)
    if systemd:
        texts[setup.folder / "beamlit-controller.service"] = scaffold.systemd(setup, _program())
    if compose:
        user = f"{os.getuid()}:{os.getgid()}"
        texts[setup.folder / "compose.yaml"] = scaffold.compose(setup, version("beamlit-controller"), user)
    return texts


def _program() -> str:
    """Return the path of this command in the environment it is installed in."""
    return str(Path(sys.executable).parent / "beamlit-controller")


def _write(setup: Setup, texts: Mapping[Path, str], key: str) -> None:
    """Write all files, or none if one exists. Raises ValueError and OSError."""
    secret = setup.folder / KEY
    there = [path for path in (*texts, *([secret] if key else [])) if os.path.lexists(path)]
    if there:
        raise ValueError(f"already exists and is not overwritten: {', '.join(map(str, there))}")
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        _new(path, text, 0o644)
    if key:
        secret.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _new(secret, key, 0o600)


def _new(path: Path, text: str, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)


def _say(setup: Setup, *, systemd: bool, compose: bool) -> None:
    print(f"Written to {setup.folder}. Check it, run it, and send requests to http://{setup.listen}:\n")
    print(
        f"  beamlit-controller check --standalone {shlex.quote(str(setup.manifest))} {shlex.quote(str(setup.settings))}"
    )
    print(f"  {shlex.join(setup.command('beamlit-controller'))}")
    if systemd:
        print(f"  systemctl --user enable --now {shlex.quote(str(setup.folder / 'beamlit-controller.service'))}")
    if compose:
        print(f"  docker compose --file {shlex.quote(str(setup.folder / 'compose.yaml'))} up --detach --build")
