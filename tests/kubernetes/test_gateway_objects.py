"""The objects of a gateway, as a gallery: `pytest tests/kubernetes --inline-snapshot=fix,create` brings it up to date."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from inline_snapshot import external_file

import builders
from beamlit_controller.core.spec import (
    ApiKey,
    Gateway,
    LabelSelector,
    ModelKey,
    OffloadSpec,
    RemoteBackend,
    RoutingMode,
    Scheme,
    SecretKey,
    ServiceRef,
    Tls,
)
from beamlit_controller.kubernetes import gateway_objects
from beamlit_controller.kubernetes.gateway_objects import DesiredObject, Envoy, Image, Ports

SPEC = builders.spec(service=ServiceRef("llama", 8000), routing=RoutingMode.SERVICE)
ENVOY = Envoy({"bootstrap.json": "{}", "cds.json": "{}"}, "/-/offload/ready", ("x-offload-probe", "models/llama"))
PORTS = Ports(front=8000, stats=9902, service=80)
REMOTE = RemoteBackend(
    Scheme.HTTPS,
    "api.example.com",
    443,
    auth=ApiKey(SecretKey("remote", "apiKey")),
    tls=Tls(ca=SecretKey("remote", "ca.crt")),
)

CASES: dict[str, tuple[OffloadSpec, Ports]] = {
    "plain": (SPEC, PORTS),
    "shaped": (
        replace(
            SPEC,
            remote=REMOTE,
            gateway=Gateway(
                replicas=3,
                resources=(("requests", "cpu", "1"), ("limits", "memory", "1Gi")),
                image="registry.example/envoy:1",
                image_pull_secrets=("registry",),
                drain=timedelta(seconds=60),
            ),
        ),
        Ports(front=443, stats=9902, service=443),
    ),
}


def objects(spec: OffloadSpec, ports: Ports = PORTS, envoy: Envoy = ENVOY) -> tuple[DesiredObject, ...]:
    return (
        gateway_objects.local_service(spec, "u1", selector={"app": "llama"}, port=8000),
        *gateway_objects.gateway(spec, "u1", ports=ports, envoy=envoy, image=Image("beamlit-controller:1")),
        gateway_objects.gateway_service(spec, "u1", ports=ports),
    )


@pytest.mark.parametrize("case", CASES)
def test_renders(case: str) -> None:
    rendered = [each.content for each in objects(*CASES[case])]

    text = json.dumps(rendered, indent=2) + "\n"

    assert text == external_file(str(Path(__file__).parent / "golden" / f"{case}.json"))


def deployment(spec: OffloadSpec, **given: Any) -> DesiredObject:  # noqa: ANN401 - whatever `objects` takes
    return next(each for each in objects(spec, **given) if each.resource.kind == "Deployment")


def test_equal_input_gives_an_equal_digest_and_other_input_another() -> None:
    assert [each.digest for each in objects(SPEC)] == [each.digest for each in objects(SPEC)]
    assert deployment(SPEC).digest != deployment(replace(SPEC, gateway=Gateway(replicas=3))).digest


def test_only_what_is_read_at_start_rolls_the_pods() -> None:
    routes = replace(ENVOY, files={**ENVOY.files, "rds-front.json": "{}"})
    bootstrap = replace(ENVOY, files={**ENVOY.files, "bootstrap.json": '{"node": {}}'})

    assert deployment(SPEC, envoy=routes).content == deployment(SPEC).content
    assert deployment(SPEC, envoy=bootstrap).content != deployment(SPEC).content


def test_no_selector_of_a_model_matches_the_gateways_pods() -> None:
    for selector in (("app", "llama"), ("app.kubernetes.io/name", "llama"), ("app.kubernetes.io/instance", "llama")):
        assert not LabelSelector((selector,)).matches(gateway_objects.pod_labels(ModelKey("models", "llama")))


def test_the_pod_has_no_token_no_root_and_only_the_keys_that_are_named() -> None:
    pod = deployment(replace(SPEC, remote=REMOTE)).content["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    secrets = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    assert secrets == [
        {
            "secretName": "remote",
            "optional": True,
            "items": [{"key": "apiKey", "path": "apiKey"}, {"key": "ca.crt", "path": "ca.crt"}],
        }
    ]


def test_a_pod_has_time_to_drain() -> None:
    pod = deployment(SPEC).content["spec"]["template"]["spec"]
    command = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]

    assert pod["terminationGracePeriodSeconds"] > int(command[command.index("--most-seconds") + 1])


def test_everything_is_owned_by_the_model() -> None:
    for each in objects(SPEC):
        (owner,) = each.content["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == ("u1", True)
        assert each.content["metadata"]["namespace"] == "models"
