"""The configuration that a gateway has in force, and the next one to give it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Files = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ConfigInForce:
    """A gateway's report about its files: the version of each that is in force, and the files of which it rejected a version.

    `warming` is true while a part of them is not in use yet. `busy` lists the ids of the remotes with requests in
    flight.
    """

    versions: tuple[tuple[str, str], ...] = ()
    refused: tuple[str, ...] = ()
    warming: bool = False
    busy: frozenset[str] = frozenset()


UNKNOWN = ConfigInForce()
"""The value for a gateway that does not answer."""


@dataclass(frozen=True, slots=True)
class ConfigStep:
    """The files to give to the gateway now. `settled` is true once these are the requested ones."""

    files: Files = field(repr=False)
    settled: bool
