"""An OpenTelemetry collector: receives spans by OTLP over gRPC, and keeps them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

EXPORT = "opentelemetry.proto.collector.trace.v1.TraceService"


@dataclass
class Collector:
    """A collector that runs: where, and what it has received."""

    address: str
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def services(self) -> set[str]:
        return {
            each.value.string_value
            for request in self.requests
            for resource in request.resource_spans
            for each in resource.resource.attributes
            if each.key == "service.name"
        }


def attributes(span: Span) -> dict[str, str]:
    """Return the attributes of a span as text."""
    return {each.key: _text(each.value) for each in span.attributes}


def _text(value: AnyValue) -> str:
    return str(getattr(value, value.WhichOneof("value")))


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """Run a collector until the block ends."""
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    running = Collector(f"127.0.0.1:{port}")

    async def export(request: ExportTraceServiceRequest, _: object) -> ExportTraceServiceResponse:
        running.requests.append(request)
        return ExportTraceServiceResponse()

    handler = grpc.unary_unary_rpc_method_handler(
        export,
        request_deserializer=ExportTraceServiceRequest.FromString,
        response_serializer=ExportTraceServiceResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(EXPORT, {"Export": handler}),))
    await server.start()
    try:
        yield running
    finally:
        await server.stop(None)
