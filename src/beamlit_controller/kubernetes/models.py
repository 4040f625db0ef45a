"""The ModelDeployments of the cluster: the spec in force of each, and its recorded decision.

If a spec is rejected, the last good one stays in force. It is kept here in memory, and stored in the gateway's
ConfigMap (`last_good`) for the next process.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

import pydantic
import structlog

from beamlit_controller.api.status_models import IN_FLIGHT
from beamlit_controller.api.translate import Accepted
from beamlit_controller.controller.latest import Latest
from beamlit_controller.core import adaptive_state, load
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.spec import ModelKey, OffloadSpec, Rejected
from beamlit_controller.kubernetes.api_server import Json
from beamlit_controller.kubernetes.service_patches import DOMAIN

log = structlog.stdlib.get_logger(__name__)

Read = Callable[[Mapping[str, object]], Accepted | tuple[Rejected, ...]]

FINALIZER: Final = f"{DOMAIN}/give-back"
"""Present on a model while its Service is taken over."""
WHOLE: Final = 100

_CAP: Final = re.compile(IN_FLIGHT)
_DECISION = pydantic.TypeAdapter(Decision)


@dataclass(frozen=True, slots=True)
class Stored:
    """A ModelDeployment as stored by the API server: what its author wrote, and the status that we wrote."""

    key: ModelKey
    uid: str
    version: str
    generation: int
    content: Json = field(hash=False)
    status: Json = field(hash=False)
    deleting: bool = False

    @property
    def has_finalizer(self) -> bool:
        """Whether it has our finalizer."""
        return FINALIZER in (self.content["metadata"].get("finalizers") or ())

    @property
    def created(self) -> str:
        """The creationTimestamp, which sorts as text; "" if missing."""
        return str(self.content["metadata"].get("creationTimestamp") or "")

    @property
    def percentage(self) -> int | None:
        """The recorded percentage in force: the decision, or less while the remote answers 429. None if there is none."""
        offloading = self.status.get("offloading") or {}
        percentage, most = offloading.get("percentage"), offloading.get("atMost", WHOLE)
        return min(percentage, most) if isinstance(percentage, int) and 0 <= percentage <= WHOLE else None

    @property
    def cap(self) -> Fraction | None:
        """The recorded cap of local requests in flight per replica; None if there is no valid one."""
        written = (self.status.get("offloading") or {}).get("inFlightPerReplica")
        return Fraction(written) if isinstance(written, str) and _CAP.fullmatch(written) else None

    @property
    def reason(self) -> str:
        """The recorded reason; "" if there is none."""
        return str((self.status.get("offloading") or {}).get("reason") or "")

    @property
    def budget_spent(self) -> tuple[str, ...]:
        """The recorded names of the remotes whose budget is spent."""
        return budget_spent(self.status)


def budget_spent(status: Mapping[str, object]) -> tuple[str, ...]:
    """Return the names of the remotes whose budget is spent, by a status; invalid entries are ignored."""
    listed = status.get("remotes")
    remotes = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    names = [each.get("name", "") for each in remotes if each.get("budgetSpent") is True]
    return tuple(name for name in names if isinstance(name, str))


def stored(content: Json) -> Stored:
    """Parse an object."""
    about = content["metadata"]
    kept = {name: value for name, value in about.items() if name != "managedFields"}
    written = {name: value for name, value in content.items() if name not in {"status", "metadata"}}
    return Stored(
        key=ModelKey(about["namespace"], about["name"]),
        uid=about["uid"],
        version=about["resourceVersion"],
        generation=about.get("generation", 0),
        content={**written, "metadata": kept},
        status=content.get("status") or {},
        deleting="deletionTimestamp" in about,
    )


@dataclass(frozen=True, slots=True)
class LastGoodSpec:
    """An accepted spec as it was written, and its generation."""

    spec: Json = field(hash=False)
    generation: int


@dataclass(frozen=True, slots=True)
class KnownModel:
    """The validated state of a ModelDeployment.

    `spec` is the spec in force, None if none was ever valid; `last_good` is the text it was parsed from. `rejected` are the
    mistakes in the current spec. `last_good_read` tells whether the stored last good spec has been looked up.
    """

    uid: str
    spec: OffloadSpec | None
    rejected: tuple[Rejected, ...] = ()
    notices: tuple[str, ...] = ()
    generation: int = 0
    deleting: bool = False
    last_good: LastGoodSpec | None = None
    override_ignored: Rejected | None = None
    last_good_read: bool = False

    @property
    def awaits_last_good(self) -> bool:
        """Whether a stored last good spec may exist and has not been looked up yet."""
        return self.spec is None and bool(self.rejected) and not self.last_good_read


class Models:
    """All ModelDeployments; implements `Memory`."""

    def __init__(self, read: Read, *, withdrawn: bool = False) -> None:
        self._read = read
        self._withdrawn = withdrawn
        self._stored: dict[ModelKey, Stored] = {}
        self._models: dict[ModelKey, KnownModel] = {}
        self._written: dict[ModelKey, object] = {}

    @property
    def models(self) -> Mapping[ModelKey, KnownModel]:
        """All models, valid or not."""
        return self._models

    def get(self, key: ModelKey) -> Stored | None:
        """Return the object as last seen."""
        return self._stored.get(key)

    def changed(self, key: ModelKey, seen: Stored | None) -> None:
        """Handle an event of the watch; None means deleted."""
        if seen is None or (seen.deleting and not seen.has_finalizer):
            for known in (self._stored, self._written, self._models):
                known.pop(key, None)
            return
        self._stored[key] = seen
        about = seen.content["metadata"]
        written = (seen.uid, seen.generation, about.get("annotations"), about.get("labels"), seen.deleting)
        if self._written.get(key) != written:
            self._written[key] = written
            self._models[key] = self._model(key, seen)

    def remember(self, key: ModelKey, uid: str, good: LastGoodSpec | None) -> None:
        """Put the stored last good spec in force, or record that there is none."""
        model, seen = self._models.get(key), self._stored.get(key)
        if model is not None and seen is not None and model.uid == uid and model.awaits_last_good:
            refused = self._refused(replace(model, last_good=good, last_good_read=True), seen, model.rejected)
            self._models[key] = self._ended(refused, seen)

    def recall(self, key: ModelKey) -> Decision | None:
        """Return the decision recorded in the status; None if there is no valid one."""
        record = self._stored[key].status.get("record") if key in self._stored else None
        if isinstance(record, str) and record:
            try:
                return _DECISION.validate_json(record)
            except pydantic.ValidationError as error:
                log.warning("recorded decision unreadable", model=str(key), error=str(error)[:200])
        return None

    def _model(self, key: ModelKey, seen: Stored) -> KnownModel:
        known = self._models.get(key)
        before = known if known and known.uid == seen.uid else None
        match self._understood(seen.content):
            case Accepted(spec, notices, ignored):
                good = LastGoodSpec(seen.content.get("spec") or {}, seen.generation)
                texts = tuple(map(str, notices))
                model = KnownModel(
                    seen.uid, spec, notices=texts, generation=seen.generation, last_good=good, override_ignored=ignored
                )
            case rejected:
                log.warning("spec rejected", model=str(key), mistakes=[str(each)[:500] for each in rejected[:10]])
                model = self._refused(before or KnownModel(seen.uid, None), seen, rejected)
        return self._ended(model, seen)

    def _refused(self, before: KnownModel, seen: Stored, rejected: tuple[Rejected, ...]) -> KnownModel:
        """Return the model with its last good spec and its current annotations."""
        model = KnownModel(seen.uid, None, rejected, generation=seen.generation, last_good_read=before.last_good_read)
        if before.last_good is None:
            return model
        about = {**seen.content["metadata"], "generation": before.last_good.generation}
        match self._understood({**seen.content, "metadata": about, "spec": before.last_good.spec}):
            case Accepted(spec, _, ignored):
                return replace(model, spec=spec, last_good=before.last_good, override_ignored=ignored)
            case _:
                return model

    def _ended(self, model: KnownModel, seen: Stored) -> KnownModel:
        """Treat a model that is being deleted as disabled until its Service is restored."""
        if not seen.deleting and not self._withdrawn:
            return model
        return replace(model, spec=replace(model.spec, enabled=False) if model.spec else None, deleting=True)

    def _understood(self, content: Json) -> Accepted | tuple[Rejected, ...]:
        """Parse and validate an object; an unexpected error is reported like a mistake in the object."""
        try:
            return self._read(content)
        except Exception:
            log.exception(
                "spec not read", model=f"{content['metadata'].get('namespace')}/{content['metadata'].get('name')}"
            )
            return (
                Rejected(
                    "spec", "can't be read because of an unexpected error: the controller's log has the traceback"
                ),
            )


class Specs:
    """The specs to decide for; implements `Provider`."""

    def __init__(self) -> None:
        self._specs: dict[ModelKey, OffloadSpec] = {}
        self._changes: Latest[int] = Latest(0)

    def put(self, key: ModelKey, spec: OffloadSpec | None) -> None:
        """Set the spec to decide for; None to stop."""
        if self._specs.get(key) == spec:
            return
        if spec is None:
            del self._specs[key]
        else:
            self._specs[key] = spec
        self._changes.set(self._changes.value + 1)

    async def specs(self) -> AsyncIterator[Mapping[ModelKey, OffloadSpec]]:
        """Yield all specs, now and after each change."""
        while True:
            seen = self._changes.value
            yield dict(self._specs)
            await self._changes.changed_from(seen)


def record(decision: Decision) -> str:
    """Serialize a decision for `.status.record`, without the values that change in every round."""
    learned = adaptive_state.lasting(decision.learned)
    by_metric = tuple(adaptive_state.lasting(each) for each in decision.by_metric)
    kept = replace(
        decision, trend=None, learned=learned, by_metric=by_metric, load=load.lasting(decision.load), ages=()
    )
    return _DECISION.dump_json(kept).decode()
