"""What a gateway has of its configuration, and what it is to be given next."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Files = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ConfigInForce:
    """What a gateway says of its files: the version of each that it has in force, and those of which it refused one.

    `warming` tells that something of them is not in use yet. `busy` are the remotes, by
    the id in their names, that have requests.
    """

    versions: tuple[tuple[str, str], ...] = ()
    refused: tuple[str, ...] = ()
    warming: bool = False
    busy: frozenset[str] = frozenset()


UNKNOWN = ConfigInForce()
"""What a gateway that does not answer says."""


@dataclass(frozen=True, slots=True)
class ConfigStep:
    """The files to be given now. `settled` tells that there is nothing more to do for what was asked for."""

    files: Files = field(repr=False)
    settled: bool
