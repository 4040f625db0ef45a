"""The ModelDeployments of the cluster: the spec in force of each, and what was decided for it before.

A spec that is refused leaves the last good one in force. That one is kept here while the process runs, and stored beside
the gateway (see `last_good`), from where a process that was started anew recalls it.
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
from beamlit_controller.core import learned, load
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.spec import ModelKey, OffloadSpec, Rejected
from beamlit_controller.kubernetes.api_server import Json
from beamlit_controller.kubernetes.service_patches import DOMAIN

log = structlog.stdlib.get_logger(__name__)

Read = Callable[[Mapping[str, object]], Accepted | tuple[Rejected, ...]]

FINALIZER: Final = f"{DOMAIN}/give-back"
"""It is on a model as long as its Service is taken over."""
WHOLE: Final = 100

_CAP: Final = re.compile(IN_FLIGHT)
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
        """Tell whether our finalizer is on it."""
        return FINALIZER in (self.content["metadata"].get("finalizers") or ())

    @property
    def created(self) -> str:
        """Give its creationTimestamp, which sorts as text; "" if there is none."""
        return str(self.content["metadata"].get("creationTimestamp") or "")

    @property
    def percentage(self) -> int | None:
        """The percentage that is in force, if one was recorded: what was decided, or the most that the remote takes."""
        offloading = self.status.get("offloading") or {}
        percentage, most = offloading.get("percentage"), offloading.get("atMost", WHOLE)
        return min(percentage, most) if isinstance(percentage, int) and 0 <= percentage <= WHOLE else None

    @property
    def cap(self) -> Fraction | None:
        """The recorded limit of local requests in flight per replica; None if there is none, or none that we wrote."""
        written = (self.status.get("offloading") or {}).get("inFlightPerReplica")
        return Fraction(written) if isinstance(written, str) and _CAP.fullmatch(written) else None

    @property
    def reason(self) -> str:
        """The recorded reason; "" if there is none."""
        return str((self.status.get("offloading") or {}).get("reason") or "")


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
class Good:
    """A spec that was accepted, as it was written, and its generation."""

    spec: Json = field(hash=False)
    generation: int


@dataclass(frozen=True, slots=True)
class KnownModel:
    """What is known of one ModelDeployment.

    `spec` is the one in force, if any was ever valid, and `good` the text it was made of; `rejected` are the mistakes in
    the present one. `recalled` tells that a last good spec was looked for where the gateway keeps it.
    """

    uid: str
    spec: OffloadSpec | None
    rejected: tuple[Rejected, ...] = ()
    notices: tuple[str, ...] = ()
    generation: int = 0
    deleting: bool = False
    good: Good | None = None
    override_ignored: Rejected | None = None
    recalled: bool = False

    @property
    def awaits_recall(self) -> bool:
        """Tell whether a last good spec may be known elsewhere, and was not looked for yet."""
        return self.spec is None and bool(self.rejected) and not self.recalled


class Models:
    """A `Memory` over what the watch sees, and the specs in force."""

    def __init__(self, read: Read, *, withdrawn: bool = False) -> None:
        self._read = read
        self._withdrawn = withdrawn
        self._stored: dict[ModelKey, Stored] = {}
        self._models: dict[ModelKey, KnownModel] = {}
        self._written: dict[ModelKey, object] = {}

    @property
    def models(self) -> Mapping[ModelKey, KnownModel]:
        """All that are there, valid or not."""
        return self._models

    def get(self, key: ModelKey) -> Stored | None:
        """Give the object as it was seen last."""
        return self._stored.get(key)

    def changed(self, key: ModelKey, seen: Stored | None) -> None:
        """Take note of what the watch saw."""
        if seen is None or (seen.deleting and not seen.held):
            for known in (self._stored, self._written, self._models):
                known.pop(key, None)
            return
        self._stored[key] = seen
        about = seen.content["metadata"]
        written = (seen.uid, seen.generation, about.get("annotations"), about.get("labels"), seen.deleting)
        if self._written.get(key) != written:
            self._written[key] = written
            self._models[key] = self._model(key, seen)

    def remember(self, key: ModelKey, uid: str, good: Good | None) -> None:
        """Put the last good spec in force that was found for a model whose present one is refused, or note that there is none."""
        model, seen = self._models.get(key), self._stored.get(key)
        if model is not None and seen is not None and model.uid == uid and model.awaits_recall:
            recalled = self._refused(replace(model, good=good, recalled=True), seen, model.rejected)
            self._models[key] = self._ended(recalled, seen)

    def recall(self, key: ModelKey) -> Decision | None:
        """Give the decision that the status records, to go on from; None if there is none, or none that can be understood."""
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
                good = Good(seen.content.get("spec") or {}, seen.generation)
                texts = tuple(map(str, notices))
                model = KnownModel(
                    seen.uid, spec, notices=texts, generation=seen.generation, good=good, override_ignored=ignored
                )
            case rejected:
                log.warning("spec refused", model=str(key), mistakes=[str(each)[:500] for each in rejected[:10]])
                model = self._refused(before or KnownModel(seen.uid, None), seen, rejected)
        return self._ended(model, seen)

    def _refused(self, before: KnownModel, seen: Stored, rejected: tuple[Rejected, ...]) -> KnownModel:
        """Give the model with its last good spec, under its present annotations."""
        model = KnownModel(seen.uid, None, rejected, generation=seen.generation, recalled=before.recalled)
        if before.good is None:
            return model
        about = {**seen.content["metadata"], "generation": before.good.generation}
        match self._understood({**seen.content, "metadata": about, "spec": before.good.spec}):
            case Accepted(spec, _, ignored):
                return replace(model, spec=spec, good=before.good, override_ignored=ignored)
            case _:
                return model

    def _ended(self, model: KnownModel, seen: Stored) -> KnownModel:
        """Treat a model that is deleted as disabled, until its Service was given back."""
        if not seen.deleting and not self._withdrawn:
            return model
        return replace(model, spec=replace(model.spec, enabled=False) if model.spec else None, deleting=True)

    def _understood(self, content: Json) -> Accepted | tuple[Rejected, ...]:
        """Read an object; one that the reader itself fails at is refused, as a mistake in it would be."""
        try:
            return self._read(content)
        except Exception as error:
            log.exception(
                "spec not read", model=f"{content['metadata'].get('namespace')}/{content['metadata'].get('name')}"
            )
            return (Rejected("spec", f"can't be read: {type(error).__name__}"),)


class Specs:
    """A `Provider` of the specs that are decided for."""

    def __init__(self) -> None:
        self._specs: dict[ModelKey, OffloadSpec] = {}
        self._changes: Latest[int] = Latest(0)

    def put(self, key: ModelKey, spec: OffloadSpec | None) -> None:
        """Decide for this spec from now on, or for none of the model."""
        if self._specs.get(key) == spec:
            return
        if spec is None:
            del self._specs[key]
        else:
            self._specs[key] = spec
        self._changes.set(self._changes.value + 1)

    async def specs(self) -> AsyncIterator[Mapping[ModelKey, OffloadSpec]]:
        """Give all specs, now and again whenever one of them changed."""
        while True:
            seen = self._changes.value
            yield dict(self._specs)
            await self._changes.changed_from(seen)


def record(decision: Decision) -> str:
    """Write a decision for `recall`, without what every sample changes: a status at rest is not written again."""
    lasting = replace(decision, trend=None, learned=learned.lasting(decision.learned), load=load.lasting(decision.load))
    return _DECISION.dump_json(lasting).decode()
