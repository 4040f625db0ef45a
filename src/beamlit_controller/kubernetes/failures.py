"""Errors of the API server as `Missing` values that tell the user what to do. Pure."""

from dataclasses import dataclass

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.kubernetes.api_server import ApiError

FORBIDDEN, NOT_FOUND, UNAVAILABLE = 403, 404, 503

_WITHOUT_ANSWER = {
    "Timeout": Reason.TIMED_OUT,
    "MalformedAnswer": Reason.MALFORMED_ANSWER,
    "AnswerTooLarge": Reason.ANSWER_TOO_LARGE,
}
_INSTALL = {
    "metrics.k8s.io": "install metrics-server",
    "custom.metrics.k8s.io": "install an adapter for custom metrics, such as prometheus-adapter",
    "external.metrics.k8s.io": "install an adapter for external metrics (or set metricInformer.type to prometheus)",
}
_SHOWN = 500


@dataclass(frozen=True, slots=True)
class RbacRule:
    """The RBAC rule that a request needs."""

    verb: str
    group: str
    resource: str


def missing(error: ApiError, *, doing: str, right: RbacRule | None = None) -> Missing:
    """Describe a failed request; for a 403, name the missing RBAC rule."""
    said = error.message[:_SHOWN]
    if error.code == FORBIDDEN and right is not None:
        lacking = f'RBAC lacks verb "{right.verb}" on resource "{right.resource}" of apiGroup "{right.group}"'
        return Missing(Reason.FORBIDDEN, f"{doing}: {lacking}: {said}")
    if error.code == FORBIDDEN:
        return Missing(Reason.FORBIDDEN, f"{doing}: RBAC forbids it: {said}")
    if error.code == 0:
        return Missing(_WITHOUT_ANSWER.get(error.reason, Reason.CONNECTION_FAILED), f"{doing}: {said}")
    return Missing(Reason.HTTP_ERROR, f"{doing}: the API server answered {error.code}: {said}")


def absent(group: str) -> Missing:
    """Describe an API that is not registered, and what to install."""
    return Missing(Reason.METRICS_API_ABSENT, f"{group} is not served: {_INSTALL[group]}")


def unavailable(group: str, error: ApiError) -> Missing:
    """Describe an API that is registered but has no working backend."""
    service = "kubectl get apiservices"
    said = error.message[:_SHOWN]
    return Missing(
        Reason.METRICS_API_UNAVAILABLE,
        f"{group} is registered, but its backend does not respond; see {service}: {said}",
    )
