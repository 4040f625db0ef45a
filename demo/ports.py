"""The ports on 127.0.0.1 that the demo uses: those of the example files, or others counted from another base."""

import contextlib
import re
import socket
from dataclasses import dataclass

DEFAULT_BASE = 18080
OFFSETS = {
    "gateway": 0,
    "controller's web endpoints": 1,
    "local server 1": 21,
    "local server 2": 22,
    "contract": 363,
    "on-demand": 364,
}
HIGHEST_BASE = 65535 - max(OFFSETS.values())


@dataclass(frozen=True, slots=True)
class Ports:
    """All ports of one run, by who listens there."""

    base: int = DEFAULT_BASE

    @property
    def gateway(self) -> int:
        """Return the port that clients use."""
        return self.base + OFFSETS["gateway"]

    @property
    def web(self) -> int:
        """Return the port of the controller's web endpoints."""
        return self.base + OFFSETS["controller's web endpoints"]

    @property
    def local(self) -> tuple[int, int]:
        """Return the ports of the local model servers."""
        return self.base + OFFSETS["local server 1"], self.base + OFFSETS["local server 2"]

    @property
    def remotes(self) -> dict[str, int]:
        """Return the ports of the remotes, by name."""
        return {name: self.base + OFFSETS[name] for name in ("contract", "on-demand")}

    def adjust(self, text: str) -> str:
        """Put these ports in the place of the default ones in an example file."""
        defaults = "|".join(str(DEFAULT_BASE + offset) for offset in OFFSETS.values())
        return re.sub(rf"(?<=:)(?:{defaults})\b", lambda port: str(int(port[0]) - DEFAULT_BASE + self.base), text)


def url(port: int) -> str:
    """Return the address of what listens on a port."""
    return f"http://127.0.0.1:{port}"


def taken(ports: Ports) -> tuple[tuple[str, int], ...]:
    """Return which ports can't be listened on now, and who needs them."""
    wanted = ((name, ports.base + offset) for name, offset in OFFSETS.items())
    return tuple((name, port) for name, port in wanted if not _free(port))


def _free(port: int) -> bool:
    with contextlib.closing(socket.socket()) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an earlier run may linger
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
