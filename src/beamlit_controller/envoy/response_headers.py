"""Removes response headers of servers that Envoy would obey, and those that mark the responses of a hop."""

from beamlit_controller.envoy.messages import Message, extension, formatted_header

OURS = "x-offload"
ORDERS = "x-envoy-"
"""Such as `x-envoy-ratelimited`, which stops retries, and `x-envoy-immediate-health-check-fail`."""

HOP = "%UPSTREAM_METADATA(offload:hop)%"
"""The hop that was asked, by the endpoint's own metadata; `-` if it was a server itself."""


def stripped() -> list[Message]:
    """Return the upstream filters that take away what is ours and Envoy's, before the router reads the answer."""
    return _upstream([_without(ORDERS), _without(OURS)])


def signed(*marks: str) -> list[Message]:
    """Return the upstream filters that take Envoy's orders away, and write before each mark which hop it came from.

    A chain reads the answers of hops and of servers alike: a server can write a mark, but not who it is.
    """
    signatures: list[Message] = [
        {"append": each} for mark in marks for each in formatted_header(mark, f"{HOP}/%RESP({mark})%")
    ]
    return _upstream([_without(ORDERS), *signatures])


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
