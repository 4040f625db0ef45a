"""Advice for each problem, in one clause; docs/reasons.md has the details."""

from collections.abc import Mapping
from typing import Final

from beamlit_controller.core.reason import Reason

BUG: Final = "retried automatically; please report the traceback in the controller's log"
LATE: Final = "check the controller's CPU limit and log"
NOT_CONNECTED: Final = "it reconnects automatically; otherwise check its log and, in a cluster, NetworkPolicies"
LOCAL: Final = "start the local servers, or check why they reject or fail requests"
METRIC: Final = "check the source of the metric; meanwhile, `beamlit-controller override` can set the percentage"
METRIC_LATER: Final = "check the source of the metric before the override ends"
SHORT: Final = "raise behavior.percentage, or use behavior.mode Adaptive, which offloads requests that would wait"

_BY_REASON: Final[Mapping[str, str]] = {
    Reason.CONNECTION_FAILED: "check that the remote is running, and the host and port in remoteBackend.host",
    Reason.TIMED_OUT: "check firewalls and proxies in between, and remoteBackend.host",
    Reason.TLS_FAILED: "check that the remote speaks TLS on this port, and remoteBackend.scheme",
    Reason.CREDENTIALS_UNREADABLE: "create the Secret or file named in the message",
    Reason.REMOTE_ADDRESS_UNKNOWN: "check remoteBackend.host and DNS",
    Reason.REMOTE_UNHEALTHY: "check the remote, and remoteBackend.healthCheck",
    Reason.REMOTE_CERTIFICATE_EXPIRED: "renew the remote's certificate",
    Reason.REMOTE_CERTIFICATE_FOR_ANOTHER_NAME: "check remoteBackend.host and remoteBackend.tls.serverName",
    Reason.REMOTE_CERTIFICATE_UNTRUSTED: "set remoteBackend.tls.caSecretRef to its CA",
    Reason.REMOTE_REFUSES_CREDENTIAL: "renew the key in the Secret; it is reloaded at once",
    Reason.REMOTE_THROTTLES: "fewer requests are sent until it accepts them again; raise the limit at the provider, or set remoteBackend.maxInFlight",
    Reason.REMOTE_FAILS: "check the remote",
    Reason.REMOTE_RESETS: "check the remote, and that it expects this scheme and path",
    Reason.CONFIG_NOT_TAKEN: "fix the spec according to Envoy's message; the last good configuration stays in force",
    Reason.BUDGET_SPENT: "raise budget.amount, add a remote (remoteBackends), or add local servers",
    Reason.SERVICE_CONTESTED: "configure the other writer (GitOps, an operator) to ignore spec.selector of the Service, or set routing.mode: Service",
    Reason.SERVICE_HELD: "delete this ModelDeployment or the older one",
    Reason.SERVICE_NOT_FOUND: "create the Service, or change serviceRef",
    Reason.SERVICE_UNSUITABLE: "use routing.mode Service, or change the Service",
    Reason.GATEWAY_FAILING: "fix what the message names: a quota, the image, its Secrets, or the size of the cluster",
    Reason.PODS_NOT_REACHED: "check for a NetworkPolicy or service mesh between gateway and model",
    Reason.TRIGGERS_UNREADABLE: "do not read metrics through this Service",
    Reason.NAME_TAKEN: "rename the existing object, or this ModelDeployment",
}


def of(reason: str) -> str:
    """Return the advice for a reason; "" if there is none."""
    return _BY_REASON.get(reason, "")


def gateway(problem: str) -> str:
    """Return the advice for a problem of a standalone gateway, by the system's error message."""
    if "Address already in use" in problem:
        return "stop the process that listens there, or change config.standalone.listen; retried every 2 s"
    if "No space left" in problem:
        return "free disk space; retried automatically"
    return "retried automatically; see its log and docs/gateway.md"
