"""Decides what a gateway's ConfigMap contains next: a change proceeds by what the gateway's pods have in force.

The pods are asked while a change is in progress, and otherwise only if one has not yet confirmed the present files.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final, Protocol

from beamlit_controller.core.gateway_config import UNKNOWN, ConfigInForce, ConfigStep, Files
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.kubernetes import desired, fields, gateway_objects, managed_objects
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer
from beamlit_controller.kubernetes.gateway_objects import Envoy
from beamlit_controller.kubernetes.managed_objects import GatewayPod
from beamlit_controller.kubernetes.paths import CONFIG_MAPS
from beamlit_controller.kubernetes.snapshot import Snapshot

NOT_FOUND: Final = 404
MOST_ASKED: Final = 100
"""Number of pods of one gateway that are polled concurrently."""
SOON, LONGEST = 1.0, 30.0
LARGEST: Final = 700 * 1024
"""Maximum size of files with which old and new configuration coexist: a ConfigMap holds 1 MiB, including the last good spec."""
REFUSED_AFTER: Final = 15.0
"""Seconds after which a file that is not in force in a pod counts as rejected, if the pod has rejected a version of it."""
LATE_AFTER: Final = 180.0
"""Seconds after which it counts as rejected otherwise: the kubelet updates files within two minutes."""


class ConfigReader(Protocol):
    """Reads the configuration in force from gateway pods."""

    async def of(self, pods: Iterable[GatewayPod]) -> Mapping[str, ConfigInForce]:
        """Return the configuration in force of each pod that answers, by the pod's uid."""
        ...


class ConfigSteps(Protocol):
    """Knows Envoy's files."""

    def next_step(self, present: Files, requested: Files, seen: Sequence[ConfigInForce]) -> ConfigStep:
        """Return the files to give next, by what the gateway reports."""
        ...

    def missing(self, files: Files, seen: ConfigInForce) -> tuple[str, ...]:
        """Return the names of the files whose current version a gateway does not have in force."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a change. `files` are those of the ConfigMap, in it since `began`; `pods` have them in force."""

    files: Files | None = field(default=None, repr=False)
    requested: Files | None = field(default=None, repr=False)
    settled: bool = False
    began: float = 0.0
    looks: int = 0
    pods: frozenset[str] = frozenset()
    problem: Missing | None = None

    @property
    def again(self) -> float | None:
        """Return the seconds until the pods are asked again; None if nothing is awaited."""
        if self.settled and self.looks == 0:
            return None
        return min(SOON * 1.5 ** min(self.looks, 20), LONGEST)


class ConfigRollout:
    """Takes the next step of a change, by what the pods report."""

    def __init__(self, server: ApiServer, configs: ConfigReader, steps: ConfigSteps) -> None:
        self._server = server
        self._configs = configs
        self._steps = steps

    async def next(self, snapshot: Snapshot, before: Progress, requested: Envoy) -> tuple[Envoy, Progress]:
        """Return the files that Envoy is to read now, and the progress of the change. Raises ApiError."""
        after = await self._next(snapshot, before, requested.files)
        return replace(requested, files=after.files or requested.files), after

    async def _next(self, snapshot: Snapshot, before: Progress, requested: Files) -> Progress:
        pods = [pod for pod in snapshot.pods if not pod.deleting and pod.ip]
        if before.settled and before.requested == requested and before.pods >= {pod.uid for pod in pods}:
            return before
        present = await self._present_files(snapshot) if before.files is None else before.files
        says = await self._configs.of(islice(pods, MOST_ASKED)) if present else {}
        now = asyncio.get_running_loop().time()
        # A pod that does not answer must not keep the others from the requested files.
        patient = before.files is None or now - before.began < LATE_AFTER
        heard = [pod for pod in pods if _has_requests(pod, says) and (patient or pod.uid in says)]
        step = self._steps.next_step(present, requested, [says.get(pod.uid, UNKNOWN) for pod in heard])
        if gateway_objects.config_size(step.files) > LARGEST:
            step = ConfigStep(requested, settled=True)
        is_new = step.files != before.files
        missing = {pod: self._steps.missing(step.files, says.get(pod.uid, UNKNOWN)) for pod in pods}
        began = now if is_new else before.began
        waits = is_new or any(missing.values())
        return Progress(
            files=step.files,
            requested=requested,
            settled=step.settled,
            began=began,
            looks=0 if not waits and step.settled else 1 if is_new else before.looks + 1,
            pods=frozenset(pod.uid for pod, files in missing.items() if not files),
            problem=_problem(missing, says, waited=now - began),
        )

    async def _present_files(self, snapshot: Snapshot) -> Files:
        """Return the files that an earlier leader left in the ConfigMap; none if the ConfigMap is not ours."""
        name = gateway_objects.gateway_name(snapshot.key)
        if desired.find(snapshot, CONFIG_MAPS, name) is None:
            return {}
        try:
            content = await self._server.get(CONFIG_MAPS.path(snapshot.key.namespace, name))
        except ApiError as error:
            if error.code != NOT_FOUND:
                raise
            return {}
        data = fields.mapping(content.get("data"))
        is_ours = managed_objects.owner(content) == snapshot.stored.uid
        return {name: text for name, text in data.items() if isinstance(text, str)} if is_ours else {}


def _has_requests(pod: GatewayPod, says: Mapping[str, ConfigInForce]) -> bool:
    return pod.ready or bool(says.get(pod.uid, UNKNOWN).busy)


def _problem(
    missing: Mapping[GatewayPod, Collection[str]], says: Mapping[str, ConfigInForce], *, waited: float
) -> Missing | None:
    """Describe what a pod that answers has not taken over, and why."""
    for pod, files in missing.items():
        refused = [name for name in files if name in says.get(pod.uid, UNKNOWN).refused]
        if refused and waited >= REFUSED_AFTER:
            return _not_taken(pod, refused, "Envoy refused it")
        if files and pod.uid in says and waited >= LATE_AFTER:
            return _not_taken(pod, files, "it was not loaded within three minutes")
    return None


def _not_taken(pod: GatewayPod, files: Iterable[str], why: str) -> Missing:
    message = f"gateway pod {pod.name} has not accepted {', '.join(files)}: {why}; the previous configuration stays in force, see its log"
    return Missing(Reason.CONFIG_NOT_TAKEN, message)
