"""Fault injection for the fake API server: refusals, delays, hanging requests, lost responses, killed clients."""

from dataclasses import dataclass
from enum import Enum, auto
from fnmatch import fnmatchcase
from itertools import count

from fakes.api_kinds import RefusedError
from fakes.api_requests import Asked


class CrashedError(BaseException):
    """The client's process died: nothing may catch this, and nothing more of it is written."""


class Act(Enum):
    """What a rule does to a request."""

    REFUSE = auto()
    DELAY = auto()
    HANG = auto()
    RESET = auto()
    """The connection breaks before anything is carried out."""
    LOSE = auto()
    """It is carried out, and no answer comes: the client gives up by its own deadline."""
    BREAK = auto()
    """It is carried out, and the connection breaks before the answer."""
    DOUBLE = auto()
    """Each event of a watch is told twice."""
    DROP = auto()
    """A watch breaks off instead of every so manieth event."""


@dataclass(slots=True)
class Rule:
    """A rule: for which requests, what, and how often it still holds (None for always)."""

    verbs: frozenset[str]
    path: str
    act: Act
    left: int | None
    client: str = "*"
    seconds: float = 0
    error: RefusedError | None = None
    met: int = 0
    every: int = 1

    def meets(self, asked: Asked) -> bool:
        """Return whether it is for a request."""
        verb = asked.verb in self.verbs or "*" in self.verbs or ("write" in self.verbs and asked.writes)
        return self.left != 0 and verb and fnmatchcase(asked.path, self.path) and fnmatchcase(asked.client, self.client)


@dataclass(frozen=True, slots=True)
class Crash:
    """The client dies at the `number`-th write that it sends from now on, before or after that is carried out."""

    number: int
    carried_out: bool
    client: str


class Faults:
    """The rules, in the order in which they were made; each request meets the first that is for it.

    `verbs` are names such as `"apply"`, several as `"apply merge"`, `"write"` for all that change something, `"*"` for all.
    `path` is a pattern such as `"*/services/*"`. `times` is how often the rule holds: None for always.
    """

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self._crashes: list[Crash] = []
        self._written: count[int] = count(1)

    def refuse(
        self, verbs: str, path: str, error: RefusedError, *, times: int | None = None, client: str = "*"
    ) -> Rule:
        """Answer with an error."""
        return self._add(verbs, path, Act.REFUSE, times, client=client, error=error)

    def delay(self, verbs: str, path: str, seconds: float, *, times: int | None = None, client: str = "*") -> Rule:
        """Carry out, or with `"watch"` tell each event, only after a while."""
        return self._add(verbs, path, Act.DELAY, times, client=client, seconds=seconds)

    def hang(self, verbs: str, path: str, *, times: int | None = None, client: str = "*") -> Rule:
        """Neither carry out nor answer."""
        return self._add(verbs, path, Act.HANG, times, client=client)

    def reset(self, verbs: str, path: str, *, times: int | None = None, client: str = "*") -> Rule:
        """Break the connection before anything is carried out."""
        return self._add(verbs, path, Act.RESET, times, client=client)

    def lose(
        self, verbs: str, path: str, *, times: int | None = None, client: str = "*", at_once: bool = False
    ) -> Rule:
        """Carry out, and give no answer: the client's deadline passes, or with `at_once` its connection breaks."""
        return self._add(verbs, path, Act.BREAK if at_once else Act.LOSE, times, client=client)

    def double(self, path: str) -> None:
        """Tell each event of a watch twice."""
        self._add("watch", path, Act.DOUBLE, None, client="*")

    def drop(self, path: str, *, every: int) -> None:
        """Break watches off instead of every so manieth event; it is told to who watches on."""
        self._add("watch", path, Act.DROP, None, client="*").every = every

    def crash_at(self, number: int, *, carried_out: bool, client: str = "*") -> None:
        """Have the client die at its `number`-th write from now on, before or after that is carried out."""
        self._crashes = [Crash(number, carried_out, client)]
        self._written = count(1)

    def clear(self) -> None:
        """Forget all rules, and the crash that has not come yet."""
        self.rules.clear()
        self._crashes.clear()

    def take(self, asked: Asked) -> Rule | None:
        """Return the rule that a request meets, and count it."""
        rule = self.for_(asked)
        if rule is not None:
            rule.met += 1
            rule.left = None if rule.left is None else rule.left - 1
        return rule

    def for_(self, asked: Asked) -> Rule | None:
        """Return the rule that a request would meet."""
        return next((rule for rule in self.rules if rule.meets(asked)), None)

    def told(self, asked: Asked, line: bytes) -> tuple[bytes, ...] | None:
        """Return what an event of a watch is told as; None if the watch breaks off instead."""
        rule = self.for_(asked)
        if rule is None or rule.act not in {Act.DOUBLE, Act.DROP}:
            return (line,)
        rule.met += 1
        if rule.act is Act.DOUBLE:
            return (line, line)
        return None if rule.met % rule.every == 0 else (line,)

    def crash(self, asked: Asked) -> Crash | None:
        """Return the crash that comes with this write, and count it."""
        planned = next((each for each in self._crashes if fnmatchcase(asked.client, each.client)), None)
        if planned is None or not asked.writes or next(self._written) != planned.number:
            return None
        self._crashes.clear()
        return planned

    def _add(  # one for each kind of rule above
        self,
        verbs: str,
        path: str,
        act: Act,
        times: int | None,
        *,
        client: str,
        seconds: float = 0,
        error: RefusedError | None = None,
    ) -> Rule:
        rule = Rule(frozenset(verbs.split()), path, act, times, client, seconds, error)
        self.rules.append(rule)
        return rule


def forbidden(what: str = "") -> RefusedError:
    """Refuse as RBAC or an admission webhook does."""
    said = what or 'services "llama" is forbidden: User "system:serviceaccount:beamlit:controller" cannot patch it'
    return RefusedError(403, "Forbidden", said)


def conflict() -> RefusedError:
    """Refuse as when somebody was quicker."""
    said = "the object has been modified; please apply your changes to the latest version and try again"
    return RefusedError(409, "Conflict", f"Operation cannot be fulfilled: {said}")


def too_many(retry_after: int = 1) -> RefusedError:
    """Refuse as API priority and fairness does."""
    return RefusedError(429, "TooManyRequests", "too many requests, please try again later", retry_after)


def broken() -> RefusedError:
    """Refuse as when a webhook can't be reached."""
    return RefusedError(500, "InternalError", 'Internal error occurred: failed calling webhook "policy.example.com"')


def unavailable() -> RefusedError:
    """Refuse as when the server starts or its storage is away."""
    return RefusedError(503, "ServiceUnavailable", "the server is currently unable to handle the request")


def timed_out() -> RefusedError:
    """Refuse as when the storage is slow; the write may have been carried out."""
    return RefusedError(504, "Timeout", "Timeout: request did not complete within the requested timeout 34s")
