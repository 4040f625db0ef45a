"""Retry policies: after which responses and failures Envoy tries another server, and which one it does not try again."""

from beamlit_controller.envoy.messages import Message, extension

GRPC_OF_STATUS = {429: ("resource-exhausted", 8), 503: ("unavailable", 14)}


def policy(on: str, *, retries: int, statuses: tuple[int, ...] = (), marks: list[Message] | None = None) -> Message:
    """Return the RetryPolicy for these conditions, statuses (with their gRPC equivalents) and marks."""
    grpc = [GRPC_OF_STATUS[status][0] for status in statuses if status in GRPC_OF_STATUS]
    conditions = [
        on,
        *(["retriable-status-codes"] if statuses else []),
        *grpc,
        *(["retriable-headers"] if marks else []),
    ]
    return {
        "retry_on": ",".join(conditions),
        **({"retriable_status_codes": list(statuses)} if statuses else {}),
        **({"retriable_headers": marks} if marks else {}),
        "num_retries": retries,
        # No wait: meanwhile a large body would be read, with nowhere to send it, and overflow its buffer.
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.001s"},
        "retry_host_predicate": [
            extension(
                "envoy.retry_host_predicates.previous_hosts",
                "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
            )
        ],
        # A server that fails immediately has the fewest requests, so it would be picked again: repeat until another one is.
        "host_selection_retry_max_attempts": 50,
    }
