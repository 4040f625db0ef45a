"""Weighted remotes: adjacent remotes with weights, which share the requests for the first of them.

The way to an equal passes over it for the part of the requests that is for those after it, as it does for an ejected remote.
"""

from itertools import takewhile

from beamlit_controller.core.spec import OffloadSpec, RemoteBackend


def weight_after(spec: OffloadSpec, remote: RemoteBackend) -> int:
    """Return the weight of the equals after this remote, for which it is passed over; 0 if there are none."""
    if remote.weight is None:
        return 0
    following = spec.remotes[spec.remotes.index(remote) + 1 :]
    return sum(each.weight or 0 for each in takewhile(lambda each: each.weight is not None, following))


def passed_over(spec: OffloadSpec) -> tuple[RemoteBackend, ...]:
    """Return the remotes that some requests pass over although they are well."""
    return tuple(remote for remote in spec.remotes if weight_after(spec, remote))
