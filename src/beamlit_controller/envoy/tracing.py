"""Tracing of the gateway with OpenTelemetry: one span per request, with the side that answered it and the reason.

A client's trace context (W3C `traceparent`) is continued, and passed on to the server. Spans are sent in the
background: a slow or missing collector only loses spans.
"""

from beamlit_controller.api.settings import OtlpSettings
from beamlit_controller.envoy import access_log, addresses, upstream
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.envoy.messages import Message, extension
from beamlit_controller.envoy.routes import SIDE

CLUSTER = "otlp"
SAMPLERS = "envoy.tracers.opentelemetry.samplers"
SAMPLER_CONFIGS = "envoy.extensions.tracers.opentelemetry.samplers.v3"

# Envoy's own tag includes the query, which may contain a credential.
URL = "%REQ(X-FORWARDED-PROTO)%://%REQ(:AUTHORITY)%%PATH(NQ)%"

TAGS = {
    "http.url": URL,
    "offload.side": SIDE,
    "offload.reason": access_log.REASON,
    "offload.route": "%ROUTE_NAME%",
    "offload.attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
}


def of_front(params: GatewayParams) -> Message:
    """Return the tracing field of the front's connection manager, empty if there is no collector."""
    return {"tracing": _tracing(params.otlp, params.node)} if params.otlp else {}


def clusters(params: GatewayParams) -> list[Message]:
    """Return the cluster of the collector, if there is one."""
    return [_collector(params.otlp.address)] if params.otlp else []


def _tracing(otlp: OtlpSettings, model: str) -> Message:
    return {
        "operation": "%REQ(:METHOD)%",
        "custom_tags": [
            {"tag": "offload.model", "literal": {"value": model}},
            *({"tag": tag, "value": template} for tag, template in TAGS.items()),
        ],
        "provider": extension(
            "envoy.tracers.opentelemetry",
            "envoy.config.trace.v3.OpenTelemetryConfig",
            grpc_service={"envoy_grpc": {"cluster_name": CLUSTER}, "timeout": "5s"},
            service_name=otlp.service_name,
            sampler=_sampler(otlp.sample_percentage),
        ),
    }


def _sampler(percentage: float) -> Message:
    """Sample what the client samples, and this percentage of traces that begin here."""
    begun = extension(
        f"{SAMPLERS}.trace_id_ratio_based",
        f"{SAMPLER_CONFIGS}.TraceIdRatioBasedSamplerConfig",
        sampling_percentage={"numerator": round(percentage * 10_000), "denominator": "MILLION"},
    )
    return extension(f"{SAMPLERS}.parent_based", f"{SAMPLER_CONFIGS}.ParentBasedSamplerConfig", wrapped_sampler=begun)


def _collector(address: str) -> Message:
    return {
        "name": CLUSTER,
        **upstream.discovery([address], dns_lookup_family="V4_PREFERRED"),
        "connect_timeout": "1s",
        "typed_extension_protocol_options": upstream.protocols(explicit_http_config={"http2_protocol_options": {}}),
        "load_assignment": upstream.load_assignment(CLUSTER, [upstream.server(addresses.message(address))]),
    }
