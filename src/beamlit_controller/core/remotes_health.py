"""Judges whether a model's remotes are usable: each by name, and all of them in one condition."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from beamlit_controller.core import remote_health
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.remote_health import (
    NOTHING,
    THROTTLED,
    Attempts,
    RemoteAssessment,
    RemoteReady,
    SecretName,
)
from beamlit_controller.core.spec import RemoteBackend

Assessments = Mapping[str, RemoteAssessment]
"""The state of each remote by name, in the order in which they are tried."""
SPENT = "its budget is spent"


def judge(
    remotes: Sequence[RemoteBackend],
    previous: Assessments,
    attempts: Mapping[str, Attempts],
    *,
    secret_name: SecretName = remote_health.in_cluster,
) -> Assessments:
    """Judge each remote by its new attempts; without any, its last state is kept. Messages name Secrets by `secret_name`."""
    return {
        each.name: remote_health.judge(
            each,
            previous.get(each.name, RemoteAssessment()),
            attempts.get(each.name, NOTHING),
            secret_name=secret_name,
        )
        for each in remotes
    }


def condition(assessed: Assessments, spent: Collection[str] = ()) -> RemoteReady:
    """Return the combined condition: ready if any remote is ready, not ready only if none is.

    Remotes whose budget is spent get no requests, so they do not count, unless all are `spent`. The reason is that of
    the first remote in this state; the message lists each by name.
    """
    counting = {name: each for name, each in assessed.items() if name not in spent} or assessed
    conditions = [each.condition for each in counting.values()]
    if len(assessed) <= 1:
        return conditions[0] if conditions else RemoteAssessment().condition
    status = next(
        (status for status in ("True", "Unknown") if any(each.status == status for each in conditions)), "False"
    )
    reason = next(each.reason for each in conditions if each.status == status)
    listed = (f"{name}: {each.condition.message if name in counting else SPENT}" for name, each in assessed.items())
    return RemoteReady(status, reason, "; ".join(listed))


def is_known(assessed: Assessments) -> bool:
    """Return whether a request has gone to any of the remotes."""
    return any(each.condition.reason is not Reason.REMOTE_NOT_ASKED for each in assessed.values())


def together(attempts: Mapping[str, Attempts], remotes: Sequence[RemoteBackend]) -> Attempts:
    """Sum the attempts at all remotes, except each 429 after which another remote was tried."""
    known = [attempts.get(each.name, NOTHING) for each in remotes]
    return remote_health.all_together([*map(_without_429, known[:-1]), *known[-1:]])


def _without_429(attempts: Attempts) -> Attempts:
    return replace(attempts, counts=tuple(each for each in attempts.counts if each[1] != THROTTLED))
