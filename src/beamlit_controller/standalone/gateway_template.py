"""The template of standalone gateways."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from beamlit_controller.core import traffic
from beamlit_controller.core.gateway_config import ConfigStep, Files
from beamlit_controller.core.remote_health import Attempts
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.core.traffic import RequestCounters

BOOTSTRAP = "bootstrap.json"


@dataclass(frozen=True, slots=True)
class GatewayTemplate:
    """What a gateway is made of: its files by name, and its command line, with the path of `bootstrap.json` as one argument.

    The command's number is 0 for a process of its own, else it takes over from the running one with the number before.

    `stats` names what is read of the gateway's counts, `attempts` and `traffic` understand it, and `seen` is told what came
    of the requests, or None for a gateway that does not answer; `used` is given the page of one that does. `config_stats` names what is read of its configuration, and
    `next_step` gives the files that follow the present ones on the way to those asked for, by that page. `secrets` are the
    folders without which Envoy refuses what leads to the remote: it can't watch what is not there.
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
    next_step: Callable[[Files, Files, str], ConfigStep] = lambda _present, asked, _page: ConfigStep(
        asked, settled=True
    )
