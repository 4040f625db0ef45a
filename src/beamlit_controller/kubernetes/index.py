"""A bidirectional index between models and what they depend on (a Service, a label, a workload)."""

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from beamlit_controller.core.spec import ModelKey

T = TypeVar("T", bound=Hashable)


class Index(Generic[T]):
    """The models that depend on each thing, and the things that each model depends on."""

    def __init__(self) -> None:
        self._keys: dict[T, dict[ModelKey, None]] = {}
        self._things: dict[ModelKey, tuple[T, ...]] = {}

    def put(self, key: ModelKey, things: Iterable[T]) -> None:
        """Replace the things that a model depends on."""
        wanted = tuple(things)
        if self._things.get(key, ()) == wanted:
            return
        for thing in self._things.pop(key, ()):
            self._drop(thing, key)
        if wanted:
            self._things[key] = wanted
        for thing in wanted:
            self._keys.setdefault(thing, {})[key] = None

    def keys(self, thing: T) -> tuple[ModelKey, ...]:
        """Return the models that depend on a thing."""
        return tuple(self._keys.get(thing, ()))

    def _drop(self, thing: T, key: ModelKey) -> None:
        keys = self._keys.get(thing, {})
        keys.pop(key, None)
        if not keys:
            self._keys.pop(thing, None)
