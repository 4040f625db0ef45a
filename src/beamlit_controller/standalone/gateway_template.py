"""The template of standalone gateways."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from beamlit_controller.core import remote_health, traffic
from beamlit_controller.core.gateway_config import ConfigStep, Files
from beamlit_controller.core.remote_health import Attempts, SecretName
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.core.traffic import RequestCounters

BOOTSTRAP = "bootstrap.json"


@dataclass(frozen=True, slots=True)
class GatewayTemplate:
    """How to make a gateway: its files by name, and its command line, with the path of `bootstrap.json` as one argument.

    The command's number is the restart epoch: 0 for a new process, else the process takes over from the one with the
    previous number.

    `stats` selects the gateway's counters, `attempts` and `traffic` parse them, and `seen` receives the parsed
    requests, or None for a gateway that does not answer; `used` receives the page of one that does. `config_stats`
    selects the stats about its configuration, and `next_step` returns the files to give next, by that page. `secrets`
    are the folders without which Envoy rejects the remote's configuration, because it can't watch a missing folder.
    `secret_name` tells users where the key of a Secret is.
    `refusal` returns why a new process could not start beside the running one; "" if nothing is known to prevent it.
    """

    files: Callable[[OffloadSpec, Path], Mapping[str, str]]
    command: Callable[[OffloadSpec, Path, int], Sequence[str]]
    secrets: Callable[[OffloadSpec], Sequence[Path]]
    stats: str
    attempts: Callable[[str], Mapping[str, Attempts]]
    traffic: Callable[[str], RequestCounters] = lambda _: traffic.NOTHING
    seen: Callable[[ModelKey, RequestCounters | None], None] = lambda _key, _counted: None
    used: Callable[[ModelKey, str, RequestCounters], None] = lambda _key, _page, _counted: None
    config_stats: str = "version_text$"
    secret_name: SecretName = remote_health.in_cluster
    refusal: Callable[[OffloadSpec], str] = lambda _: ""
    next_step: Callable[[Files, Files, str], ConfigStep] = lambda _present, requested, _page: ConfigStep(
        requested, settled=True
    )
