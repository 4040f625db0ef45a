"""Faults that keep a gateway from following its spec: shown while they last, logged when new, and counted."""

from enum import StrEnum

import structlog

from beamlit_controller.core.spec import ModelKey
from beamlit_controller.standalone.state_folder import StateError

log = structlog.get_logger()


class Fault(StrEnum):
    """The kinds of faults, as logged."""

    FILES = "gateway files not written"
    PROCESS = "gateway does not stay up"
    LISTENER = "gateway can't listen"
    ADMIN = "gateway does not answer"
    REMOTE = "gateway stats of the remote not readable"
    UPGRADE = "gateway hot restart failed"
    REFUSED = "gateway configuration rejected"
    STOP = "gateway not stopped"


class Faults:
    """The current faults of one gateway."""

    def __init__(self, key: ModelKey) -> None:
        self._key = key
        self._messages: dict[Fault, str] = {}
        self.count = 0

    @property
    def text(self) -> str:
        """Return all messages, except those that another one contains; "" if there are none."""
        messages = tuple(dict.fromkeys(self._messages.values()))
        return "; ".join(each for each in messages if not any(other in each for other in messages if other != each))

    def has(self, fault: Fault) -> bool:
        """Return whether the gateway has this fault."""
        return fault in self._messages

    def add(self, fault: Fault, message: str) -> None:
        """Record a fault. It is counted each time, and logged when its message is new."""
        self.count += 1
        before, self._messages[fault] = self._messages.get(fault), message
        if before != message:
            log.error(fault.value, model=str(self._key), problem=message)

    def clear(self, *faults: Fault) -> None:
        """Record that these faults are over."""
        for fault in faults:
            if self._messages.pop(fault, None) is not None:
                log.info("gateway fault resolved", model=str(self._key), fault=fault.value)


def message_of(error: BaseException) -> str:
    """Format an error; of a group, its first one."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, OSError | StateError) and str(error) else f"{type(error).__name__}: {error}"
