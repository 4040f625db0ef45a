"""The objects of a gateway, as a gallery: `pytest tests/kubernetes --inline-snapshot=fix,create` brings it up to date."""

import ipaddress
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from inline_snapshot import external_file

import builders
from beamlit_controller.api.gateway_bounds import DENIED_NETWORKS
from beamlit_controller.core.gateway_pods import GatewayPods
from beamlit_controller.core.gateway_spec import GatewaySpec
from beamlit_controller.core.metric_spec import Selector
from beamlit_controller.core.spec import (
    ApiKey,
    AwsSignature,
    GoogleToken,
    LocalService,
    ModelKey,
    OffloadSpec,
    RemoteBackend,
    RemoteTls,
    RoutingMode,
    Scheme,
    SecretKey,
)
from beamlit_controller.kubernetes import desired, gateway_objects
from beamlit_controller.kubernetes.egress import Egress
from beamlit_controller.kubernetes.gateway_objects import DesiredObject, Envoy, Image, Ports
from beamlit_controller.kubernetes.plan import Plan

SPEC = builders.spec(service=LocalService("llama", 8000), routing=RoutingMode.SERVICE)
ENVOY = Envoy({"bootstrap.json": "{}", "cds.json": "{}"}, "/-/offload/ready", ("x-offload-probe", "models/llama"))
PORTS = Ports(front=8000, stats=9902, service=80)
ANYWHERE = GatewayPods()
REMOTE = RemoteBackend(
    Scheme.HTTPS,
    "api.example.com",
    443,
    auth=ApiKey(SecretKey("remote", "apiKey")),
    tls=RemoteTls(ca=SecretKey("remote", "ca.crt")),
)

CASES: dict[str, tuple[OffloadSpec, Ports]] = {
    "plain": (SPEC, PORTS),
    "shaped": (
        replace(
            SPEC,
            remote=REMOTE,
            gateway=GatewaySpec(
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


def objects(
    spec: OffloadSpec, ports: Ports = PORTS, envoy: Envoy = ENVOY, pods: GatewayPods = ANYWHERE
) -> tuple[DesiredObject, ...]:
    place = Plan({"app": "llama"}, 8000, ports, ipv6=False)
    image, egress = Image("beamlit-controller:1"), Egress(DENIED_NETWORKS, "beamlit-system")
    made = desired.gateway(spec, "u1", place, envoy, image=image, pods=pods, notes={}, egress=egress)
    return (
        *made.objects,
        made.client_service,
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
    assert deployment(SPEC).digest != deployment(replace(SPEC, gateway=GatewaySpec(replicas=3))).digest


def test_only_what_is_read_at_start_rolls_the_pods() -> None:
    routes = replace(ENVOY, files={**ENVOY.files, "rds-front.json": "{}"})
    bootstrap = replace(ENVOY, files={**ENVOY.files, "bootstrap.json": '{"node": {}}'})

    assert deployment(SPEC, envoy=routes).content == deployment(SPEC).content
    assert deployment(SPEC, envoy=bootstrap).content != deployment(SPEC).content


@pytest.mark.parametrize(
    ("given", "requests", "limits"),
    [
        ((), ("25m", "48Mi"), (None, "512Mi")),
        ((("limits", "cpu", "10m"),), ("10m", "48Mi"), ("10m", "512Mi")),
        ((("limits", "cpu", "0"),), ("0", "48Mi"), ("0", "512Mi")),
        ((("requests", "memory", "1Gi"),), ("25m", "1Gi"), (None, "1Gi")),
        ((("requests", "memory", "100Mi"), ("limits", "cpu", "2.5")), ("25m", "100Mi"), ("2500m", "512Mi")),
        ((("limits", "memory", "64Mi"),), ("25m", "48Mi"), (None, "64Mi")),
    ],
)
def test_a_default_contradicts_nothing_that_the_spec_says(
    given: tuple[tuple[str, str, str], ...], requests: tuple[str, str], limits: tuple[str | None, str]
) -> None:
    """The API server refuses a pod that requests more than its limit."""
    spec = replace(SPEC, gateway=GatewaySpec(resources=given))
    (container,) = deployment(spec).content["spec"]["template"]["spec"]["containers"]
    asked, allowed = container["resources"]["requests"], container["resources"]["limits"]

    assert (asked["cpu"], asked["memory"]) == requests
    assert (allowed.get("cpu"), allowed["memory"]) == limits


def test_no_selector_of_a_model_matches_the_gateways_pods() -> None:
    for selector in (("app", "llama"), ("app.kubernetes.io/name", "llama"), ("app.kubernetes.io/instance", "llama")):
        assert not Selector((selector,)).matches(gateway_objects.pod_labels(ModelKey("models", "llama")))


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


def test_the_secrets_of_every_remote_are_mounted() -> None:
    other = replace(REMOTE, auth=ApiKey(SecretKey("other", "key")), name="other")
    aws = replace(other, auth=AwsSignature(SecretKey("aws", "file"), "a", "b"), name="aws")
    google = replace(
        other,
        auth=GoogleToken(),
        tls=RemoteTls(cert=SecretKey("shown", "tls.crt"), key=SecretKey("shown", "tls.key")),
        name="google",
    )
    pod = deployment(replace(SPEC, remote=REMOTE, next_remotes=(other, aws, google))).content["spec"]["template"][
        "spec"
    ]

    secrets = {
        volume["secret"]["secretName"]: volume["secret"]["items"] for volume in pod["volumes"] if "secret" in volume
    }
    assert secrets == {
        "aws": [{"key": "file", "path": "file"}],
        "other": [{"key": "key", "path": "key"}],
        "shown": [{"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"}],
        "remote": [{"key": "apiKey", "path": "apiKey"}, {"key": "ca.crt", "path": "ca.crt"}],
    }


PLACED = GatewayPods(
    node_selector={"pool": "edge"},
    tolerations=({"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"},),
    affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    priority_class_name="serving",
    image_pull_secrets=("registry", "mirror"),
)


def pod(spec: OffloadSpec = SPEC, **given: Any) -> Any:  # noqa: ANN401 - JSON
    return deployment(spec, **given).content["spec"]["template"]["spec"]


def test_pods_are_placed_as_the_operator_says() -> None:
    """Nothing of it could be set, so no gateway could start where every node has a taint."""
    placed, before = pod(pods=PLACED), pod()

    assert {name: placed[name] for name in placed if placed[name] != before.get(name)} == {
        "nodeSelector": {"pool": "edge"},
        "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "priorityClassName": "serving",
        "imagePullSecrets": [{"name": "registry"}, {"name": "mirror"}],
    }
    assert placed["topologySpreadConstraints"] == before["topologySpreadConstraints"] != []


@pytest.mark.parametrize(
    "change",
    [
        {"node_selector": {}},
        {"tolerations": ()},
        {"affinity": {}},
        {"priority_class_name": ""},
        {"image_pull_secrets": ()},
        {"fixed_user": False},
    ],
    ids=str,
)
def test_another_placement_rolls_the_pods(change: dict[str, Any]) -> None:
    before, after = (deployment(SPEC, pods=pods) for pods in (PLACED, replace(PLACED, **change)))

    assert before.content["spec"]["template"] != after.content["spec"]["template"]
    assert before.digest != after.digest


def test_pull_secrets_of_a_model_replace_those_of_the_operator() -> None:
    spec = replace(SPEC, gateway=GatewaySpec(image_pull_secrets=("own",)))

    assert pod(spec, pods=PLACED)["imagePullSecrets"] == [{"name": "own"}]


def test_where_the_cluster_assigns_the_user_a_pod_names_none_and_is_still_restricted() -> None:
    """OpenShift refuses pods with a user or group outside of their namespace's own range."""
    assigned = pod(pods=GatewayPods(fixed_user=False))

    assert assigned["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert assigned["containers"] == pod()["containers"]


def test_a_pod_has_time_to_drain() -> None:
    pod = deployment(SPEC).content["spec"]["template"]["spec"]
    command = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]

    assert pod["terminationGracePeriodSeconds"] > int(command[command.index("--most-seconds") + 1])


def policy(*denied: str) -> Any:  # noqa: ANN401 - JSON
    image, place = Image("beamlit-controller:1"), Plan({"app": "llama"}, 8000, PORTS, ipv6=False)
    egress = Egress(denied, "beamlit-system")
    made = desired.gateway(SPEC, "u1", place, ENVOY, image=image, pods=ANYWHERE, notes={}, egress=egress)
    return next(each.content["spec"] for each in made.objects if each.resource.kind == "NetworkPolicy")


def blocks(*denied: str) -> list[Any]:
    peers = policy(*denied)["egress"][1]["to"]
    return [peer["ipBlock"] for peer in peers if "ipBlock" in peer]


def test_a_gateway_may_connect_anywhere_but_to_denied_networks() -> None:
    denied = ("169.254.0.0/16", "fe80::/10", "100.100.100.200/32")

    allowed = blocks(*denied)

    assert allowed == [
        {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16", "100.100.100.200/32"]},
        {"cidr": "::/0", "except": ["fe80::/10"]},
    ]


def test_a_gateway_always_reaches_dns_its_models_pods_and_the_controller() -> None:
    dns, others = policy("0.0.0.0/0", "::/0")["egress"]

    assert {port["port"] for port in dns["ports"]} == {53}
    assert "to" not in dns
    assert others["to"] == [
        {"podSelector": {}},
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "beamlit-system"}},
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "beamlit-controller"}},
        },
    ]


def test_where_a_whole_family_is_denied_the_other_stays() -> None:
    assert blocks("0.0.0.0/0") == [{"cidr": "::/0"}]


def test_with_no_network_denied_a_gateway_may_connect_anywhere() -> None:
    assert policy()["egress"] == [{}]


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fe80::a9fe:a9fe",
        "64:ff9b::169.254.169.254",
        "64:ff9b::100.100.100.200",
        "64:ff9b::168.63.129.16",
        "64:ff9b::192.0.0.192",
    ],
)
def test_by_default_no_gateway_connects_to_a_metadata_service(address: str) -> None:
    at = ipaddress.ip_address(address)

    denied = [ipaddress.ip_network(each) for block in blocks(*DENIED_NETWORKS) for each in block["except"]]

    assert any(at in each for each in denied)


def test_everything_is_owned_by_the_model() -> None:
    for each in objects(SPEC):
        (owner,) = each.content["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == ("u1", True)
        assert each.content["metadata"]["namespace"] == "models"


def test_the_last_good_spec_is_kept_only_where_a_config_map_has_room_for_it() -> None:
    """Together with it, files that a ConfigMap holds were refused."""
    room = gateway_objects.LARGEST_CONFIG_MAP - len("cds.json") - len("last-good-spec.json")
    notes = {"last-good-spec.json": "x" * 1_000}

    fits = gateway_objects.config_map(SPEC, "u1", files={"cds.json": "x" * (room - 1_000)}, notes=notes)
    does_not = gateway_objects.config_map(SPEC, "u1", files={"cds.json": "x" * (room - 999)}, notes=notes)

    assert list(fits.content["data"]) == ["cds.json", "last-good-spec.json"]
    assert list(does_not.content["data"]) == ["cds.json"]
