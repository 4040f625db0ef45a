"""`remoteBackends` as users write it: several remotes, in the order in which a request tries them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from beamlit_controller.api import addresses
from beamlit_controller.api.remote import RemoteBackendConfig
from beamlit_controller.api.rules import Cel, Mistake, dig
from beamlit_controller.api.scalars import DnsLabel

MOST = 8
ONE, SEVERAL = "remoteBackend", "remoteBackends"
_CONFIG = ("spec", "offloadingConfig")


class NamedRemote(RemoteBackendConfig):
    """One of several remotes."""

    name: DnsLabel | None = Field(
        default=None,
        description="Name of the remote in the status, in logs and in metrics. "
        "By default its host with `-` in place of other characters than letters and digits: `api-example-com`.",
    )
    weight: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None,
        description="Adjacent remotes with weights share requests in proportion to them; a request that one of them fails goes to another. By default only the order counts.",
    )


Remotes = Annotated[list[NamedRemote], Field(min_length=1, max_length=MOST)]


@dataclass(frozen=True, slots=True)
class UniqueNames:
    """No two remotes in a field have the same name, whether it is written or derived from the host."""

    field: str = SEVERAL

    def mistakes(self, given: Mapping[str, object]) -> Iterator[Mistake]:
        """Report the later one."""
        listed = given.get(self.field)
        seen: dict[str, int] = {}
        for index, each in enumerate(listed[:MOST] if isinstance(listed, list) else ()):
            name = _name(each)
            if name in seen:
                yield Mistake(
                    (self.field, index, "name"),
                    f"expected a unique name, got {name} as {self.field}[{seen[name]}] has",
                )
            elif name:
                seen[name] = index

    def cel(self) -> Iterator[Cel]:
        """Compare the written names."""
        listed = f"self.{self.field}"
        own = f"{listed}.all(a, !has(a.name) || {listed}.exists_one(b, has(b.name) && b.name == a.name))"
        yield Cel(f"!has({listed}) || {own}", f"each of {self.field} needs a unique name")


def name_of(host: str) -> str:
    """Return the default name of a remote, derived from its host; "" if that is invalid."""
    try:
        found = addresses.parse(host, default_port=0).host
    except ValueError:
        return ""
    return re.sub(r"[^a-z0-9]+", "-", found.lower()).strip("-")[:63].rstrip("-")


def written(
    one: RemoteBackendConfig | None, several: list[NamedRemote] | None
) -> Iterator[tuple[str, RemoteBackendConfig]]:
    """Yield each remote of a valid manifest with its field."""
    if one is not None:
        yield f"{'.'.join(_CONFIG)}.{ONE}", one
    for index, each in enumerate(several or ()):
        yield f"{'.'.join(_CONFIG)}.{SEVERAL}[{index}]", each


def paths(given: Mapping[str, object]) -> Iterator[tuple[tuple[str | int, ...], object]]:
    """Yield each remote in a raw manifest that may be invalid, with its path."""
    config = dig(given, _CONFIG)
    yield (*_CONFIG, ONE), dig(config, (ONE,))
    listed = dig(config, (SEVERAL,))
    for index, each in enumerate(listed[:MOST] if isinstance(listed, list) else ()):
        yield (*_CONFIG, SEVERAL, index), each


def _name(remote: object) -> str:
    name, host = dig(remote, ("name",)), dig(remote, ("host",))
    if name is not None:
        return name if isinstance(name, str) else ""
    return name_of(host) if isinstance(host, str) else ""
