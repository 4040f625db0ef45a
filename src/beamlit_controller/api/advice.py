"""What to do about what is wrong, in a clause each; docs/reasons.md says more."""

from collections.abc import Mapping
from typing import Final

from beamlit_controller.core.reason import Reason

BUG: Final = "it is retried; the controller's log has the traceback, please report it"
LATE: Final = "see whether the controller has enough CPU, and its log"
NOT_CONNECTED: Final = "it connects again by itself; if not, see its log and, in a cluster, NetworkPolicies"
LOCAL: Final = "start the local servers, or see why they refuse or fail requests"
METRIC: Final = "see the source of the metric; in the meantime `beamlit-controller override` sets the percentage"
SHORT: Final = "raise behavior.percentage, or use behavior.mode Adaptive, by which what would wait leaves at once"

_BY_REASON: Final[Mapping[str, str]] = {
    Reason.CONNECTION_FAILED: "see whether the remote runs, and remoteBackend.host with its port",
    Reason.TIMED_OUT: "see whether a firewall or a proxy is in between, and remoteBackend.host",
    Reason.TLS_FAILED: "see whether the remote speaks TLS on this port, and remoteBackend.scheme",
    Reason.CREDENTIALS_UNREADABLE: "create the Secret or the file that it names",
    Reason.REMOTE_ADDRESS_UNKNOWN: "see the spelling of remoteBackend.host, and DNS",
    Reason.REMOTE_UNHEALTHY: "see the remote, and remoteBackend.healthCheck",
    Reason.REMOTE_CERTIFICATE_EXPIRED: "renew the remote's certificate",
    Reason.REMOTE_CERTIFICATE_FOR_ANOTHER_NAME: "see remoteBackend.host and remoteBackend.tls.serverName",
    Reason.REMOTE_CERTIFICATE_UNTRUSTED: "name its authority in remoteBackend.tls.caSecretRef",
    Reason.REMOTE_REFUSES_CREDENTIAL: "renew the key in the Secret; it is read again at once",
    Reason.REMOTE_THROTTLES: "less is sent until it takes requests again; raise the limit at the provider, or set remoteBackend.maxInFlight",
    Reason.REMOTE_FAILS: "see the remote; local answers in the meantime",
    Reason.REMOTE_RESETS: "see the remote, and whether it expects this scheme and path",
    Reason.CONFIG_NOT_TAKEN: "change the spec by what Envoy says; the last good configuration is in force",
    Reason.SERVICE_CONTESTED: "configure the other writer (GitOps, an operator) to ignore spec.selector of the Service",
    Reason.SERVICE_HELD: "delete this ModelDeployment or the older one",
    Reason.SERVICE_NOT_FOUND: "create the Service, or change serviceRef",
    Reason.SERVICE_UNSUITABLE: "use routing.mode Service, or change the Service",
    Reason.PODS_NOT_REACHED: "look for a NetworkPolicy or a mesh between gateway and model",
    Reason.TRIGGERS_UNREADABLE: "do not read metrics through this Service",
    Reason.NAME_TAKEN: "rename the object that is there, or this ModelDeployment",
}


def of(reason: str) -> str:
    """Give what to do about a reason; "" if nothing is known."""
    return _BY_REASON.get(reason, "")


def gateway(problem: str) -> str:
    """Give what to do about a problem of a gateway on one machine, by what the system says."""
    if "Address already in use" in problem:
        return "end what listens there, or change config.standalone.listen; it is tried again every 2 s"
    if "No space left" in problem:
        return "make room on the disk; it is tried again"
    return "it is tried again; docs/gateway.md and its log say more"
