"""The parameters of one gateway: its addresses and folders, in both modes."""

from dataclasses import dataclass

from beamlit_controller.api.settings import OtlpSettings
from beamlit_controller.core.spec import SecretKey
from beamlit_controller.envoy import addresses
from beamlit_controller.envoy.messages import Message


@dataclass(frozen=True, slots=True)
class GatewayParams:
    """Where one gateway stands.

    Addresses are `host:port`, `[v6]:port` or `unix:/path`. `front` is where clients come in, `stats` where others may
    watch; `admin` must be a unix socket or loopback. `shares` is the RTDS server. `local` are the model's servers, by
    address or by DNS name. `directory` holds the rendered files and `secrets` the files `NAME/KEY`, as Envoy sees them;
    `mounted` tells that they are volumes of Kubernetes.
    `access_log` is a file, or "" for none. `gateways` is how many of them share the model's requests. `system_ca` is what
    a remote without a CA of its own is verified against. `shares_ca` (PEM) is what the RTDS server is verified against
    and `shares_token` what it is shown; without them it is spoken to in the clear. `tcp_passthrough` are further ports, each with
    the servers behind it (by name), whose connections are passed through as they are. `client_ip_affinity` tells that all requests
    from one address go to the same local server, as long as it is there. `descriptors` is how many files Envoy may have
    open, 0 if that is not known. `otlp` is where spans are sent, None for nowhere. `metadata_server` is where Google's tokens come from.
    """

    node: str
    directory: str
    front: str
    stats: str
    admin: str
    shares: str
    local: tuple[str, ...] = ()
    secrets: str = "secrets"
    mounted: bool = False
    access_log: str = ""
    gateways: int = 1
    system_ca: str = "/etc/ssl/certs/ca-certificates.crt"
    shares_ca: str = ""
    shares_token: str = ""
    tcp_passthrough: tuple[tuple[str, str], ...] = ()
    client_ip_affinity: bool = False
    descriptors: int = 0
    otlp: OtlpSettings | None = None
    metadata_server: str = "169.254.169.254:80"

    def __post_init__(self) -> None:
        for text in (
            self.front,
            self.stats,
            self.admin,
            self.shares,
            *self.local,
            *(each for pair in self.tcp_passthrough for each in pair),
            *((self.otlp.address,) if self.otlp else ()),
        ):
            addresses.message(text)
        if not addresses.is_private(self.admin):
            raise ValueError(f"admin: expected a unix socket or a loopback address, got {self.admin}")

    @property
    def servers(self) -> int:
        """Count the local servers if they are told by address; 0 if DNS will tell."""
        hosts = [text for text in self.local if not addresses.is_unix(text)]
        return len(self.local) if all(addresses.is_ip(addresses.split(host)[0]) for host in hosts) else 0

    def secret(self, key: SecretKey) -> str:
        """Return the file of a Secret's key.

        In a volume of Kubernetes it is behind the link `..data`: that is exchanged in one step, and only after it come the
        links to new keys, for which nobody would look again.
        """
        return f"{self._folder_of(key)}/..data/{key.key}" if self.mounted else f"{self._folder_of(key)}/{key.key}"

    def watched_with(self, name: str, key: SecretKey) -> Message:
        """Return the ConfigSource of a rendered file that refers to this key: read again whenever the key is exchanged."""
        source = {"path": f"{self.directory}/{name}", "watched_directory": {"path": self._folder_of(key)}}
        return {"resource_api_version": "V3", "initial_fetch_timeout": "1s", "path_config_source": source}

    def watched(self, name: str) -> Message:
        """Return the ConfigSource of a rendered file: read again whenever something is renamed into its folder."""
        source = {"path": f"{self.directory}/{name}", "watched_directory": {"path": self.directory}}
        return {"resource_api_version": "V3", "path_config_source": source}

    def _folder_of(self, key: SecretKey) -> str:
        return f"{self.secrets}/{key.name}"
