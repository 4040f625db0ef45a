"""The parameters of one gateway: its addresses and folders, in both modes."""

from dataclasses import dataclass

from beamlit_controller.api.settings import OtlpSettings
from beamlit_controller.core.spec import SecretKey
from beamlit_controller.envoy import addresses
from beamlit_controller.envoy.messages import Message


@dataclass(frozen=True, slots=True)
class GatewayParams:
    """The parameters of one gateway beside its spec.

    Addresses are `host:port`, `[v6]:port` or `unix:/path`.

    `front` is the listen address for clients, `stats` the one for metrics and probes. `admin` must be a Unix socket or
    a loopback address. `shares` is the RTDS server, whose certificate is verified with `shares_ca` (PEM) and which gets
    `shares_token`; without them the connection is not encrypted.

    `local` are the model's servers, by address or DNS name; with `local_ipv6` their IPv6 addresses are used before their
    IPv4 addresses. `directory` has the rendered files, and `secrets` the files
    `NAME/KEY`, as Envoy sees them; `mounted` tells that they are Kubernetes volumes. `access_log` is a file, "" for
    none. `gateways` is how many gateways share the model's requests. `system_ca` verifies a remote without a CA of its
    own.

    `tcp_passthrough` are further listen addresses, each with the servers (by name) to which connections are passed
    through. With `client_ip_affinity` all requests of a client address go to the same local server while it exists.
    `descriptors` is Envoy's limit of open files, 0 if unknown. `otlp` is where spans are sent, if anywhere.
    `metadata_server` issues Google's tokens.
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
    local_ipv6: bool = False

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
        """Return the number of local servers if they are given by address; 0 if DNS decides."""
        hosts = [text for text in self.local if not addresses.is_unix(text)]
        return len(self.local) if all(addresses.is_ip(addresses.split(host)[0]) for host in hosts) else 0

    def secret(self, key: SecretKey) -> str:
        """Return the file of a Secret's key.

        In a Kubernetes volume this is the path through the link `..data`, which is replaced atomically. The links to
        new keys are created after that, when Envoy would not look again.
        """
        return f"{self._folder_of(key)}/..data/{key.key}" if self.mounted else f"{self._folder_of(key)}/{key.key}"

    def watched_with(self, name: str, key: SecretKey) -> Message:
        """Return the ConfigSource of a rendered file that refers to this key; it is reloaded whenever the key is replaced."""
        source = {"path": f"{self.directory}/{name}", "watched_directory": {"path": self._folder_of(key)}}
        return {"resource_api_version": "V3", "initial_fetch_timeout": "1s", "path_config_source": source}

    def watched(self, name: str) -> Message:
        """Return the ConfigSource of a rendered file; it is reloaded whenever a file is renamed into its directory."""
        source = {"path": f"{self.directory}/{name}", "watched_directory": {"path": self.directory}}
        return {"resource_api_version": "V3", "path_config_source": source}

    def _folder_of(self, key: SecretKey) -> str:
        return f"{self.secrets}/{key.name}"
