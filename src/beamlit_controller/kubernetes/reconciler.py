"""The leader's reconciler: a queue keyed by model, and one worker per model.

A worker runs passes: it takes a snapshot of the store, reconciles gateway and Service (`reconcile.py`), and then writes
the status. It runs when the store publishes a change of its model, and when the last pass asked for it. Gateway and
Service are only looked at if their inputs changed or a requeue is due, so a new decision costs only a status
comparison.

An error becomes a condition of that model, is counted, and is retried with backoff and jitter; other models are not
affected. A worker ends when its model is deleted.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.kubernetes import snapshot as snapshots
from beamlit_controller.kubernetes import takeover_memory
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer
from beamlit_controller.kubernetes.applier import Applier, NameTakenError
from beamlit_controller.kubernetes.reconcile import GatewayPass, WorkerState
from beamlit_controller.kubernetes.snapshot import GatewayState, Snapshot
from beamlit_controller.kubernetes.status_writer import WrittenStatus
from beamlit_controller.kubernetes.store import Store

log = structlog.stdlib.get_logger(__name__)

CONFLICT, NOT_FOUND = 409, 404
FIRST_RETRY, LONGEST_RETRY = 1.0, 30.0
NAME_TAKEN_RETRY: Final = 10.0
LOOK_AGAIN: Final = 300.0
SHORTEST: Final = 0.01
SHOWN: Final = 500


@dataclass(slots=True)
class Worker:
    """One model's worker: its wake-up event and its memory. `uid` is the object's: a recreated object starts afresh."""

    uid: str
    state: WorkerState
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    last_inputs: object = None
    next_pass_at: float = 0.0
    failures: int = 0
    status: WrittenStatus | None = None
    status_retry: float | None = None
    status_failures: int = 0


class StatusReporter(Protocol):
    """Reports a model's state."""

    async def report(
        self, snapshot: Snapshot, gateway: GatewayState, last: WrittenStatus | None
    ) -> WrittenStatus | None:
        """Write the status unless it is unchanged; return the last written one. Raises ApiError."""
        ...


class Reconciler:
    """Reconciles all models while this replica is the leader."""

    def __init__(self, server: ApiServer, store: Store, *, gateway: GatewayPass, status: StatusReporter) -> None:
        self.failures: Counter[str] = Counter()
        self._server = server
        self._store = store
        self._gateway = gateway
        self._status = status
        self._workers: dict[ModelKey, Worker] = {}

    async def run(self) -> None:
        """Run one worker per model, and wake those whose model changed, until cancelled."""
        changes = self._store.changes.subscribe()
        try:
            async with asyncio.TaskGroup() as group:
                for key in self._store.model_keys():
                    self._wake(group, key)
                while True:
                    for key in await changes.keys():
                        self._wake(group, key)
        finally:
            self._store.changes.unsubscribe(changes)
            self._workers.clear()

    def state(self, key: ModelKey) -> GatewayState:
        """Return the state of a model's gateway."""
        snapshot = self._store.snapshot(key)
        return self._state(snapshot, self._workers.get(key)) if snapshot else GatewayState()

    def _wake(self, group: asyncio.TaskGroup, key: ModelKey) -> None:
        worker = self._workers.get(key)
        if worker is not None:
            worker.wake.set()
        elif self._store.models.get(key) is not None:
            worker = self._workers[key] = self._new(key)
            group.create_task(self._work(key, worker), name=f"reconcile {key}")

    def _new(self, key: ModelKey) -> Worker:
        stored = self._store.models.get(key)
        uid = stored.uid if stored else ""
        return Worker(uid, WorkerState(Applier(self._server, uid)))

    async def _work(self, key: ModelKey, worker: Worker) -> None:
        """Run passes when woken or due, until the model is deleted."""
        while True:
            worker.wake.clear()
            wait = await self._guarded_pass(key, worker)
            if wait is None:
                break
            try:
                async with asyncio.timeout(wait):
                    await worker.wake.wait()
            except TimeoutError:
                continue
        del self._workers[key]
        if self._store.models.get(key) is not None:
            # A new object with the same name: the old one's state does not apply.
            self._store.changes.publish(key)

    async def _guarded_pass(self, key: ModelKey, worker: Worker) -> float | None:
        """Run one pass, and return the seconds until the next; None if the worker's object is gone. Never raises."""
        try:
            snapshot = self._store.snapshot(key)
            if snapshot is None or snapshot.stored.uid != worker.uid:
                return None
            return await self._pass(snapshot, worker)
        except Exception as error:  # noqa: BLE001 - last net: an unexpected error of one model must not end its worker
            self._unexpected(key, error, known=False)
            return _backoff(1)

    async def _pass(self, snapshot: Snapshot, worker: Worker) -> float:
        if snapshot.model.awaits_last_good:
            return LOOK_AGAIN  # nothing can be reported until it is known whether there is a last good spec
        now = asyncio.get_running_loop().time()
        if worker.last_inputs != snapshot.inputs or now >= worker.next_pass_at:
            worker.last_inputs = snapshot.inputs
            worker.next_pass_at = now + await self._reconcile_gateway(snapshot, worker)
        now = asyncio.get_running_loop().time()
        if worker.status_retry is None or now >= worker.status_retry:
            worker.status_retry = await self._write_status(snapshot, worker)
        retry = worker.status_retry
        now = asyncio.get_running_loop().time()
        return max(SHORTEST, (worker.next_pass_at if retry is None else min(worker.next_pass_at, retry)) - now)

    async def _reconcile_gateway(self, snapshot: Snapshot, worker: Worker) -> float:
        """Reconcile gateway and Service; return the seconds until they are due again."""
        before = worker.state.problem
        try:
            again = await self._gateway.run(snapshot, worker.state)
        except NameTakenError as error:
            worker.state.problem = Missing(Reason.NAME_TAKEN, str(error))
            return _in_time(worker, NAME_TAKEN_RETRY)
        except ApiError as error:
            return _in_time(worker, self._refused(snapshot.key, worker, error, before))
        except Exception as error:  # noqa: BLE001 - it becomes the model's condition
            worker.state.problem = Missing(Reason.INTERNAL_ERROR, f"unexpected: {error!r}"[:SHOWN])
            self._unexpected(snapshot.key, error, known=worker.state.problem == before)
            worker.failures += 1
            return _backoff(worker.failures)
        worker.failures = 0
        return again

    def _refused(self, key: ModelKey, worker: Worker, error: ApiError, before: Missing | None) -> float:
        worker.failures += 1
        if error.code == CONFLICT:
            # A concurrent write won; its event triggers another pass.
            worker.state.problem = before
            return _backoff(worker.failures)
        worker.state.problem = Missing(Reason.API_REFUSED, f"the API server refused: {error.message}"[:SHOWN])
        if worker.state.problem != before:
            log.warning("gateway not applied", model=str(key), code=error.code, error=error.message[:SHOWN])
        self.failures[error.reason or "Unknown"] += 1
        return max(_backoff(worker.failures), error.retry_after or 0.0)

    async def _write_status(self, snapshot: Snapshot, worker: Worker) -> float | None:
        """Write the status; return the time at which a failed write is retried, else None."""
        try:
            worker.status = await self._status.report(snapshot, self._state(snapshot, worker), worker.status)
        except ApiError as error:
            worker.status_failures += 1
            if error.code != NOT_FOUND:
                self.failures[error.reason or "Unknown"] += 1
                log.warning("status not written", model=str(snapshot.key), code=error.code, error=error.message[:SHOWN])
            return asyncio.get_running_loop().time() + _backoff(worker.status_failures)
        worker.status_failures = 0
        return None

    @staticmethod
    def _state(snapshot: Snapshot, worker: Worker | None) -> GatewayState:
        problem, service = (worker.state.problem, worker.state.service) if worker else (None, None)
        return snapshots.gateway_state(snapshot, problem=problem, service=service)

    def _unexpected(self, key: ModelKey, error: Exception, *, known: bool) -> None:
        """Count an unexpected error, and log its traceback once."""
        self.failures[Reason.INTERNAL_ERROR.value] += 1
        log.error("reconciling failed", model=str(key), error=repr(error)[:SHOWN], exc_info=None if known else error)


def _in_time(worker: Worker, retry: float) -> float:
    """Return the seconds until a retry, but not later than a failed gateway's Service has to be restored."""
    left = takeover_memory.until_restore(worker.state.takeover, now=asyncio.get_running_loop().time())
    return retry if left is None else min(retry, left)


def _backoff(failures: int) -> float:
    """Return the seconds until the next retry: growing, with jitter."""
    longest = min(FIRST_RETRY * 2.0 ** min(failures - 1, 10), LONGEST_RETRY)
    return longest * (0.8 + 0.4 * random.random())  # noqa: S311 - jitter, not security
