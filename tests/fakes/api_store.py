"""The storage of the fake API server: objects, managed fields, and all changes in order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from beamlit_controller.controller.latest import Latest
from fakes.api_fields import Owner, rendered
from fakes.api_kinds import Json, Key


@dataclass(frozen=True, slots=True)
class Held:
    """An object, and the owners of its fields. Nobody changes it: a write puts another in its place."""

    content: Json
    owners: tuple[Owner, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one object, with what it was (None if it was made) and what it became (None if it went)."""

    version: int
    at: float
    key: Key
    before: Json | None
    after: Json | None


class Store:
    """Objects by their key. `changes` is the last version; watches wait for another. `families` are the cluster's."""

    def __init__(self, clock: Callable[[], float], families: Sequence[str] = ("IPv4",)) -> None:
        self.families = tuple(families)
        self.version = 100
        self.oldest = 0
        self.changes: Latest[int] = Latest(0)
        self._clock = clock
        self._held: dict[Key, Held] = {}
        self._history: list[Change] = []

    def get(self, key: Key) -> Held | None:
        """Return an object, if it is there."""
        return self._held.get(key)

    def all(self) -> tuple[tuple[Key, Json], ...]:
        """Return every object."""
        return tuple((key, held.content) for key, held in self._held.items())

    def of(self, resource: str, namespace: str = "") -> Iterator[Json]:
        """Yield the objects of a resource in the order of their names, of one namespace or of all."""
        for key in sorted(self._held):
            if key[0] == resource and namespace in {"", key[1]}:
                yield self._held[key].content

    def since(self, version: int) -> Iterator[Change]:
        """Return the changes after a version."""
        return (change for change in self._history if change.version > version)

    def put(self, key: Key, content: Json, owners: tuple[Owner, ...]) -> Json:
        """Keep an object with the next version, and tell it."""
        about = {**content["metadata"], "resourceVersion": str(self.version + 1)}
        about["managedFields"] = rendered(owners, content["apiVersion"])
        made = {**content, "metadata": about}
        self._note(key, made)
        self._held[key] = Held(made, owners)
        return made

    def remove(self, key: Key) -> Json:
        """Drop an object, and tell it."""
        content = self._held[key].content
        self._note(key, None)
        del self._held[key]
        return {**content, "metadata": {**content["metadata"], "resourceVersion": str(self.version)}}

    def compact(self) -> None:
        """Forget all changes so far: who goes on from an older version is told that it has expired."""
        self.oldest = self.version
        self._history.clear()
        self.wake()

    def wake(self) -> None:
        """Have everybody look who waits for a change."""
        self.changes.set(self.changes.value + 1)

    def _note(self, key: Key, after: Json | None) -> None:
        self.version += 1
        before = self._held.get(key)
        self._history.append(Change(self.version, self._clock(), key, before.content if before else None, after))
        self.wake()
