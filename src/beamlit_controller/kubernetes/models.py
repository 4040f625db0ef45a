"""The ModelDeployments of the cluster: where specs come from, and what was decided before."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import pydantic
import structlog

from beamlit_controller.api.translate import Accepted
from beamlit_controller.controller.latest import Latest
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.spec import ModelKey, OffloadSpec, Rejected
from beamlit_controller.kubernetes.api_server import Json
from beamlit_controller.kubernetes.selection import DOMAIN

log = structlog.stdlib.get_logger(__name__)

Read = Callable[[Mapping[str, object]], Accepted | tuple[Rejected, ...]]

FINALIZER: Final = f"{DOMAIN}/give-back"
"""It is on a model as long as its Service is taken over."""

_DECISION = pydantic.TypeAdapter(Decision)


@dataclass(frozen=True, slots=True)
class Stored:
    """A ModelDeployment as the API server has it: what its author wrote, and the status that we wrote."""

    key: ModelKey
    uid: str
    version: str
    generation: int
    content: Json = field(hash=False)
    status: Json = field(hash=False)
    deleting: bool = False

    @property
    def held(self) -> bool:
        """Tell whether it stays until its Service was given back."""
        return FINALIZER in (self.content["metadata"].get("finalizers") or ())

    @property
    def percentage(self) -> int | None:
        """The percentage that is in force, if one was recorded: what was decided, or the most that the remote takes."""
        offloading = self.status.get("offloading") or {}
        percentage, most = offloading.get("percentage"), offloading.get("atMost", 100)
        return min(percentage, most) if isinstance(percentage, int) and 0 <= percentage <= 100 else None  # noqa: PLR2004 - percent


def stored(content: Json) -> Stored:
    """Keep of an object what is looked at."""
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
class Model:
    """What is known of one ModelDeployment: the spec in force, if there is a valid one, and the mistakes in the present one."""

    uid: str
    spec: OffloadSpec | None
    rejected: tuple[Rejected, ...] = ()
    notices: tuple[str, ...] = ()
    generation: int = 0
    deleting: bool = False


class Models:
    """A `Provider` and a `Memory` over what the watch sees. A spec that is refused leaves the last good one in force."""

    def __init__(
        self, read: Read, *, told: Callable[[ModelKey, Stored | None], None] = lambda _key, _stored: None
    ) -> None:
        self._read = read
        self._told = told
        self._stored: dict[ModelKey, Stored] = {}
        self._models: dict[ModelKey, Model] = {}
        self._written: dict[ModelKey, object] = {}
        self.changes: Latest[int] = Latest(0)
        self.spec_changes: Latest[int] = Latest(0)

    def changed(self, place: tuple[str, str], seen: Stored | None) -> None:
        """Take note of what the watch saw."""
        key = ModelKey(*place)
        if seen is None or (seen.deleting and not seen.held):
            self._drop(key)
        else:
            self._keep(key, seen)
        self._told(key, self._stored.get(key))
        self.changes.set(self.changes.value + 1)

    @property
    def models(self) -> Mapping[ModelKey, Model]:
        """All that are there, valid or not."""
        return self._models

    def get(self, key: ModelKey) -> Stored | None:
        """Give the object as it was seen last."""
        return self._stored.get(key)

    async def specs(self) -> AsyncIterator[Mapping[ModelKey, OffloadSpec]]:
        """Give all specs in force, now and again whenever one of them changed."""
        while True:
            seen = self.spec_changes.value
            yield {key: model.spec for key, model in self._models.items() if model.spec is not None}
            await self.spec_changes.other_than(seen)

    def is_held(self, key: ModelKey) -> bool:
        """Tell whether a model stays until its Service was given back."""
        stored = self._stored.get(key)
        return stored is not None and stored.held

    def recall(self, key: ModelKey) -> Decision | None:
        """Give the decision that the status records, to go on from; what can't be understood is made of its percentage."""
        status = self._stored[key].status if key in self._stored else {}
        record = status.get("record")
        if isinstance(record, str) and record:
            try:
                return _DECISION.validate_json(record)
            except pydantic.ValidationError as error:
                log.warning("recorded decision unreadable", model=str(key), error=str(error))
        return None

    def _keep(self, key: ModelKey, seen: Stored) -> None:
        self._stored[key] = seen
        about = seen.content["metadata"]
        written = (seen.uid, seen.generation, about.get("annotations"), about.get("labels"), seen.deleting)
        if self._written.get(key) == written:
            return
        self._written[key] = written
        model = self._model(key, seen)
        self._models[key] = _ending(model) if seen.deleting else model
        self.spec_changes.set(self.spec_changes.value + 1)

    def _model(self, key: ModelKey, seen: Stored) -> Model:
        before = self._models.get(key)
        match self._read(seen.content):
            case Accepted(spec, notices):
                return Model(seen.uid, spec, notices=tuple(map(str, notices)), generation=seen.generation)
            case rejected:
                log.warning("spec refused", model=str(key), mistakes=[str(each) for each in rejected])
                last_good = before.spec if before and before.uid == seen.uid else None
                return Model(seen.uid, last_good, rejected=rejected, generation=seen.generation)

    def _drop(self, key: ModelKey) -> None:
        self._stored.pop(key, None)
        self._written.pop(key, None)
        if self._models.pop(key, None) is not None:
            self.spec_changes.set(self.spec_changes.value + 1)


def _ending(model: Model) -> Model:
    """Treat a model that is deleted as disabled, until its Service was given back."""
    return replace(model, spec=replace(model.spec, enabled=False) if model.spec else None, deleting=True)


def record(decision: Decision) -> str:
    """Write a decision for `recall`, without what every sample changes: a status at rest is not written again."""
    return _DECISION.dump_json(replace(decision, trend=None)).decode()
