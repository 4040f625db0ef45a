"""Cross-field rules, declared once: checked here, and rendered as CEL for the API server.

A model lists its rules in `rules`. Each has `mistakes`, which checks a raw mapping, and `cel`, which returns the same
condition for the CRD.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake, and its path below the model that has the rule."""

    at: tuple[str | int, ...]
    message: str


@dataclass(frozen=True, slots=True)
class Cel:
    """One `x-kubernetes-validations` entry."""

    rule: str
    message: str


class Rule(Protocol):
    """A condition between the fields of one model."""

    def mistakes(self, given: Mapping[str, object]) -> Iterator[Mistake]:
        """Return the mistakes. Fields of a wrong type are reported elsewhere."""
        ...

    def cel(self) -> Iterator[Cel]:
        """Return the same rule in the Common Expression Language."""
        ...


@dataclass(frozen=True, slots=True)
class ExactlyOne:
    """Exactly one of the fields is set."""

    names: tuple[str, ...]

    def mistakes(self, given: Mapping[str, object]) -> Iterator[Mistake]:
        """Report the model if none is set, the later fields if several are."""
        there = [name for name in self.names if name in given]
        if not there:
            yield Mistake((), f"required: one of {', '.join(self.names)}")
        for name in there[1:]:
            yield Mistake((name,), f"may not be set together with {there[0]}: exactly one of {', '.join(self.names)}")

    def cel(self) -> Iterator[Cel]:
        """Count the fields that are present."""
        listed = ", ".join(f"has(self.{name})" for name in self.names)
        yield Cel(f"[{listed}].filter(there, there).size() == 1", f"exactly one of {', '.join(self.names)}")


@dataclass(frozen=True, slots=True)
class AtMostOne:
    """At most one of the fields is set."""

    names: tuple[str, ...]

    def mistakes(self, given: Mapping[str, object]) -> Iterator[Mistake]:
        """Report all but the first."""
        there = [name for name in self.names if name in given]
        for name in there[1:]:
            yield Mistake((name,), f"may not be set together with {there[0]}: at most one of {', '.join(self.names)}")

    def cel(self) -> Iterator[Cel]:
        """Count the fields that are present."""
        listed = ", ".join(f"has(self.{name})" for name in self.names)
        yield Cel(f"[{listed}].filter(there, there).size() <= 1", f"at most one of {', '.join(self.names)}")


@dataclass(frozen=True, slots=True)
class AllOrNone:
    """Both fields are set, or neither."""

    one: str
    other: str

    def mistakes(self, given: Mapping[str, object]) -> Iterator[Mistake]:
        """Report the one that is missing."""
        for there, missing in ((self.one, self.other), (self.other, self.one)):
            if there in given and missing not in given:
                yield Mistake((missing,), f"required together with {there}")

    def cel(self) -> Iterator[Cel]:
        """Check that both or none are present."""
        yield Cel(
            f"has(self.{self.one}) == has(self.{self.other})", f"{self.one} and {self.other} must be set together"
        )


@dataclass(frozen=True, slots=True)
class RequiresSibling:
    """A field of a member requires a field beside that member, except for some of its values; `why` tells what for."""

    member: str
    asking: str
    needed: str
    why: str
    unless: tuple[str, ...] = ()

    def mistakes(self, given: Mapping[str, object]) -> Iterator[Mistake]:
        """Report the missing field."""
        member = given.get(self.member)
        asking = member.get(self.asking) if isinstance(member, Mapping) else None
        if asking is not None and asking not in self.unless and self.needed not in given:
            yield Mistake((self.needed,), self._message())

    def cel(self) -> Iterator[Cel]:
        """Check the first field, and then the other."""
        field = f"self.{self.member}.{self.asking}"
        condition = f"has(self.{self.member}) && has({field})"
        condition += "".join(f" && {field} != '{value}'" for value in self.unless)
        yield Cel(f"!({condition}) || has(self.{self.needed})", f"{self.needed}: {self._message()}")

    def _message(self) -> str:
        return f"required together with {self.member}.{self.asking}: {self.why}"


@dataclass(frozen=True, slots=True)
class Immutable:
    """The field keeps its first value; only the API server can check that."""

    name: str

    def mistakes(self, given: Mapping[str, object]) -> Iterator[Mistake]:  # noqa: ARG002 - the protocol's signature
        """Return none: a manifest alone has no previous value."""
        yield from ()

    def cel(self) -> Iterator[Cel]:
        """Compare it with its previous value (a transition rule, which is only evaluated in updates)."""
        message = f"{self.name} can't be changed: delete the resource and create another"
        yield Cel(f"self.{self.name} == oldSelf.{self.name}", message)


@dataclass(frozen=True, slots=True)
class MemberOfType:
    """`type` names the one member that is set (or none, for a type without a member); the pairs are (type, member)."""

    pairs: tuple[tuple[str, str | None], ...]

    def mistakes(self, given: Mapping[str, object]) -> Iterator[Mistake]:
        """Report the missing member and those that don't belong; nothing if the type is unknown."""
        members = [member for _, member in self.pairs if member]
        for kind, own in self.pairs:
            if kind != given.get("type"):
                continue
            if own and own not in given:
                yield Mistake((own,), f"required with type {kind}")
            for member in members:
                if member != own and member in given:
                    yield Mistake((member,), f"may not be set with type {kind}" + (f", only {own}" if own else ""))

    def cel(self) -> Iterator[Cel]:
        """Check each member against the type."""
        for kind, member in self.pairs:
            if member:
                yield Cel(
                    f"has(self.{member}) == (self.type == '{kind}')",
                    f"{member} is required with type {kind}, and not allowed otherwise",
                )


@dataclass(frozen=True, slots=True)
class TargetFields:
    """The target has one of the fields. Mistakes are reported at `none_at` and `both_at`, as by the HPA; without `both_at`, all may be set."""

    fields: tuple[str, ...]
    none_at: str
    both_at: str | None = None
    path: tuple[str, ...] = ("target",)
    optional: bool = False

    def mistakes(self, given: Mapping[str, object]) -> Iterator[Mistake]:
        """Check the target, if it is a mapping."""
        target = dig(given, self.path)
        if not isinstance(target, Mapping):
            return
        there = [name for name in self.fields if target.get(name) is not None]
        wanted = " or ".join(self.fields)
        if not there:
            instead = ", ".join(name for name in _TARGET_FIELDS if target.get(name) is not None)
            got = f", got {instead}" if instead else ""
            yield Mistake((*self.path, self.none_at), f"required: this kind of metric needs {wanted}{got}")
        if len(there) > 1 and self.both_at:
            yield Mistake((*self.path, self.both_at), f"may not set both {' and '.join(there)}")

    def cel(self) -> Iterator[Cel]:
        """Count the fields that are present."""
        target = ".".join(("self", *self.path))
        listed = ", ".join(f"has({target}.{name})" for name in self.fields)
        bound = "== 1" if self.both_at else ">= 1"
        guard = f"!has({target}) || " if self.optional else ""
        several = "exactly one of " if self.both_at else "at least one of "
        needed = (several if len(self.fields) > 1 else "") + ", ".join(self.fields)
        yield Cel(f"{guard}[{listed}].filter(there, there).size() {bound}", f"{'.'.join(self.path)} needs {needed}")


_TARGET_FIELDS = ("value", "averageValue", "averageUtilization")


def dig(given: object, path: tuple[str, ...]) -> object:
    """Follow a path of names through mappings; None if it ends early."""
    for name in path:
        given = given.get(name) if isinstance(given, Mapping) else None
    return given
