"""Weighted remotes: adjacent remotes with a `weight`, which share the requests that reach the first of them.

In the chain of remotes, such a remote is skipped for the requests that belong to the weighted remotes after it, as an
ejected remote is skipped for all.
"""

from collections.abc import Iterator, Sequence
from itertools import count, groupby, takewhile

from beamlit_controller.core.spec import OffloadSpec, RemoteBackend


def weight_after(spec: OffloadSpec, remote: RemoteBackend) -> int:
    """Return the total weight of the weighted remotes directly after this one, 0 if there are none."""
    if remote.weight is None:
        return 0
    following = spec.remotes[spec.remotes.index(remote) + 1 :]
    return sum(each.weight or 0 for each in takewhile(lambda each: each.weight is not None, following))


def passed_over(spec: OffloadSpec) -> tuple[RemoteBackend, ...]:
    """Return the remotes that some requests skip although they are healthy."""
    return tuple(remote for remote in spec.remotes if weight_after(spec, remote))


def groups(weights: Sequence[int | None]) -> Iterator[tuple[int, ...]]:
    """Yield the indexes of the remotes that share requests, and each remote without a weight alone, in the order in which they are tried."""
    alone = count(1)
    keys = (0 if weight is not None else next(alone) for weight in weights)
    for _, members in groupby(enumerate(keys), key=lambda each: each[1]):
        yield tuple(index for index, _ in members)
