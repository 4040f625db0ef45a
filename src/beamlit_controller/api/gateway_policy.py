"""Checks a resource's gateway and Secrets against the settings: images, replicas, resources, Secret names.

It checks the raw manifest, like `policy`, so that these mistakes are reported together with those of the resource.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from beamlit_controller.api import problems, remotes
from beamlit_controller.api.rules import dig
from beamlit_controller.api.settings import GatewayBounds
from beamlit_controller.core import quantity
from beamlit_controller.core.spec import Rejected

_GATEWAY = "spec.gateway"


def mistakes(given: Mapping[str, object], bounds: GatewayBounds) -> Iterator[Rejected]:
    """Yield what the settings do not allow. Other mistakes are reported elsewhere."""
    yield from _image(dig(given, ("spec", "gateway", "image")), bounds)
    yield from _replicas(dig(given, ("spec", "gateway", "replicas")), bounds)
    yield from _resources(dig(given, ("spec", "gateway", "resources")), bounds)
    yield from _secrets(given, bounds)


def _image(image: object, bounds: GatewayBounds) -> Iterator[Rejected]:
    if isinstance(image, str) and image and not _matches(image, bounds.images):
        listed = ", ".join(bounds.images) or "which is empty: the controller's own image only"
        message = f"expected an image of config.allowedGatewayImages ({listed}), got {problems.came(image)}"
        yield Rejected(f"{_GATEWAY}.image", message)


def _replicas(replicas: object, bounds: GatewayBounds) -> Iterator[Rejected]:
    if isinstance(replicas, int) and bounds.replicas is not None and replicas > bounds.replicas:
        message = f"expected at most {bounds.replicas}, by config.maxGatewayReplicas, got {replicas}"
        yield Rejected(f"{_GATEWAY}.replicas", message)


def _resources(resources: object, bounds: GatewayBounds) -> Iterator[Rejected]:
    if bounds.resources is None:
        return
    most = dict(bounds.resources)
    for which in ("requests", "limits"):
        amounts = dig(resources, (which,))
        for name, amount in amounts.items() if isinstance(amounts, Mapping) else ():
            wrong = _too_much(amount, most.get(name)) if name in most else _not_listed(name, most)
            if wrong:
                yield Rejected(problems.path(("spec", "gateway", "resources", which, str(name))), wrong)


def _not_listed(name: object, most: Iterable[str]) -> str:
    listed = ", ".join(most) or "which is empty"
    return f"expected a resource of config.maxGatewayResources ({listed}), got {problems.came(name)}"


def _too_much(amount: object, most: str | None) -> str:
    try:
        larger = isinstance(amount, str) and quantity.parse(amount).nano > quantity.parse(most or "0").nano
    except ValueError:  # reported by the resource's own rules
        return ""
    return f"expected at most {most}, by config.maxGatewayResources, got {problems.came(amount)}" if larger else ""


def _secrets(given: Mapping[str, object], bounds: GatewayBounds) -> Iterator[Rejected]:
    for path, reference in (*_of_remotes(given), *((path, dig(given, path)) for path in _OF_METRICS)):
        name = dig(reference, ("name",))
        if isinstance(name, str) and name and not _matches(name, bounds.secrets):
            yield Rejected(f"{problems.path(path)}.name", _refused_secret(name, bounds.secrets))


def _of_remotes(given: Mapping[str, object]) -> Iterator[tuple[tuple[str | int, ...], object]]:
    for path, remote in remotes.paths(given):
        yield from (((*path, *each), dig(remote, each)) for each in _OF_REMOTE)


def _refused_secret(name: str, allowed: tuple[str, ...]) -> str:
    listed = ", ".join(allowed) or "which is empty"
    return (
        f"expected a Secret whose name is allowed by config.allowedSecretNames ({listed}), got {problems.came(name)}; "
        "have its content in a Secret of such a name"
    )


def _matches(text: str, patterns: Iterable[str]) -> bool:
    return any(re.fullmatch(".*".join(map(re.escape, re.split(r"\*+", each))), text) for each in patterns)


_SERVICE = ("spec", "metricServiceRef")
_OF_REMOTE = (
    ("authConfig", "apiKeyConfig", "secretRef"),
    ("authConfig", "oauthConfig", "clientSecretRef"),
    ("authConfig", "awsConfig", "credentialsSecretRef"),
    ("tls", "caSecretRef"),
    ("tls", "certSecretRef"),
    ("tls", "keySecretRef"),
)
_OF_METRICS = (
    (*_SERVICE, "bearerTokenSecretRef"),
    (*_SERVICE, "basicAuth", "passwordSecretRef"),
    (*_SERVICE, "tls", "caSecretRef"),
    (*_SERVICE, "tls", "certSecretRef"),
    (*_SERVICE, "tls", "keySecretRef"),
)
