"""Who the local servers are without a cluster."""

import builders
from beamlit_controller.core.signals import LocalHealth, Ready
from beamlit_controller.core.spec import LocalService, MetricService
from beamlit_controller.standalone.inventory import Endpoints

SPEC = builders.spec(service=LocalService("llama", 8000))
SERVICES = {"models/llama": ("127.0.0.1:8000", "127.0.0.1:8001")}


async def test_an_endpoint_that_the_gateway_ejected_is_not_ready() -> None:
    """A server that nobody listened at was counted as ready, and the survivor got its part of the cap."""
    endpoints = Endpoints(SERVICES, lambda _: {"127.0.0.1:8001"})

    found = await endpoints.snapshot_of(SPEC)

    assert found.local == LocalHealth(1, 2)
    assert not isinstance(found.pods, tuple) or [pod.ready for pod in found.pods] == [Ready("True"), Ready("False")]


async def test_without_a_word_of_the_gateway_every_endpoint_is_ready() -> None:
    found = await Endpoints(SERVICES).snapshot_of(SPEC)

    assert found.local == LocalHealth(2, 2)


async def test_servers_are_counted_where_they_serve_and_metrics_where_they_are_read() -> None:
    spec = builders.spec(service=LocalService("llama", 8000), metric_service=MetricService("metrics", 9000))
    services = {**SERVICES, "models/metrics": ("127.0.0.1:9000",)}

    found = await Endpoints(services, lambda _: {"127.0.0.1:8000"}).snapshot_of(spec)

    assert found.local == LocalHealth(1, 2)
    assert isinstance(found.pods, tuple)
    assert [pod.name for pod in found.pods] == ["127.0.0.1:9000"]
