"""Removes response headers that Envoy would obey, tells which side answered, and protects that and the hops' marks from forgery."""

from beamlit_controller.envoy.messages import Message, coalesced, extension, formatted_header

OURS = "x-offload"
ORDERS = "x-envoy-"
"""Headers that control Envoy, such as `x-envoy-ratelimited`, which stops retries, and `x-envoy-immediate-health-check-fail`."""

HOP = "%UPSTREAM_METADATA(offload:hop)%"
"""The hop that answered, by the endpoint's metadata; `-` if it was a server."""

SERVED_BY = "x-offload-served-by"
"""The header that tells clients, the access log and the counters which side answered."""
NOBODY = "none"
"""The side of a response that Envoy generated, because no server answered."""

# By the endpoint's metadata, which no server can fake. Endpoints that are hops have none: a hop itself tells whether a server
# answered it.
_SERVED_BY = coalesced(("UPSTREAM_METADATA", "offload:served_by"), ("RESP", SERVED_BY))


def stripped() -> list[Message]:
    """Return the upstream filters that remove Envoy's control headers and our own from responses, before the router reads them.

    Then they tell which side answered.
    """
    return _upstream([_without(ORDERS), _without(OURS), *_served_by()])


def signed(*marks: str) -> list[Message]:
    """Return the upstream filters that remove Envoy's control headers, and prefix each mark with the name of the hop it came from.

    A chain reads responses of hops and of servers alike. A server can send a mark, but can't fake this name.
    """
    signatures: list[Message] = [
        {"append": each} for mark in marks for each in formatted_header(mark, f"{HOP}/%RESP({mark})%")
    ]
    return _upstream([_without(ORDERS), *signatures, *_served_by()])


def _served_by() -> list[Message]:
    return [{"append": each} for each in formatted_header(SERVED_BY, _SERVED_BY)]


def _upstream(answers: list[Message]) -> list[Message]:
    mutation = extension(
        "envoy.filters.http.header_mutation",
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={
            "response_mutations": answers,
            "response_trailers_mutations": [_without(ORDERS), _without(OURS)],
        },
    )
    codec = extension(
        "envoy.filters.http.upstream_codec",
        "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
    )
    return [mutation, codec]


def _without(prefix: str) -> Message:
    return {"remove_on_match": {"key_matcher": {"prefix": prefix, "ignore_case": True}}}
