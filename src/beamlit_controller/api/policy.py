"""What the settings ask of a resource: a remote that is there and allowed, and metrics that can be asked for.

Looked at on what was given, so that these mistakes are told together with those of the resource itself.
"""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from beamlit_controller.api import addresses
from beamlit_controller.api.rules import dig
from beamlit_controller.api.settings import Settings
from beamlit_controller.core.spec import Rejected

_REMOTE = "spec.offloadingConfig.remoteBackend"
_METRICS = "spec.offloadingConfig.metrics"


def mistakes(given: Mapping[str, object], settings: Settings) -> Iterator[Rejected]:
    """Give what the settings don't allow in a `ModelDeployment`; what is wrong by itself is not repeated."""
    yield from _no_remote(given, settings)
    yield from _host(given, settings)
    yield from _token_url(given, settings)
    yield from _external_names(given, settings)


def _no_remote(given: Mapping[str, object], settings: Settings) -> Iterator[Rejected]:
    enabled = dig(given, ("spec", "enabled")) is not False
    missing = "remoteBackend" not in _mapping(dig(given, ("spec", "offloadingConfig")))
    if enabled and missing and settings.default_remote_backend is None and isinstance(given.get("spec"), Mapping):
        yield Rejected(_REMOTE, "required: here, or for all models in the settings as config.defaultRemoteBackend")


def _host(given: Mapping[str, object], settings: Settings) -> Iterator[Rejected]:
    text = dig(given, ("spec", "offloadingConfig", "remoteBackend", "host"))
    try:
        host = addresses.parse(text, default_port=443).host if isinstance(text, str) else None
    except ValueError:
        return
    refusal = addresses.refusal(host, settings.allowed_remote_hosts) if host else None
    if refusal:
        yield Rejected(f"{_REMOTE}.host", refusal)


def _token_url(given: Mapping[str, object], settings: Settings) -> Iterator[Rejected]:
    text = dig(given, ("spec", "offloadingConfig", "remoteBackend", "authConfig", "oauthConfig", "tokenUrl"))
    try:
        host = addresses.parse(urlsplit(text).netloc, default_port=443).host if isinstance(text, str) else None
    except ValueError:
        return
    refusal = addresses.refusal(host, settings.allowed_remote_hosts) if host else None
    if refusal:
        yield Rejected(f"{_REMOTE}.authConfig.oauthConfig.tokenUrl", refusal)


def _external_names(given: Mapping[str, object], settings: Settings) -> Iterator[Rejected]:
    metrics = dig(given, ("spec", "offloadingConfig", "metrics"))
    for index, each in enumerate(metrics if isinstance(metrics, list) else ()):
        identifier = _mapping(dig(each, ("external", "metric")))
        name, field = identifier.get("name"), f"{_METRICS}[{index}].external.metric"
        if not isinstance(name, str) or not name:
            continue
        if settings.prometheus is None:
            yield from _not_asked_of_prometheus(name, f"{field}.name")
        elif _selects(identifier.get("selector")) and not _SERIES_NAME.fullmatch(name):
            yield Rejected(
                f"{field}.selector",
                "goes with the name of a metric, and this is a PromQL query: write its labels there",
            )


def _not_asked_of_prometheus(name: str, field: str) -> Iterator[Rejected]:
    wrong = next((f"contain '{character}'" for character in "/%" if character in name), None)
    wrong = f"be '{name}'" if name in {".", ".."} else wrong
    if wrong:
        yield Rejected(
            field,
            f"may not {wrong}: the external metrics API has no such names; "
            "a PromQL query needs config.metricInformer.type: prometheus in the settings",
        )


def _selects(selector: object) -> bool:
    return bool(dig(selector, ("matchLabels",)) or dig(selector, ("matchExpressions",)))


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


_SERIES_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
