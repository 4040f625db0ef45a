"""Every reason that a condition, an event, a log line or a metric label can carry. Users search the docs for these."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a decision was made, a value is missing, or a condition is as it is."""

    # Why the percentage was decided.
    METRIC_ABOVE_TARGET = "MetricAboveTarget"
    METRIC_BELOW_TARGET = "MetricBelowTarget"
    STABILIZING = "Stabilizing"
    DEMAND_ABOVE_TARGET = "DemandAboveTarget"
    DEMAND_UNKNOWN = "DemandUnknown"
    SETTLING = "Settling"
    PROBING = "Probing"
    METRICS_UNAVAILABLE = "MetricsUnavailable"
    METRICS_LOST = "MetricsLost"
    NO_METRICS = "NoMetrics"
    OVERRIDDEN = "Overridden"
    DISABLED = "Disabled"
    RELEASED = "Released"

    # All metrics have a value.
    METRICS_READ = "MetricsRead"

    # Whether the metrics can make a model offload at all.
    TARGET_REACHED = "TargetReached"
    TARGET_NEVER_REACHED = "TargetNeverReached"
    TARGET_OUT_OF_REACH = "TargetOutOfReach"
    METRIC_NEVER_SEEN = "MetricNeverSeen"

    # Why a metric has no value.
    CONNECTION_FAILED = "ConnectionFailed"
    TIMED_OUT = "TimedOut"
    TLS_FAILED = "TLSFailed"
    CREDENTIALS_UNREADABLE = "CredentialsUnreadable"
    HTTP_ERROR = "HTTPError"
    REDIRECTED = "Redirected"
    ANSWER_TOO_LARGE = "AnswerTooLarge"
    MALFORMED_ANSWER = "MalformedAnswer"
    QUERY_FAILED = "QueryFailed"
    QUERY_WARNINGS = "QueryWarnings"
    UNEXPECTED_RESULT_TYPE = "UnexpectedResultType"
    NO_SERIES = "NoSeries"
    NO_OBSERVATIONS = "NoObservations"
    NOT_A_NUMBER = "NotANumber"
    INFINITE = "Infinite"
    STALE = "Stale"
    NO_PODS = "NoPods"
    NO_READY_PODS = "NoReadyPods"
    NO_REQUESTS = "NoRequests"
    NO_REPLICAS = "NoReplicas"
    UNSUPPORTED_METRIC = "UnsupportedMetric"
    FORBIDDEN = "Forbidden"
    METRICS_API_ABSENT = "MetricsAPIAbsent"
    METRICS_API_UNAVAILABLE = "MetricsAPIUnavailable"
    METRIC_NOT_FOUND = "MetricNotFound"
    KIND_UNKNOWN = "KindUnknown"
    NO_WORKLOAD = "NoWorkload"
    INVALID_SELECTOR = "InvalidSelector"
    INTERNAL_ERROR = "InternalError"

    # Whether the highest share that is allowed is enough.
    HIGHEST_SHARE_REACHED = "HighestShareReached"

    # Ready, in a cluster.
    AS_ASKED = "AsAsked"
    SPEC_INVALID = "SpecInvalid"
    OVERRIDE_INVALID = "OverrideInvalid"
    SERVICE_NOT_FOUND = "ServiceNotFound"
    SERVICE_UNSUITABLE = "ServiceUnsuitable"
    NAME_TAKEN = "NameTaken"
    API_REFUSED = "APIRefused"
    GATEWAY_READY = "GatewayReady"
    GATEWAY_STARTING = "GatewayStarting"
    GATEWAY_FAILING = "GatewayFailing"
    GATEWAY_REMOVED = "GatewayRemoved"
    CONFIG_NOT_TAKEN = "ConfigNotTaken"
    PODS_READY = "PodsReady"
    NO_REMOTE = "NoRemote"
    AUTOSCALER_FOUND = "AutoscalerFound"

    # Whether the Service that clients use leads through the gateway.
    SERVICE_TAKEN = "ServiceTaken"
    SERVICE_SWITCHING = "ServiceSwitching"
    PODS_NOT_REACHED = "PodsNotReached"
    GATEWAY_LOST = "GatewayLost"
    SERVICE_HELD = "ServiceHeld"
    SERVICE_CONTESTED = "ServiceContested"
    TRIGGERS_UNREADABLE = "TriggersUnreadable"
    ROUTING_BY_SERVICE = "RoutingByService"

    # State of the remote.
    REMOTE_ANSWERS = "RemoteAnswers"
    REMOTE_NOT_ASKED = "RemoteNotAsked"
    REMOTE_ADDRESS_UNKNOWN = "RemoteAddressUnknown"
    REMOTE_UNHEALTHY = "RemoteUnhealthy"
    REMOTE_CERTIFICATE_EXPIRED = "RemoteCertificateExpired"
    REMOTE_CERTIFICATE_FOR_ANOTHER_NAME = "RemoteCertificateForAnotherName"
    REMOTE_CERTIFICATE_UNTRUSTED = "RemoteCertificateUntrusted"
    REMOTE_REFUSES_CREDENTIAL = "RemoteRefusesCredential"
    REMOTE_THROTTLES = "RemoteThrottles"
    REMOTE_FAILS = "RemoteFails"
    REMOTE_RESETS = "RemoteResets"

    # Budgets of the remotes.
    BUDGET_SPENT = "BudgetSpent"
    WITHIN_BUDGET = "WithinBudget"
