"""What keeps a gateway from doing what its spec says: shown while it lasts, logged when it is new, counted."""

from enum import StrEnum

import structlog

from beamlit_controller.core.spec import ModelKey
from beamlit_controller.standalone.state_folder import StateError

log = structlog.get_logger()


class Fault(StrEnum):
    """What can be wrong with a gateway, as the log says it."""

    FILES = "gateway's files can't be written"
    PROCESS = "gateway can't stay up"
    LISTENER = "gateway can't listen"
    ADMIN = "gateway doesn't answer"
    REMOTE = "gateway's counts of its remote can't be read"
    UPGRADE = "gateway can't be taken over by another Envoy"
    REFUSED = "gateway refused what it was given"
    STOP = "gateway can't be stopped"


class Faults:
    """The faults that one gateway has now."""

    def __init__(self, key: ModelKey) -> None:
        self._key = key
        self._messages: dict[Fault, str] = {}
        self.count = 0

    @property
    def text(self) -> str:
        """Give all messages but those that only repeat another in more words; "" while all is well."""
        told = tuple(dict.fromkeys(self._messages.values()))
        return "; ".join(each for each in told if not any(other in each for other in told if other != each))

    def has(self, fault: Fault) -> bool:
        """Tell whether the gateway has this fault."""
        return fault in self._messages

    def add(self, fault: Fault, message: str) -> None:
        """Take note of a fault. It is counted each time, and logged when its message is new."""
        self.count += 1
        before, self._messages[fault] = self._messages.get(fault), message
        if before != message:
            log.error(fault.value, model=str(self._key), problem=message)

    def clear(self, *faults: Fault) -> None:
        """Take note that these are over."""
        for fault in faults:
            if self._messages.pop(fault, None) is not None:
                log.info("gateway's fault is over", model=str(self._key), fault=fault.value)


def message_of(error: BaseException) -> str:
    """Say an error, and of a group its first one."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, OSError | StateError) and str(error) else f"{type(error).__name__}: {error}"
