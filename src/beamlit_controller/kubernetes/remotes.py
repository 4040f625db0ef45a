"""The state of every model's remote, from the counters of its gateways.

The leader polls the stats endpoint of each ready gateway pod, adds up the counters, and passes them to
`core.remote_health` and `controller.meters`. Each model is polled by its own task, so a gateway that is slow or answers
nonsense delays no other. Until a model's gateways are polled, the state in its status applies, so that a new leader
does not forget what the last one knew.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import structlog

from beamlit_controller.controller.changes import Changes
from beamlit_controller.controller.usage_meters import GatewayCounts
from beamlit_controller.core import remote_health, remotes_health, throttle, traffic
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.remote_health import Attempts, RemoteReady
from beamlit_controller.core.remotes_health import Assessments
from beamlit_controller.core.spec import ModelKey, RemoteBackend
from beamlit_controller.core.traffic import RequestCounters
from beamlit_controller.core.usage import Usages
from beamlit_controller.kubernetes.gateway_pages import GatewayPages
from beamlit_controller.kubernetes.managed_objects import GatewayPod, ManagedObjects
from beamlit_controller.kubernetes.models import Models, Stored

log = structlog.stdlib.get_logger(__name__)

PERIOD: Final = 5.0
SPREAD: Final = 0.8
"""The fraction of a period over which polling the models is spread."""
MOST_ASKED: Final = 200
"""Maximum number of gateway pods polled per model: twice the maximum number of replicas, for a rollout. Others are not counted."""


@dataclass(frozen=True, slots=True)
class GatewayStats:
    """The path of the stats endpoint, its parsers, and the receiver of the request counters per pod."""

    path: str
    read: Callable[[str], Mapping[str, Attempts]]
    traffic: Callable[[str], RequestCounters] = lambda _: traffic.NOTHING
    seen: Callable[[ModelKey, Mapping[str, RequestCounters | None]], None] = lambda _key, _answers: None
    usage: Callable[[str], Usages] = lambda _: {}
    used: Callable[[ModelKey, Mapping[str, GatewayCounts | None]], None] = lambda _key, _answers: None
    forget: Callable[[ModelKey], None] = lambda _key: None


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one pod answered: its attempts at each remote, its requests, and the usage of each remote."""

    attempts: Mapping[str, Attempts]
    counted: RequestCounters
    used: Usages


@dataclass(slots=True)
class _RemoteCounters:
    """The counters of one remote: the last ones per pod, and the sum of all increases."""

    pods: dict[str, Attempts] = field(default_factory=dict)
    counted: Counter[tuple[str, int]] = field(default_factory=Counter)
    servers: int = 0

    def add(self, known: Mapping[str, Attempts], existing: Collection[str]) -> None:
        """Add the increases since the pods' last responses. An existing pod that did not answer is added when it does."""
        for uid, attempts in known.items():
            # What a pod had counted before it was first seen was added by an earlier leader.
            self.counted.update(remote_health.fresh(self.pods.get(uid, attempts), attempts))
        self.pods = {uid: last for uid, last in self.pods.items() if uid in existing} | dict(known)
        self.servers = max((each.servers for each in known.values()), default=0)

    @property
    def whole(self) -> Attempts:
        """Return the sum."""
        listed = tuple((result, code, count) for (result, code), count in sorted(self.counted.items()))
        return Attempts(listed, self.servers)


@dataclass(slots=True)
class _ModelRemotes:
    """What is known of a model's remotes, by name: counters and states. `recorded` applies until a request has gone there."""

    recorded: RemoteReady | None
    counters: dict[str, _RemoteCounters] = field(default_factory=dict)
    judged: Assessments = field(default_factory=dict)
    percentage_limit: int = throttle.WHOLE

    def condition(self, spent: Collection[str]) -> RemoteReady:
        """Return the combined state; `spent` are the remotes whose budget is spent."""
        known = remotes_health.condition(self.judged, spent)
        return known if self.recorded is None or remotes_health.is_known(self.judged) else self.recorded


class Remotes:
    """Polls the gateways. A changed state is published as a change of the model."""

    def __init__(
        self,
        models: Models,
        owned: ManagedObjects,
        pages: GatewayPages,
        stats: GatewayStats,
        changes: Changes[ModelKey],
    ) -> None:
        self._models = models
        self._owned = owned
        self._pages = pages
        self._stats = stats
        self._changes = changes
        self._remotes: dict[ModelKey, _ModelRemotes] = {}
        self._asking: set[ModelKey] = set()
        self.failures = 0

    async def run(self) -> None:
        """Poll until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                wanted = dict(self._wanted())
                for gone in self._remotes.keys() - wanted.keys():
                    self._stats.forget(gone)
                self._remotes = {key: remote for key, remote in self._remotes.items() if key in wanted}
                for key, backends in wanted.items():
                    if key not in self._asking:  # a slow one is not asked again meanwhile
                        self._asking.add(key)
                        group.create_task(self._guarded_look(key, backends), name=f"stats {key}")
                await asyncio.sleep(PERIOD)

    def ready(self, key: ModelKey) -> RemoteReady | None:
        """Return the combined state of a model's remotes, if known."""
        stored = self._models.get(key)
        return self._remotes[key].condition(_spent(stored)) if key in self._remotes else _recorded(stored)

    def percentage_limit(self, key: ModelKey) -> int:
        """Return the highest percentage that a model's remotes accept: below 100 while the last of them answers 429."""
        return self._remotes[key].percentage_limit if key in self._remotes else throttle.WHOLE

    def _wanted(self) -> Iterator[tuple[ModelKey, Sequence[RemoteBackend]]]:
        for key, model in self._models.models.items():
            if model.spec is not None and model.spec.remotes:
                yield key, model.spec.remotes

    async def _guarded_look(self, key: ModelKey, backends: Sequence[RemoteBackend]) -> None:
        """Poll one model, at a random time within the period. Never raises."""
        try:
            await asyncio.sleep(PERIOD * SPREAD * random.random())  # noqa: S311 - jitter, not security
            await self.look(key, backends)
        except Exception as error:  # noqa: BLE001 - what one gateway says must not end the others' turn
            self.failures += 1
            log.warning("gateway stats malformed", model=str(key), error=repr(error)[:200])
        finally:
            self._asking.discard(key)

    async def look(self, key: ModelKey, backends: Sequence[RemoteBackend]) -> None:
        """Poll the model's gateway pods, and derive the state from new counts."""
        existing = list(self._owned.pods(key).values())
        ready = (pod for pod in existing if pod.ready and pod.ip and pod.stats_port)
        pods = list(islice(ready, MOST_ASKED))
        answers = await asyncio.gather(*(self._ask(pod) for pod in pods))
        known = {pod.uid: answer.attempts for pod, answer in zip(pods, answers, strict=True) if answer is not None}
        counted = {pod.uid: answer.counted if answer else None for pod, answer in zip(pods, answers, strict=True)}
        self._stats.seen(key, counted)
        used = {pod.uid[:8]: None for pod in existing} | {
            pod.uid[:8]: GatewayCounts(answer.used, answer.counted)
            for pod, answer in zip(pods, answers, strict=True)
            if answer is not None
        }
        self._stats.used(key, used)
        remotes = self._remotes.setdefault(key, _ModelRemotes(_recorded(self._models.get(key))))
        remotes.counters = {each.name: remotes.counters.get(each.name, _RemoteCounters()) for each in backends}
        before = _together(remotes, backends)
        uids = {pod.uid for pod in existing}
        for name, counters in remotes.counters.items():
            counters.add({uid: attempts.get(name, remote_health.NOTHING) for uid, attempts in known.items()}, uids)
        self._judge(key, remotes, backends, before)

    def _judge(
        self, key: ModelKey, remotes: _ModelRemotes, backends: Sequence[RemoteBackend], before: Attempts
    ) -> None:
        stored = self._models.get(key)
        said, most = _significant(remotes, _spent(stored)), remotes.percentage_limit
        wholes = {name: counters.whole for name, counters in remotes.counters.items()}
        remotes.judged = remotes_health.judge(backends, remotes.judged, wholes)
        percentage = (stored.percentage if stored else None) or 0
        after = remotes_health.together(wholes, backends)
        remotes.percentage_limit = throttle.most(most, percentage=percentage, before=before, after=after)
        if (said, most) != (_significant(remotes, _spent(stored)), remotes.percentage_limit):
            self._changes.publish(key)

    async def _ask(self, pod: GatewayPod) -> _Answer | None:
        """Poll one pod; None without a usable answer."""
        page = await self._pages.get(pod, self._stats.path)
        try:
            if page is None:
                return None
            return _Answer(self._stats.read(page), self._stats.traffic(page), self._stats.usage(page))
        except ValueError:
            return None


def _recorded(stored: Stored | None) -> RemoteReady | None:
    """Return the remote's state from the status that an earlier leader wrote for the same spec."""
    for each in (stored.status.get("conditions") or ()) if stored else ():
        if each.get("type") == "RemoteReady" and stored and each.get("observedGeneration") == stored.generation:
            try:
                return RemoteReady(str(each["status"]), Reason(each["reason"]), str(each["message"]))
            except (KeyError, ValueError):
                return None
    return None


def _together(remotes: _ModelRemotes, backends: Sequence[RemoteBackend]) -> Attempts:
    return remotes_health.together({name: counters.whole for name, counters in remotes.counters.items()}, backends)


def _spent(stored: Stored | None) -> Collection[str]:
    return stored.budget_spent if stored else ()


def _significant(remotes: _ModelRemotes, spent: Collection[str]) -> tuple[object, ...]:
    """Return what is worth a new status: each state and its reason, but not the numbers in its message."""
    whole = remotes.condition(spent)
    each = ((name, known.condition.status, known.condition.reason) for name, known in remotes.judged.items())
    return whole.status, whole.reason, *(each if len(remotes.judged) > 1 else ())
