"""Where one gateway stands: its addresses and folders, whatever started it."""

from dataclasses import dataclass

from beamlit_controller.envoy import addresses
from beamlit_controller.envoy.messages import Message


@dataclass(frozen=True, slots=True)
class Place:
    """Where one gateway stands.

    Addresses are `host:port`, `[v6]:port` or `unix:/path`. `front` is where clients come in, `stats` where others may
    watch; `admin` must be a unix socket or loopback. `shares` is the share server. `local` are the model's servers, by
    address or by DNS name. `directory` holds the rendered files and `secrets` the files `NAME/KEY`, as Envoy sees them.
    `access_log` is a file, or "" for none. `system_ca` is what a remote without a CA of its own is verified against.
    `shares_ca` (PEM) is what the share server is verified against and `shares_token` what it is shown; without them it is
    spoken to in the clear.
    """

    node: str
    directory: str
    front: str
    stats: str
    admin: str
    shares: str
    local: tuple[str, ...] = ()
    secrets: str = "secrets"
    access_log: str = ""
    system_ca: str = "/etc/ssl/certs/ca-certificates.crt"
    shares_ca: str = ""
    shares_token: str = ""

    def __post_init__(self) -> None:
        for text in (self.front, self.stats, self.admin, self.shares, *self.local):
            addresses.message(text)
        if not addresses.is_private(self.admin):
            raise ValueError(f"admin: expected a unix socket or a loopback address, got {self.admin}")

    def watched(self, name: str) -> Message:
        """Give the ConfigSource of a rendered file: read again whenever something is renamed into its folder."""
        source = {"path": f"{self.directory}/{name}", "watched_directory": {"path": self.directory}}
        return {"resource_api_version": "V3", "path_config_source": source}
