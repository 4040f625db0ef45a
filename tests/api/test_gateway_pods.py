"""What an operator may set for the pods of all gateways."""

from typing import Any

import pytest

from beamlit_controller.api import settings
from beamlit_controller.api.settings import Settings
from beamlit_controller.core.gateway_pods import GatewayPods

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
TERMS = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "pool", "operator": "In", "values": ["edge"]}]}]}
APART = {"topologyKey": "topology.kubernetes.io/zone", "matchLabelKeys": ["deployment.beamlit.com/gateway"]}
GATEWAYS = {"labelSelector": {"matchExpressions": [{"key": "deployment.beamlit.com/gateway", "operator": "Exists"}]}}


def pods(gateway: object, **more: object) -> GatewayPods:
    read = settings.read({"config": {"gateway": gateway, **more}})
    assert isinstance(read, Settings), read
    return read.gateway_pods


def test_by_default_gateways_run_anywhere_as_the_images_user() -> None:
    assert Settings().gateway_pods == pods({}) == GatewayPods()


def test_every_field_is_read_as_a_pod_has_it() -> None:
    tolerations = [
        {"operator": "Exists"},
        {"key": "example.com/pool", "value": "edge", "effect": "NoExecute", "tolerationSeconds": 30},
    ]
    affinity = {
        "nodeAffinity": {REQUIRED: TERMS},
        "podAntiAffinity": {PREFERRED: [{"weight": 1, "podAffinityTerm": APART | GATEWAYS}]},
    }
    given = {
        "nodeSelector": {"kubernetes.io/arch": "amd64", "edge": ""},
        "tolerations": tolerations,
        "affinity": affinity,
        "priorityClassName": "serving",
        "imagePullSecrets": [{"name": "registry"}, {"name": "mirror"}],
    }

    assert pods(given, runAsFixedUser=False) == GatewayPods(
        node_selector={"kubernetes.io/arch": "amd64", "edge": ""},
        tolerations=tuple(tolerations),
        affinity=affinity,
        priority_class_name="serving",
        image_pull_secrets=("registry", "mirror"),
        fixed_user=False,
    )


@pytest.mark.parametrize(
    ("given", "field", "part"),
    [
        ({"nodeSelector": ["pool"]}, "nodeSelector", "expected a mapping, got a list"),
        ({"nodeSelector": {"gpu": True}}, "nodeSelector.gpu", "expected text, got true or false; put it in quotes"),
        (
            {"nodeSelector": {"a b": "c"}},
            "nodeSelector[a b]",
            'expected the key of a label or taint, such as example.com/pool, got "a b"',
        ),
        ({"nodeSelector": {"pool": "-"}}, "nodeSelector.pool", "with a letter or digit at both ends"),
        ({"nodeSelector": {"pool": "a" * 64}}, "nodeSelector.pool", "at most 63"),
        ({"tolerations": {"key": "a"}}, "tolerations", "expected a list, got a mapping"),
        ({"tolerations": ["a"]}, "tolerations[0]", "expected a mapping, got text"),
        ({"tolerations": [{"key": "a", "efect": "NoSchedule"}]}, "tolerations[0].efect", "did you mean effect?"),
        ({"tolerations": [{"key": "a", "effect": "noschedule"}]}, "tolerations[0].effect", "did you mean NoSchedule?"),
        (
            {"tolerations": [{"effect": "NoSchedule"}]},
            "tolerations[0].operator",
            "expected Exists for a toleration without key",
        ),
        (
            {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]},
            "tolerations[0].value",
            "may not be set with operator Exists",
        ),
        (
            {"tolerations": [{"key": "a", "tolerationSeconds": 1}]},
            "tolerations[0].effect",
            "expected NoExecute with tolerationSeconds, got none",
        ),
        ({"affinity": []}, "affinity", "expected a mapping, got a list"),
        ({"affinity": {"nodeAfinity": {}}}, "affinity.nodeAfinity", "did you mean nodeAffinity?"),
        (
            {"affinity": {"nodeAffinity": {"requiredDuringScheduling": {}}}},
            "affinity.nodeAffinity.requiredDuringScheduling",
            f"did you mean {REQUIRED}?",
        ),
        (
            {"affinity": {"podAffinity": {REQUIRED: {}}}},
            f"affinity.podAffinity.{REQUIRED}",
            "expected a list, got a mapping",
        ),
        (
            {"affinity": {"podAntiAffinity": {REQUIRED: [{"topologyKey": "a", "labelSelectr": {}}]}}},
            f"affinity.podAntiAffinity.{REQUIRED}[0].labelSelectr",
            "did you mean labelSelector?",
        ),
        (
            {"affinity": {"podAffinity": {REQUIRED: [APART]}}},
            f"affinity.podAffinity.{REQUIRED}[0].matchLabelKeys",
            "expected labelSelector beside it",
        ),
        (
            {"affinity": {"nodeAffinity": {PREFERRED: [{"weight": 101, "preference": {}}]}}},
            f"affinity.nodeAffinity.{PREFERRED}[0].weight",
            "100",
        ),
        *(
            (
                {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [required]}]}}}},
                f"affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].values",
                words,
            )
            for required, words in (
                ({"key": "a", "operator": "In"}, "expected at least one value with operator In"),
                ({"key": "a", "operator": "Exists", "values": ["b"]}, "may not be set with operator Exists"),
                ({"key": "a", "operator": "Gt", "values": ["abc"]}, "expected one whole number in quotes"),
            )
        ),
        ({"nodeSelector": {"a..b/c": "d"}}, "nodeSelector[a..b/c]", "expected the key of a label"),
        (
            {"imagePullSecrets": [{"name": "a"}, {"name": "a"}]},
            "imagePullSecrets",
            "expected each name once, got a twice",
        ),
        ({"priorityClassName": "High"}, "priorityClassName", 'got "High"'),
        ({"imagePullSecrets": ["registry"]}, "imagePullSecrets[0]", "expected a mapping, got text"),
        ({"imagePullSecrets": [{}]}, "imagePullSecrets[0].name", "required, but not given"),
    ],
    ids=str,
)
def test_mistakes(given: dict[str, Any], field: str, part: str) -> None:
    found = settings.read({"config": {"gateway": given}})

    assert not isinstance(found, Settings)
    (mistake,) = found
    assert mistake.field == f"config.gateway.{field}"
    assert part in mistake.message


def test_whether_the_user_is_fixed_is_true_or_false() -> None:
    (mistake,) = settings.read({"config": {"runAsFixedUser": "false"}})  # type: ignore[misc] # unless it is accepted

    assert str(mistake.field) == "config.runAsFixedUser"
    assert mistake.message == 'expected true or false, got "false"; remove the quotes'
