"""Renders the objects of one gateway with its current Envoy files; only when one of their inputs changed."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from beamlit_controller.core.gateway_pods import GatewayPods
from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.kubernetes import desired, gateway_objects, last_good
from beamlit_controller.kubernetes.config_rollout import ConfigRollout, Progress
from beamlit_controller.kubernetes.desired import GatewayObjects
from beamlit_controller.kubernetes.egress import Egress
from beamlit_controller.kubernetes.gateway_objects import Envoy, Image
from beamlit_controller.kubernetes.plan import Plan
from beamlit_controller.kubernetes.snapshot import Snapshot


class ConfigTooLargeError(Exception):
    """Envoy's files don't fit into a ConfigMap. The ConfigMap stays as it is."""


class Renderer(Protocol):
    """Renders Envoy's files. `revision` identifies all inputs besides spec and plan."""

    def revision(self) -> str:
        """Return an identifier of all inputs besides spec and plan."""
        ...

    def render(self, spec: OffloadSpec, plan: Plan) -> Envoy:
        """Render the files. Takes milliseconds of CPU."""
        ...


@dataclass(slots=True)
class Rendered:
    """What was last rendered for one model, and the progress of the change to it."""

    envoy: tuple[object, Envoy] | None = None
    objects: tuple[object, GatewayObjects] | None = None
    progress: Progress = field(default_factory=Progress)


class Rendering:
    """Renders the objects of gateways, one model at a time."""

    def __init__(
        self, renderer: Renderer, rollout: ConfigRollout, *, image: Image, pods: GatewayPods, egress: Egress
    ) -> None:
        self._renderer = renderer
        self._rollout = rollout
        self._image = image
        self._pods = pods
        self._egress = egress
        self._one_at_a_time = asyncio.Lock()

    async def objects(self, snapshot: Snapshot, before: Rendered, spec: OffloadSpec, plan: Plan) -> GatewayObjects:
        """Return the desired objects. Raises ApiError and ConfigTooLargeError."""
        requested = await self._rendered(before, spec, plan)
        if oversized := gateway_objects.oversized(requested.files):
            raise ConfigTooLargeError(oversized)
        envoy, before.progress = await self._rollout.next(snapshot, before.progress, requested)
        made_of = (spec, plan, snapshot.model.last_good, envoy)
        if before.objects is None or before.objects[0] != made_of:
            notes = last_good.config_map_data(snapshot.model.last_good)
            made = desired.gateway(
                spec,
                snapshot.stored.uid,
                plan,
                envoy,
                image=self._image,
                pods=self._pods,
                notes=notes,
                egress=self._egress,
            )
            before.objects = (made_of, made)
        return before.objects[1]

    async def _rendered(self, before: Rendered, spec: OffloadSpec, plan: Plan) -> Envoy:
        """Return the files that Envoy is to read in the end."""
        made_of = (spec, plan, self._renderer.revision())
        if before.envoy is not None and before.envoy[0] == made_of:
            return before.envoy[1]
        async with self._one_at_a_time:
            # Yield to other tasks between two models, however many have to be rendered.
            await asyncio.sleep(0)
            envoy = self._renderer.render(spec, plan)
        before.envoy = (made_of, envoy)
        return envoy
