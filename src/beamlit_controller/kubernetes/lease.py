"""Leader election with a coordination.k8s.io Lease, as in client-go, and a fence for the leader's writes.

All times are times of this machine's own monotonic clock, so clocks of different machines are never compared. A candidate
considers the Lease held for its full duration after it last saw it change. The holder counts from the time it *sent* the
renewal, and for a shorter duration, so a leader that was held up notices that it lost the Lease before it writes. This
includes a process that was stopped and, on Linux, a machine that was suspended; but not a virtual machine whose clocks
stood still. For this case every write is conditional on the observed `resourceVersion`.
"""

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import structlog

from beamlit_controller.controller.deadline import Deadline
from beamlit_controller.controller.latest import Latest
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer, Json
from beamlit_controller.kubernetes.paths import LEASES

log = structlog.stdlib.get_logger(__name__)


LABELS = {"app.kubernetes.io/name": "beamlit-controller"}
"""The labels of every Lease, whatever its name, by which `kubectl offload` finds the leader."""
SOON = 0.1
"""Seconds within which an expired Lease is noticed; the fence detects it immediately."""


@dataclass(frozen=True, slots=True)
class LeaseDurations:
    """The Lease's duration, the shorter duration for which its holder relies on it, and the retry period; in seconds."""

    duration: float = 15
    trust: float = 10
    retry: float = 2


@dataclass(frozen=True, slots=True)
class _ObservedLease:
    """The Lease as last seen, and when that version was first seen."""

    version: str
    holder: str
    duration: float
    since: float


class Lease:
    """A candidate for one Lease. `leading` tells whether it is the leader; check `held` before each write."""

    def __init__(
        self, server: ApiServer, *, namespace: str, name: str, identity: str, terms: LeaseDurations | None = None
    ) -> None:
        self.leading: Latest[bool] = Latest(value=False)
        self.identity = identity
        self._server = server
        self._collection = LEASES.collection(namespace)
        self._path = LEASES.path(namespace, name)
        self._name = name
        self._terms = terms or LeaseDurations()
        self._seen: _ObservedLease | None = None
        self._until = float("-inf")
        self._heard = float("-inf")

    def heard_within(self, seconds: float) -> bool:
        """Return whether the API server responded to a request for the Lease within the last seconds."""
        return asyncio.get_running_loop().time() - self._heard < seconds

    def held(self) -> bool:
        """Return whether this replica certainly holds the Lease at this moment."""
        return _elapsed() < self._until

    async def run(self) -> None:
        """Acquire and renew the Lease until cancelled, then release it so that another replica need not wait."""
        try:
            while True:
                await self._try()
                self.leading.set(self.held())
                await self._pause()
        finally:
            self.leading.set(False)
            self._until = float("-inf")
            await self._release()

    async def _pause(self) -> None:
        """Wait for the next attempt; if the Lease expires in the meantime, stop leading immediately."""
        wait = self._terms.retry * (1 + 0.2 * random.random())  # noqa: S311 - jitter, not security
        left = self._until - _elapsed()
        if self.leading.value and left < wait:
            await asyncio.sleep(max(left, SOON))
            self.leading.set(self.held())
            return
        await asyncio.sleep(wait)

    async def _try(self) -> None:
        began = _elapsed()
        try:
            async with Deadline(self._terms.trust / 2):
                taken = await self._take(began)
        except (ApiError, TimeoutError) as error:
            log.warning(
                "lease not renewed" if self.leading.value else "lease not read", lease=self._name, error=str(error)
            )
            return
        self._heard = asyncio.get_running_loop().time()
        if taken:
            self._until = began + self._terms.trust

    async def _take(self, now: float) -> bool:
        """Acquire or renew the Lease unless another holds it. The write is conditional on the version that was read."""
        try:
            lease = await self._server.get(self._path)
        except ApiError as error:
            if error.code != 404:  # noqa: PLR2004 - Not Found
                raise
            return await self._written(self._server.create(self._collection, self._new()))
        seen = self._look(lease, now)
        if seen.holder not in {"", self.identity} and now < seen.since + seen.duration:
            return False
        return await self._written(self._server.replace(self._path, self._renewed(lease, seen.holder)))

    async def _written(self, write: Any) -> bool:  # noqa: ANN401 - an awaitable of the server's answer
        try:
            lease = await write
        except ApiError as error:
            if error.code == 409:  # noqa: PLR2004 - Conflict: another candidate was faster
                return False
            raise
        self._look(lease, _elapsed())
        return True

    def _look(self, lease: Json, now: float) -> _ObservedLease:
        """Record the observed Lease; its duration counts from when this version was first seen."""
        spec = lease.get("spec") or {}
        version = str(lease["metadata"]["resourceVersion"])
        if self._seen is None or self._seen.version != version:
            duration = float(spec.get("leaseDurationSeconds") or self._terms.duration)
            self._seen = _ObservedLease(version, str(spec.get("holderIdentity") or ""), duration, now)
        return self._seen

    def _new(self) -> Json:
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "labels": LABELS},
            "spec": {**self._term(), "acquireTime": _now(), "leaseTransitions": 0},
        }

    def _renewed(self, lease: Json, holder: str) -> Json:
        spec = dict(lease.get("spec") or {})
        if holder != self.identity:
            spec |= {"acquireTime": _now(), "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        metadata = lease["metadata"]
        labels = {**(metadata.get("labels") or {}), **LABELS}
        return {**lease, "metadata": {**metadata, "labels": labels}, "spec": spec | self._term()}

    def _term(self) -> Json:
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": round(self._terms.duration),
            "renewTime": _now(),
        }

    async def _release(self) -> None:
        if self._seen is None or self._seen.holder != self.identity:
            return
        self._seen = replace(self._seen, holder="")
        with suppress(ApiError, TimeoutError):
            async with asyncio.timeout(self._terms.retry):
                lease = await self._server.get(self._path)
                if (lease.get("spec") or {}).get("holderIdentity") == self.identity:
                    given_up = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
                    await self._server.replace(self._path, {**lease, "spec": {**lease["spec"], **given_up}})
                    log.info("lease released", lease=self._name)


def suspended() -> float:
    """Return for how many seconds this machine was suspended since it booted; 0 where the system doesn't count them."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def _elapsed() -> float:
    """Return the event loop's time, advanced by the time of suspensions, during which the loop's clock stands still."""
    return asyncio.get_running_loop().time() + suspended()


def _now() -> str:
    """Return the time as a MicroTime. It is only informational."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
