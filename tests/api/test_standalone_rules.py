"""Without a cluster, what only a cluster has is refused with the reason and what to use instead."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import yaml

from beamlit_controller.api import standalone_rules
from beamlit_controller.api.addresses import Address
from beamlit_controller.api.manifests import Parsed
from beamlit_controller.api.settings import Settings, StandaloneSettings

Read = Callable[..., Parsed]

SERVERS = StandaloneSettings(
    services={"models/llama": (Address("127.0.0.1", 8001),)}, listen=Address("127.0.0.1", 8000)
)
SETTINGS = Settings(standalone=SERVERS)
SERVICE = {"serviceRef": {"name": "llama", "targetPort": 80}}
METRIC_SERVICE = {"metricServiceRef": {"name": "llama", "targetPort": 80}}

CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 5}}}
CONTAINER = {
    "type": "ContainerResource",
    "containerResource": {"name": "cpu", "container": "a", "target": {"type": "Utilization", "averageUtilization": 5}},
}
QUEUE = {"type": "Pods", "pods": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": 4}}}
OBJECT = {
    "type": "Object",
    "object": {
        "describedObject": {"kind": "Service", "name": "a"},
        "metric": {"name": "q"},
        "target": {"type": "Value", "value": 4},
    },
}
EXTERNAL = {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": 4}}}


@pytest.fixture
def refused(read: Read) -> Callable[..., dict[str, str]]:
    def found(*metrics: object, settings: Settings = SETTINGS, remote: object = None, **spec: Any) -> dict[str, str]:  # noqa: ANN401 - whatever a test writes
        config = {"metrics": list(metrics), **({"remoteBackend": remote} if remote else {})}
        parsed = read(config, spec=spec)
        assert not parsed.problems
        problems = standalone_rules.standalone_problems(parsed.specs[0], settings)
        return {each.field.removeprefix("spec."): each.message for each in problems}

    return found


def test_a_model_with_its_servers_listed_runs(refused: Callable[..., dict[str, str]]) -> None:
    assert refused(QUEUE, **SERVICE, **METRIC_SERVICE) == {}


@pytest.mark.parametrize("metric", [CPU, CONTAINER, OBJECT])
def test_metrics_of_a_cluster_are_refused_with_what_to_use_instead(
    refused: Callable[..., dict[str, str]], metric: object
) -> None:
    found = refused(QUEUE, metric, **SERVICE, **METRIC_SERVICE)

    assert list(found) == ["offloadingConfig.metrics[1]"]
    assert "which needs a cluster; use a Pods metric with spec.metricServiceRef" in str(found)


def test_pods_metrics_need_to_know_where_the_servers_metrics_are(refused: Callable[..., dict[str, str]]) -> None:
    assert "set spec.metricServiceRef" in refused(QUEUE, **SERVICE)["offloadingConfig.metrics[0]"]


def test_external_metrics_need_prometheus(refused: Callable[..., dict[str, str]], prometheus: Settings) -> None:
    assert "config.metricInformer.type: prometheus" in refused(EXTERNAL, **SERVICE)["offloadingConfig.metrics[0]"]
    assert not refused(EXTERNAL, settings=replace(prometheus, standalone=SERVERS), **SERVICE)


def test_the_servers_have_to_be_listed(refused: Callable[..., dict[str, str]]) -> None:
    assert refused().keys() == {"serviceRef"}
    assert refused(
        serviceRef={"name": "lama", "targetPort": 80}, metricServiceRef={"name": "other", "targetPort": 80}
    ) == {
        "serviceRef.name": "models/lama is not in config.standalone.services; did you mean models/llama?",
        "metricServiceRef.name": "models/other is not in config.standalone.services",
    }


def test_the_gateway_has_to_listen_somewhere(refused: Callable[..., dict[str, str]]) -> None:
    elsewhere = replace(SERVERS, listen={"models/other": Address("127.0.0.1", 1)})

    assert refused(settings=Settings(standalone=elsewhere), **SERVICE) == {
        "metadata.name": "config.standalone.listen has no address for models/llama"
    }


@pytest.mark.parametrize(
    ("listen", "server"),
    [
        (Address("127.0.0.1", 8001), Address("127.0.0.1", 8001)),
        (Address("0.0.0.0", 8001), Address("127.0.0.1", 8001)),
        (Address("::", 8001), Address("localhost", 8001)),
        ({"models/llama": Address("10.0.0.1", 8001)}, Address("10.0.0.1", 8001)),
    ],
)
def test_a_gateway_can_not_be_its_own_server(
    refused: Callable[..., dict[str, str]], listen: Address, server: Address
) -> None:
    """It was called valid, and the gateway could not listen."""
    services = {"models/llama": (Address("127.0.0.1", 7000), server), "models/other": (server,)}
    settings = Settings(standalone=replace(SERVERS, services=services, listen=listen))

    found = refused(settings=settings, **SERVICE)

    assert list(found) == ["serviceRef"]
    assert f"{server} in config.standalone.services[models/llama] is taken by config.standalone.listen" in str(found)


@pytest.mark.parametrize("field", ["stats_listen", "web_listen"])
def test_nor_can_the_pages_of_the_gateway_and_of_the_controller(
    refused: Callable[..., dict[str, str]], field: str
) -> None:
    standalone = replace(SERVERS, **{field: Address("0.0.0.0", 8001)})

    assert (
        "is taken by config.standalone." in refused(settings=Settings(standalone=standalone), **SERVICE)["serviceRef"]
    )


def test_a_server_on_another_machine_may_have_the_port_of_the_gateway(refused: Callable[..., dict[str, str]]) -> None:
    for host in ("10.0.0.7", "gpu-7.lan", "::2"):
        services = {"models/llama": (Address(host, 8001),)}
        standalone = replace(SERVERS, services=services, listen=Address("0.0.0.0", 8001))
        assert not refused(settings=Settings(standalone=standalone), **SERVICE)


def test_a_secret_needs_a_directory(refused: Callable[..., dict[str, str]]) -> None:
    remote = {"host": "a.b", "tls": {"caSecretRef": {"name": "ca", "key": "ca.crt"}}}
    somewhere = Settings(standalone=replace(SERVERS, secrets_directory="/secrets"))

    found = refused(remote=remote, **SERVICE)

    assert list(found) == ["offloadingConfig.remoteBackend.tls.caSecretRef"]
    assert "config.standalone.secretsDirectory" in str(found)
    assert not refused(remote=remote, settings=somewhere, **SERVICE)


def test_parse_keeps_the_models_that_run_and_tells_why_the_others_dont() -> None:
    def document(name: str) -> str:
        spec = {"offloadingConfig": {"remoteBackend": {"host": "a.b"}}, "serviceRef": {"name": name, "targetPort": 80}}
        head = {"apiVersion": "deployment.beamlit.com/v1alpha1", "kind": "ModelDeployment"}
        return yaml.safe_dump({**head, "metadata": {"name": name, "namespace": "models"}, "spec": spec})

    parsed = standalone_rules.parse(f"{document('llama')}---\n{document('other')}", settings=SETTINGS)

    assert [str(spec.key) for spec in parsed.specs] == ["models/llama"]
    assert [(each.where, each.field) for each in parsed.problems] == [("models/other", "spec.serviceRef.name")]


@pytest.mark.parametrize(
    ("listen", "count", "fields"),
    [
        (Address("127.0.0.1", 8000), 1, []),
        (Address("127.0.0.1", 8000), 2, ["config.standalone.listen"]),
        (Address("127.0.0.1", 0), 2, []),
        ({"models/llama": Address("127.0.0.1", 8000)}, 2, []),
    ],
)
def test_one_address_is_for_one_model(read: Read, listen: Address, count: int, fields: list[str]) -> None:
    settings = Settings(standalone=replace(SERVERS, listen=listen))

    found = standalone_rules.shared_listeners(read().specs * count, settings)

    assert [each.field for each in found] == fields


@pytest.mark.parametrize(
    "wanted",
    [
        {"bearerTokenSecretRef": {"name": "key", "key": "token"}},
        {"basicAuth": {"username": "u", "passwordSecretRef": {"name": "key", "key": "password"}}},
        {"scheme": "https", "tls": {"caSecretRef": {"name": "trust", "key": "ca.crt"}}},
        {
            "scheme": "https",
            "tls": {
                "certSecretRef": {"name": "ours", "key": "tls.crt"},
                "keySecretRef": {"name": "ours", "key": "tls.key"},
            },
        },
    ],
)
def test_secrets_for_metrics_have_to_be_somewhere(read: Read, wanted: dict[str, Any]) -> None:
    service = {"metricServiceRef": {**METRIC_SERVICE["metricServiceRef"], **wanted}}
    (spec,) = read({"metrics": [QUEUE]}, spec={**SERVICE, **service}).specs
    somewhere = replace(SETTINGS, standalone=replace(SERVERS, secrets_directory="secrets"))

    (refused,) = standalone_rules.standalone_problems(spec, SETTINGS)

    assert refused.field == "spec.metricServiceRef"
    assert "secretsDirectory" in refused.message
    assert not standalone_rules.standalone_problems(spec, somewhere)
    assert not standalone_rules.standalone_problems(spec, replace(SETTINGS, metric_secrets="/secrets"))
