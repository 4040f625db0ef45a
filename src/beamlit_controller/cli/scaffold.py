"""The text that `init` writes: manifest, settings, systemd unit and compose file. It is validated before it is returned."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from beamlit_controller.api import addresses, standalone_rules
from beamlit_controller.api import settings as api_settings
from beamlit_controller.api.presets import PRESETS
from beamlit_controller.api.settings import Settings
from beamlit_controller.core.metric_spec import GatewayFigure

NO_PRESET = "none"
FIRST_BYTE = GatewayFigure.FIRST_BYTE.value
KEY = Path("secrets/remote/api-key")
SECONDS = 330
"""Timeout of a stop: by default, gateways finish the requests in flight for at most 300 s."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The user's answers, as typed; `folder` is absolute."""

    folder: Path
    local: Sequence[str]
    remote: str
    preset: str
    name: str = "model"
    listen: str = "127.0.0.1:8080"
    web_listen: str = "127.0.0.1:8081"
    remote_model: str = ""
    has_key: bool = False
    most_in_flight: int | None = None
    first_byte: float | None = None

    @property
    def manifests(self) -> Path:
        """Return the folder of manifests."""
        return self.folder / "manifests"

    @property
    def manifest(self) -> Path:
        """Return the path of the manifest."""
        return self.manifests / f"{self.name}.yaml"

    @property
    def settings(self) -> Path:
        """Return the path of the settings."""
        return self.folder / "settings.yaml"

    def command(self, program: str) -> Sequence[str]:
        """Return the command line that runs the setup."""
        return (
            program,
            *("run", "--manifests", str(self.manifests), "--settings", str(self.settings)),
            *("--state-dir", str(self.folder / "state")),
        )


def files(setup: Setup) -> dict[Path, str]:
    """Return manifest and settings by path. Raises ValueError with all mistakes if they could not be run."""
    for name, ours in (("--listen", setup.listen), ("--web-listen", setup.web_listen)):
        if any(_same_place(ours, local(each)) for each in setup.local):
            raise ValueError(f"{name}: the model server itself is at {ours}; choose another address")
    if _same_place(setup.listen, setup.web_listen):
        raise ValueError(f"--listen: the same address as --web-listen, {setup.web_listen}; choose another address")
    if setup.first_byte is not None and PRESETS.get(setup.preset):
        raise ValueError(f"--first-byte: the preset {setup.preset} has metrics of its own; remove one of the two")
    settings, manifest = _settings(setup), _manifest(setup)
    mistakes = list(_mistakes(settings, manifest))
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return {setup.settings: settings, setup.manifest: manifest}


def local(text: str) -> str:
    """Parse a local server's host:port, or a pasted URL. Raises ValueError."""
    given = text.strip()
    if given.startswith("https://"):
        raise ValueError(f"expected a local server that speaks plain http, got {given}")
    return str(addresses.parse(urlsplit(given).netloc if given.startswith("http://") else given))


def listener(flag: str, text: str) -> str:
    """Check a listen address. Raises ValueError with the flag."""
    try:
        return str(addresses.parse(text, lowest_port=0))
    except ValueError as error:
        raise ValueError(f"{flag}: {error}") from error


def known_name(text: str) -> str:
    """Check the model's name. Raises ValueError."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,53}[a-z0-9])?", text, re.ASCII):
        raise ValueError(f"expected a name of at most 55 lower-case letters, digits and '-', got {text!r}")
    return text


def listen_beside(servers: Sequence[str]) -> str:
    """Return the gateway's default listen address, avoiding the ports of the model servers, such as llama.cpp's default."""
    return next(each for each in LISTEN if not any(_same_place(each, local(server)) for server in servers))


LISTEN = tuple(f"127.0.0.1:{port}" for port in (8080, *range(8090, 8200)))
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def _same_place(one: str, other: str) -> bool:
    first, second = addresses.parse(one), addresses.parse(other)
    hosts = {first.host.lower(), second.host.lower()}
    return first.port == second.port != 0 and (len(hosts) == 1 or hosts <= LOOPBACK or bool(hosts & {"0.0.0.0", "::"}))  # noqa: S104 - compared, not bound


def _mistakes(settings: str, manifest: str) -> Iterator[str]:
    parsed = api_settings.parse(settings)
    if isinstance(parsed, Settings):
        yield from map(str, standalone_rules.parse(manifest, settings=parsed).problems)
    else:
        yield from map(str, parsed)


# The settings.


def _settings(setup: Setup) -> str:
    host = _remote(setup.remote)["host"]
    bare = addresses.parse(host, default_port=443).host
    servers = ", ".join(_quoted(local(each)) for each in setup.local)
    return f"""\
# Settings of beamlit-controller. What else there is: docs/reference/settings.md
config:
  allowedRemoteHosts: [{_quoted(bare)}] # nothing is ever sent to any other host
  standalone:
    services:
      default/{setup.name}: [{servers}] # the model servers
    listen:
      default/{setup.name}: {_quoted(setup.listen)} # clients send their requests here
    webListen: {_quoted(setup.web_listen)} # page, /metrics, explain and top
    secretsDirectory: {_quoted(str(setup.folder / "secrets"))} # a Secret's key is the file secrets/NAME/KEY
"""


# The manifest.


def _manifest(setup: Setup) -> str:
    metrics = (
        f"\n  metricServiceRef: {_service(setup)} # the servers' own /metrics" if setup.preset != NO_PRESET else ""
    )
    return f"""\
# Local first; requests for which local has no capacity go to the remote. Changes take effect while the controller runs.
apiVersion: deployment.beamlit.com/v1alpha1
kind: ModelDeployment
metadata:
  name: {setup.name}
  namespace: default
spec:
  serviceRef: {_service(setup)}{metrics}
  offloadingConfig:
    remoteBackend:
{_indented(_backend(setup), 6)}
{_indented(_when(setup), 4)}
"""


def _service(setup: Setup) -> str:
    port = addresses.parse(local(setup.local[0])).port
    return f"{{name: {setup.name}, targetPort: {port}}}"


def _backend(setup: Setup) -> Iterator[str]:
    for field, value in _remote(setup.remote).items():
        yield f"{field}: {_quoted(value)}"
    if setup.remote_model:
        yield f"modelName: {_quoted(setup.remote_model)} # the remote's name for what clients call {setup.name}; see modelNames for more"
    if setup.has_key:
        yield f"authConfig: {{type: apiKey, apiKeyConfig: {{secretRef: {{name: {KEY.parent.name}, key: {KEY.name}}}}}}}"


def _when(setup: Setup) -> Iterator[str]:
    yield "overflow:"
    if setup.most_in_flight is not None:
        yield f"  maxInFlightPerReplica: {setup.most_in_flight} # requests at once per local server; excess ones go to the remote"
    yield "  onStatus: [429, 503] # requests that a local server rejects go to the remote"
    if setup.preset != NO_PRESET:
        yield f"preset: {setup.preset} # metrics and targets that fit the server"
    if not PRESETS.get(setup.preset) and setup.first_byte is not None:
        yield "metrics:"
        yield "  - type: Gateway # measured by the gateway, so the server needs no metrics"
        yield "    gateway:"
        yield f"      metric: {{name: {FIRST_BYTE}}}"
        yield f'      target: {{type: Value, value: "{setup.first_byte:g}"}} # seconds until local responses begin'
    if PRESETS.get(setup.preset) or setup.first_byte is not None:
        yield "behavior:"
        yield "  mode: Adaptive # local gets as many requests as keep the metric at its target; the excess leaves immediately"
        yield "  percentage: 100 # upper limit of the offloaded share; requests above it wait locally"
    else:
        yield "behavior: {percentage: 0} # metrics offload no share of the requests"


def _remote(text: str) -> Mapping[str, str]:
    """Convert the remote's URL to fields of remoteBackend. A final /v1 is dropped, because clients send it."""
    given = text.strip() if "://" in text else f"https://{text.strip()}"
    url = addresses.parse_url(given, example="https://api.example.com")
    if "@" in url.netloc:
        raise ValueError("remote: a URL with a user or password is not accepted; give the API key separately")
    path = re.sub(r"/v1$", "", url.path.rstrip("/"))
    fields = {"scheme": url.scheme, "host": url.netloc}
    return fields | ({"pathPrefix": path} if path else {})


def known_remote(text: str) -> str:
    """Check the remote's URL. Raises ValueError."""
    host = _remote(text)["host"]
    addresses.parse(host, default_port=443)
    return text


def known_preset(text: str) -> str:
    """Read the name of a preset, or `none`. Raises ValueError."""
    if text not in {NO_PRESET, *PRESETS}:
        raise ValueError(f"expected one of {', '.join(PRESETS)} or {NO_PRESET}, got {text!r}")
    return text


# Starting at boot.


def systemd(setup: Setup, program: str) -> str:
    """Return a systemd unit, for the system or for a user."""
    words = (*setup.command(program), "--leave-gateways")
    command = " ".join(_unit_word(word) for word in words)
    return f"""\
[Unit]
Description=beamlit-controller: local models first, a remote when they are saturated
After=network-online.target
Wants=network-online.target

[Service]
Type=exec
ExecStart={command}
# Starts anew with new settings, or another version of the package; the gateways serve on.
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=1
# Only the controller is stopped. The gateways serve on, and the next controller adopts them: a restart loses no request.
# To end them as well: systemctl stop, then `beamlit-controller stop --state-dir` with the folder above.
KillMode=process
TimeoutStopSec={SECONDS}
LimitNOFILE=65536
NoNewPrivileges=yes

[Install]
WantedBy=default.target
"""


def compose(setup: Setup, version: str, user: str) -> str:
    """Return a compose file. It uses the host's network, so that the addresses in the settings mean the same."""
    command = json.dumps(setup.command("beamlit-controller"))
    return f"""\
services:
  beamlit-controller:
    build:
      dockerfile_inline: |
        FROM python:3.12-slim
        RUN pip install --no-cache-dir beamlit-controller=={version}
    command: {command}
    network_mode: host
    user: {_quoted(user)}
    volumes: [{_quoted(f"{setup.folder}:{setup.folder}")}]
    init: true
    stop_grace_period: {SECONDS}s
    restart: unless-stopped
"""


def _unit_word(word: str) -> str:
    escaped = word.replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if re.search(r"\s", escaped) else escaped


def _indented(lines: Iterator[str], by: int) -> str:
    return "\n".join(" " * by + line for line in lines)


def _quoted(text: str) -> str:
    """Format text as YAML, of which JSON is a subset."""
    return json.dumps(text)
