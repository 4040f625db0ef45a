"""The listeners that several models share: each is an Envoy of its own, run like a gateway."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from pathlib import Path

from beamlit_controller.api.problems import Problem
from beamlit_controller.api.settings import Settings
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.envoy import shared_listener
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.standalone import process
from beamlit_controller.standalone.gateway_template import GatewayTemplate
from beamlit_controller.standalone.gateways import Gateways
from beamlit_controller.wiring import standalone_gateways

NAMESPACE = "listener"


def kept(settings: Settings, folder: Path) -> Gateways:
    """Return the `Gateways` that run the listeners of these settings."""
    return Gateways(
        folder,
        GatewayTemplate(
            files=partial(_files, settings),
            command=standalone_gateways.command_of,
            secrets=lambda _: (),
            stats="^$",
            attempts=lambda _: {},
        ),
    )


async def specs(settings: Settings) -> AsyncIterator[Mapping[ModelKey, OffloadSpec]]:
    """Yield the listeners once: changed settings restart the controller."""
    keys = [ModelKey(NAMESPACE, name) for name in settings.standalone.shared_listeners]
    yield {key: OffloadSpec(key, key.name) for key in keys}
    await asyncio.Event().wait()


def problems(settings: Settings, gateways: Gateways) -> Iterator[Problem]:
    """Yield the current problems of the listeners."""
    for name in settings.standalone.shared_listeners:
        problem = gateways.state(ModelKey(NAMESPACE, name)).get("problem")
        if problem:
            yield Problem("settings", f"config.standalone.sharedListeners.{name}", str(problem))


def _files(settings: Settings, spec: OffloadSpec, directory: Path) -> Mapping[str, str]:
    shared = settings.standalone.shared_listeners[spec.key.name]
    params = GatewayParams(
        node=str(spec.key),
        directory=str(directory),
        front=str(shared.address),
        stats="127.0.0.1:0",
        admin="unix:admin.sock",
        shares="unix:../../shares.sock",
        descriptors=process.most_descriptors(),
    )
    gateways = {route.to: str(settings.standalone.listener(route.to)) for route in shared.routes}
    return shared_listener.files(spec.key, shared, params, gateways=gateways)
