"""Gateway metrics in a cluster: what gateway pods count is what the model's metric says, through the parts as they are built."""

import json
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from beamlit_controller.api.settings import Settings
from beamlit_controller.core.signals import Sample
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.kubernetes import managed_objects, models
from beamlit_controller.wiring import cluster_parts
from beamlit_controller.wiring.cluster_options import ClusterOptions, Image, RtdsAddress
from fakes import http

KEY = ModelKey("models", "llama")
FIGURES = ("local_requests_in_flight", "local_requests_per_second", "local_time_to_first_byte_seconds")


def model() -> dict[str, Any]:
    metrics = [
        {"type": "Gateway", "gateway": {"metric": {"name": name}, "target": {"type": "Value", "value": "2"}}}
        for name in FIGURES
    ]
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"namespace": "models", "name": "llama", "uid": "u", "resourceVersion": "1", "generation": 1},
        "spec": {
            "serviceRef": {"name": "llama", "targetPort": 8000},
            "offloadingConfig": {"remoteBackend": {"host": "api.example.com"}, "metrics": metrics},
        },
    }


def page(*, ended: int, in_flight: int) -> http.Respond:
    """Return the stats of a gateway whose local requests took 250 ms to the first byte of their bodies."""
    labels = 'side="local",route="local",chain="local",code="200"'
    return http.page(f"""\
envoy_offload_requests{{{labels}}} {ended}
envoy_offload_first_body_ms_sum{{side="local",route="local"}} {250 * ended}
envoy_offload_first_body_ms_count{{side="local",route="local"}} {ended}
envoy_cluster_upstream_rq_active{{envoy_cluster_name="local"}} {in_flight}
""")


def pod(name: str, port: int) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "models",
            "name": name,
            "uid": name,
            "resourceVersion": "1",
            "labels": {"deployment.beamlit.com/gateway": "llama"},
        },
        "spec": {"containers": [{"ports": [{"name": "offload-stats", "containerPort": port}]}]},
        "status": {"podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def options(folder: Path, api_server: str) -> ClusterOptions:
    """Return what a replica is given, for an API server at this address."""
    (folder / "token.key").write_bytes(bytes(32))
    (folder / "ca.crt").write_text("the CA")
    cluster = {"name": "c", "cluster": {"server": f"http://{api_server}"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "c", "clusters": [cluster]}
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(json.dumps(config | {"contexts": [context], "users": [{"name": "u", "user": {}}]}))
    shares = RtdsAddress("127.0.0.1:0", "controller.system.svc:18000", folder)
    return ClusterOptions(Settings(), "one", "system", Image("gateway:test"), shares, kubeconfig=kubeconfig)


async def test_what_the_gateway_pods_count_is_the_models_metric(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        api_server = await stack.enter_async_context(http.serve(http.page(status=404)))
        gateways = [await stack.enter_async_context(http.serve(page(ended=0, in_flight=0))) for _ in range(2)]
        parts = await cluster_parts.build(options(tmp_path, api_server.address), stack)
        parts.store.models.changed(KEY, models.stored(model()))
        for number, gateway in enumerate(gateways):
            name = f"gateway-{number}"
            parts.store.managed_objects.pod_changed(
                ("models", name), managed_objects.parse_pod(pod(name, gateway.port))
            )
        known = parts.store.models.models.get(KEY)
        assert known is not None
        spec = known.spec
        assert spec is not None

        await parts.remotes.look(KEY, spec.remotes)
        for gateway in gateways:
            gateway.respond = page(ended=30, in_flight=4)
        await parts.remotes.look(KEY, spec.remotes)
        signals = await parts.sensor.read(spec, at=parts.clock.now(), deadline=timedelta(seconds=60))

    in_flight, rate, first_byte = signals.readings
    assert isinstance(in_flight, Sample), in_flight
    assert in_flight.milli == 4_000  # the mean of 0 at first and 8 of both
    assert isinstance(rate, Sample), rate
    assert rate.milli > 0
    assert isinstance(first_byte, Sample), first_byte
    assert first_byte.milli == 250
