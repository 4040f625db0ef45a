"""Autoscalers and older manifests, as they are found in public repositories, as ModelDeployments."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.api import conversion, manifests
from beamlit_controller.api.conversion import Conversion
from beamlit_controller.api.settings import Settings

KEDA = """
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: vllm, namespace: serving}
spec:
  scaleTargetRef: {name: vllm}
  pollingInterval: 15
  cooldownPeriod: 360
  minReplicaCount: 1
  fallback: {failureThreshold: 3, replicas: 2}
  advanced:
    scalingModifiers: {formula: "(a + b) / 2"}
    horizontalPodAutoscalerConfig: {behavior: {scaleDown: {stabilizationWindowSeconds: 300}}}
  triggers:
  - type: prometheus
    metricType: Value
    metadata:
      serverAddress: http://prometheus.monitoring:9090
      threshold: '5'
      activationThreshold: "1"
      customHeaders: X-Client-Id=cid
      query: |
        sum(vllm:num_requests_waiting{namespace="default",model_name="llama3"})
    authenticationRef: {name: creds}
  - type: prometheus
    metadata: {serverAddress: "http://p:9090", threshold: "0.8", ignoreNullValues: "false", query: avg(cache)}
  - type: cpu
    metricType: Utilization
    metadata: {value: "60"}
  - type: memory
    metricType: AverageValue
    metadata: {value: 500Mi, containerName: main}
  - type: kafka
    metadata: {topic: t}
"""


def one(text: str) -> Conversion:
    (made,) = conversion.convert(text)
    return made


def metrics(text: str) -> list[dict[str, Any]]:
    manifest = one(text).manifest
    assert manifest is not None
    given: list[dict[str, Any]] = manifest["spec"]["offloadingConfig"]["metrics"]
    return given


def notes(text: str) -> dict[str, str]:
    return {note.field: note.message for note in one(text).notes}


def hpa(version: str, spec: dict[str, Any], **metadata: Any) -> str:  # noqa: ANN401 - whatever metadata has
    target = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "llm"}
    document = {
        "apiVersion": f"autoscaling/{version}",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "llm", **metadata},
        "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 9, **spec},
    }
    return yaml.safe_dump(document)


def test_the_triggers_of_a_scaled_object_are_metrics() -> None:
    assert metrics(KEDA) == [
        {
            "type": "External",
            "external": {
                "metric": {"name": 'sum(vllm:num_requests_waiting{namespace="default",model_name="llama3"})'},
                "target": {"type": "Value", "value": "5"},
            },
        },
        {
            "type": "External",
            "external": {"metric": {"name": "avg(cache)"}, "target": {"type": "AverageValue", "averageValue": "0.8"}},
        },
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
        {
            "type": "ContainerResource",
            "containerResource": {
                "name": "memory",
                "container": "main",
                "target": {"type": "AverageValue", "averageValue": "500Mi"},
            },
        },
    ]


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("spec.triggers[0].metadata.serverAddress", "http://prometheus.monitoring:9090"),
        ("spec.triggers[0].metadata.ignoreNullValues", "or vector(0)"),
        ("spec.triggers[0].metadata.activationThreshold", "no equivalent"),
        ("spec.triggers[0].metadata.customHeaders", "headers"),
        ("spec.triggers[0].authenticationRef", "bearerTokenFile"),
        ("spec.triggers[4]", "no equivalent of a trigger of type kafka"),
        ("spec.pollingInterval", "periodSeconds"),
        ("spec.cooldownPeriod", "stabilizationWindowSeconds"),
        ("spec.fallback", "onMetricsLoss"),
        ("spec.advanced.scalingModifiers", "no equivalent"),
        ("spec.advanced.horizontalPodAutoscalerConfig.behavior", "replicas"),
        ("spec.minReplicaCount", "KEDA keeps scaling"),
        ("spec.offloadingConfig.remoteBackend", "set where requests go"),
    ],
)
def test_every_word_of_a_scaled_object_without_an_equal_is_told(field: str, said: str) -> None:
    assert said in notes(KEDA)[field]


def test_what_keda_takes_for_an_error_is_not_told_twice() -> None:
    assert "spec.triggers[1].metadata.ignoreNullValues" not in notes(KEDA)


def test_the_workload_is_the_source_of_the_model() -> None:
    made = one(KEDA).manifest
    older = KEDA.replace("scaleTargetRef: {name: vllm}", "scaleTargetRef: {deploymentName: vllm}")

    assert made is not None
    assert made["metadata"] == {"name": "vllm", "namespace": "serving"}
    assert made["spec"]["modelSourceRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "vllm"}
    assert one(older).manifest == made


RESOURCE = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
}
PODS = {
    "type": "Pods",
    "pods": {"metric": {"name": "packets"}, "target": {"type": "AverageValue", "averageValue": "1k"}},
}
OBJECT = {
    "type": "Object",
    "object": {
        "describedObject": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "main-route"},
        "metric": {"name": "hits"},
        "target": {"type": "Value", "value": "2k"},
    },
}
EXTERNAL = {
    "type": "External",
    "external": {
        "metric": {"name": "queue", "selector": {"matchLabels": {"queue": "tasks"}}},
        "target": {"type": "AverageValue", "averageValue": 30},
    },
}
OLD: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "resource": ({"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 50}}, RESOURCE),
    "pods": ({"type": "Pods", "pods": {"metricName": "packets", "targetAverageValue": "1k"}}, PODS),
    "pods with a selector": (
        {"type": "Pods", "pods": {"metricName": "a", "selector": {"matchLabels": {"b": "c"}}, "targetAverageValue": 1}},
        {
            "type": "Pods",
            "pods": {
                "metric": {"name": "a", "selector": {"matchLabels": {"b": "c"}}},
                "target": {"type": "AverageValue", "averageValue": 1},
            },
        },
    ),
    "object": (
        {
            "type": "Object",
            "object": {
                "metricName": "hits",
                "target": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "main-route"},
                "targetValue": "2k",
            },
        },
        OBJECT,
    ),
    "external": (
        {
            "type": "External",
            "external": {
                "metricName": "queue",
                "metricSelector": {"matchLabels": {"queue": "tasks"}},
                "targetAverageValue": 30,
            },
        },
        EXTERNAL,
    ),
    "container": (
        {
            "type": "ContainerResource",
            "containerResource": {"name": "cpu", "container": "a", "targetAverageValue": "1"},
        },
        {
            "type": "ContainerResource",
            "containerResource": {
                "name": "cpu",
                "container": "a",
                "target": {"type": "AverageValue", "averageValue": "1"},
            },
        },
    ),
}


@pytest.mark.parametrize(("old", "new"), OLD.values(), ids=OLD)
def test_a_metric_of_v2beta1_is_written_as_in_v2(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert metrics(hpa("v2beta1", {"metrics": [old]})) == [new]
    assert metrics(yaml.safe_dump(deployment([old]))) == [new]


@pytest.mark.parametrize("new", [RESOURCE, PODS, OBJECT, EXTERNAL])
def test_a_metric_of_v2_stays_as_it_is(new: dict[str, Any]) -> None:
    assert metrics(hpa("v2", {"metrics": [new]})) == [new]
    assert metrics(hpa("v2beta2", {"metrics": [new]})) == [new]


def test_v1_has_a_percentage_and_an_annotation() -> None:
    alpha = {
        "autoscaling.alpha.kubernetes.io/metrics": '[{"type":"Pods","pods":{"metricName":"packets","targetAverageValue":"1k"}}]'
    }

    assert metrics(hpa("v1", {"targetCPUUtilizationPercentage": 50}, annotations=alpha)) == [RESOURCE, PODS]


def deployment(given: list[dict[str, Any]]) -> dict[str, Any]:
    config = {"remoteBackend": {"host": "api.example.com"}, "metrics": given}
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "llama"},
        "spec": {"offloadingConfig": config},
    }


def test_what_was_converted_is_valid_once_a_remote_is_written(prometheus: Settings) -> None:
    """With a default remote in the settings nothing is missing."""
    everything = hpa("v2beta1", {"metrics": [old for old, _ in OLD.values()]})
    for text in (KEDA, everything):
        manifest = one(text).manifest

        parsed = manifests.parse(yaml.safe_dump(manifest), settings=prometheus)

        assert not parsed.problems
        assert len(parsed.specs) == 1


def test_lists_and_several_documents_are_converted_each() -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": [yaml.safe_load(KEDA), yaml.safe_load(KEDA)]}

    made = list(conversion.convert(f"{yaml.safe_dump(listed)}\n---\n{KEDA}"))

    assert len(made) == 3
    assert all(each.manifest for each in made)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "kind: Service\nmetadata: {name: a}\n",
            "expected a ModelDeployment, a HorizontalPodAutoscaler or a ScaledObject",
        ),
        ("- a\n", "expected a mapping"),
        ("a: [", "not YAML"),
        (hpa("v2", {}).replace("spec:", "spic:"), "none of its metrics"),
        (hpa("v2", {"metrics": ["cpu"]}), "expected a mapping for each metric"),
        (hpa("v1", {}, annotations={"autoscaling.alpha.kubernetes.io/metrics": "{"}), "expected a list in JSON"),
    ],
)
def test_what_can_not_be_converted_says_why(text: str, said: str) -> None:
    made = one(text)

    assert made.manifest is None
    assert any(said in str(note) for note in made.notes)


def test_what_check_would_refuse_is_told() -> None:
    unfilled = KEDA.replace("'5'", "'{{ .Values.threshold }}'")

    assert any("spec.offloadingConfig.metrics[0].external.target.value" in field for field in notes(unfilled))


@pytest.mark.parametrize("series", ["beamlit_demand_ratio", "beamlit_demand_replicas"])
def test_the_controllers_own_metrics_are_no_reason_to_offload(series: str) -> None:
    own = KEDA.replace("avg(cache)", f"max({series})")

    assert "circular" in notes(own)["spec.offloadingConfig.metrics[1]"]


def scaled(*triggers: dict[str, Any], version: str = "keda.sh/v1alpha1", **spec: Any) -> str:  # noqa: ANN401 - whatever it has
    document = {
        "apiVersion": version,
        "kind": "ScaledObject",
        "metadata": {"name": "llm"},
        "spec": {"scaleTargetRef": {"name": "llm"}, "triggers": list(triggers), **spec},
    }
    return yaml.safe_dump(document)


def queried(query: str, threshold: object = "5", **more: object) -> dict[str, Any]:
    address = "http://prometheus-operated.monitoring.svc:9090"
    return {
        "type": "prometheus",
        "metadata": {"serverAddress": address, "query": query, "threshold": threshold, **more},
    }


def named(metric: dict[str, Any]) -> tuple[str, object]:
    """Return a metric's name and the value of its target."""
    member = next(each for name, each in metric.items() if name != "type")
    target = member["target"]
    return member.get("name") or member["metric"]["name"], next(target[each] for each in target if each != "type")


# As they stand in public repositories and manuals: what is made of them, and what is told.
FOUND: dict[str, tuple[str, list[tuple[str, object]], dict[str, str]]] = {
    "vllm-project/production-stack: autoscaling-keda.rst": (
        scaled(queried("vllm:num_requests_waiting", metricName="vllm:num_requests_waiting"), pollingInterval=15),
        [("vllm:num_requests_waiting", "5")],
        {"spec.triggers[0].metadata.serverAddress": "prometheus-operated", "spec.pollingInterval": "periodSeconds"},
    ),
    "kedacore/keda: docs of v1": (
        scaled(
            queried("sum(rate(http_requests_total[2m]))", "100"),
            version="keda.k8s.io/v1alpha1",
            scaleTargetRef={"deploymentName": "llm"},
        ),
        [("sum(rate(http_requests_total[2m]))", "100")],
        {},
    ),
    "kedacore/keda#2214: Amazon": (
        scaled({**queried("sum(x)", awsRegion="eu-west-1"), "authenticationRef": {"name": "aws"}}),
        [("sum(x)", "5")],
        {"spec.triggers[0].metadata.awsRegion": "aws", "spec.triggers[0].authenticationRef": "aws, google and azure"},
    ),
    "kedacore/keda#6935: Azure": (
        scaled({**queried("sum(x)", authModes="bearer", unsafeSsl="true"), "authenticationRef": {"name": "a"}}),
        [("sum(x)", "5")],
        {"spec.triggers[0].authenticationRef": "azure", "spec.triggers[0].metadata.unsafeSsl": "always verified"},
    ),
    "kedacore/keda#3065: a query that is never empty": (
        scaled(queried("sum(x) or on() vector( 0 )", 5)),
        [("sum(x) or on() vector( 0 )", "5")],
        {},
    ),
    "grafana/grafana#15168: a panel's query": (
        scaled(queried('sum(rate(x{instance=~"$instance"}[$__interval]))')),
        [('sum(rate(x{instance=~"$instance"}[$__interval]))', "5")],
        {"spec.triggers[0].metadata.query": "$instance is a variable"},
    ),
    "an alert's query": (
        scaled(queried("sum(vllm:num_requests_waiting) > 10")),
        [("sum(vllm:num_requests_waiting) > 10", "5")],
        {"spec.triggers[0].metadata.query": "is a filter"},
    ),
    "kedacore/keda: the default metricType divides a maximum by the replicas": (
        scaled(queried("max(vllm:num_requests_waiting)")),
        [("max(vllm:num_requests_waiting)", "5")],
        {"spec.triggers[0].metadata.query": "use a target of type Value"},
    ),
    "a fraction as if it were a percentage": (
        scaled({**queried("avg(vllm:kv_cache_usage_perc)", "80"), "metricType": "Value"}),
        [("avg(vllm:kv_cache_usage_perc)", "80")],
        {"spec.offloadingConfig.metrics[0].external.target.value": "is a fraction from 0 to 1"},
    ),
    "a fraction over some time as if it were a percentage": (
        scaled({**queried("max(max_over_time(sglang:token_usage[1m]))", "90"), "metricType": "Value"}),
        [("max(max_over_time(sglang:token_usage[1m]))", "90")],
        {"spec.offloadingConfig.metrics[0].external.target.value": "at most 1, so it never exceeds 90"},
    ),
    "a counter": (
        scaled(queried("vllm:generation_tokens_total")),
        [("vllm:generation_tokens_total", "5")],
        {"spec.triggers[0].metadata.query": "is a counter"},
    ),
    "kserve/website: keda-autoscaler.md": (
        scaled({"type": "cpu", "metadata": {"type": "Utilization", "value": "50"}}),
        [("cpu", 50)],
        {},
    ),
    "a schedule beside a query": (
        scaled(queried("sum(x)"), {"type": "cron", "metadata": {"timezone": "UTC", "start": "0 6 * * *"}}),
        [("sum(x)", "5")],
        {"spec.triggers[1]": "override"},
    ),
    "kubectl get hpa keda-hpa-…": (
        hpa(
            "v2",
            {
                "metrics": [
                    {
                        "type": "External",
                        "external": {
                            "metric": {
                                "name": "s0-prometheus",
                                "selector": {"matchLabels": {"scaledobject.keda.sh/name": "llm"}},
                            },
                            "target": {"type": "AverageValue", "averageValue": "5"},
                        },
                    }
                ]
            },
        ),
        [("s0-prometheus", "5")],
        {"spec.offloadingConfig.metrics[0]": "convert the ScaledObject instead"},
    ),
    "kubernetes: kubectl autoscale without a target": (
        hpa("v1", {}),
        [("cpu", 80)],
        {"spec.metrics": "scales by cpu at 80 %"},
    ),
    "kubernetes 1.2: extensions/v1beta1": (
        hpa("v1", {"cpuUtilization": {"targetPercentage": 60}}).replace("autoscaling/v1", "extensions/v1beta1"),
        [("cpu", 60)],
        {},
    ),
}


@pytest.mark.parametrize(("text", "made", "told"), FOUND.values(), ids=FOUND)
def test_what_people_have_is_converted_and_what_is_lost_is_told(
    text: str, made: list[tuple[str, object]], told: dict[str, str]
) -> None:
    assert [named(each) for each in metrics(text)] == made
    found: dict[str, str] = {}
    for note in one(text).notes:
        found[note.field] = found.get(note.field, "") + note.message
    assert all(said in found[field] for field, said in told.items()), found
    assert not any("vector(0)" in said for said in found.values()) or "vector" not in text


def noted(text: str, annotations: dict[str, str]) -> dict[str, str]:
    """Return the notes about annotations, by their names."""
    document = yaml.safe_load(text)
    document["metadata"]["annotations"] = annotations
    prefix = "metadata.annotations["
    notes = one(yaml.safe_dump(document)).notes
    return {each.field.removeprefix(prefix)[:-1]: each.message for each in notes if each.field.startswith(prefix)}


def test_annotations_of_keda_are_told() -> None:
    paused = {
        f"autoscaling.keda.sh/{name}": value
        for name, value in {"paused": "true", "paused-replicas": "0", "paused-scale-in": "true"}.items()
    }
    others = {"scaledobject.keda.sh/transfer-hpa-ownership": "true", "autoscaling.keda.sh/force-activation": "true"}
    text = scaled(queried("sum(x)"))

    found = noted(text, paused | others | {"autoscaling.keda.sh/paused-scale-out": "false", "team": "ml"})

    assert found.keys() == {*paused, *others}
    assert all("spec.enabled: false" in found[name] for name in paused)
    assert all("no equivalent" in found[name] for name in others)


def test_annotations_in_which_v1_stores_what_it_has_no_fields_for_are_told() -> None:
    alpha = "autoscaling.alpha.kubernetes.io"
    text = hpa("v1", {"targetCPUUtilizationPercentage": 60})

    found = noted(text, {f"{alpha}/behavior": "{}", f"{alpha}/conditions": "[]", f"{alpha}/new": "x", "team": "ml"})

    assert found.keys() == {f"{alpha}/behavior", f"{alpha}/new"}
    assert "offloadingConfig.behavior" in found[f"{alpha}/behavior"]


@pytest.mark.parametrize("stored", ["{}", '"cpu"', "5"])
def test_an_annotation_that_is_no_list_of_metrics_is_told(stored: str) -> None:
    """It was taken for none, and the result had the default metric instead."""
    document = yaml.safe_load(hpa("v1", {}))
    document["metadata"]["annotations"] = {"autoscaling.alpha.kubernetes.io/metrics": stored}

    made = one(yaml.safe_dump(document))

    assert made.manifest is None
    assert "expected a list in JSON" in made.notes[0].message


def test_fields_of_keda_that_are_dropped_are_told() -> None:
    query = {**queried("sum(x)", identityOwner="workload", metricName="x"), "useCachedMetrics": True}
    cpu = {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "60"}, "useCachedMetrics": True}
    more = {"initialCooldownPeriod": 120, "advanced": {"restoreToOriginalReplicaCount": True}}

    found = {note.field: note.message for note in one(scaled(query, cpu, **more)).notes}

    assert "never from a cache" in found["spec.triggers[0].useCachedMetrics"]
    assert "never from a cache" in found["spec.triggers[1].useCachedMetrics"]
    assert found["spec.triggers[0].metadata.identityOwner"] == "no equivalent"
    assert "spec.triggers[0].metadata.metricName" not in found
    assert {"spec.initialCooldownPeriod", "spec.advanced.restoreToOriginalReplicaCount"} <= found.keys()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
words = st.fixed_dictionaries(
    {"kind": st.sampled_from(["HorizontalPodAutoscaler", "ScaledObject", "ModelDeployment"])},
    optional={
        "metadata": values | st.fixed_dictionaries({"annotations": values}),
        "spec": values
        | st.fixed_dictionaries(
            {},
            optional={
                "metrics": values
                | st.lists(st.fixed_dictionaries({"type": st.just("Pods"), "pods": values}), max_size=2),
                "triggers": values
                | st.lists(
                    st.fixed_dictionaries({"type": st.sampled_from(["prometheus", "cpu"]), "metadata": values}),
                    max_size=2,
                ),
                "scaleTargetRef": values,
                "offloadingConfig": st.fixed_dictionaries({"metrics": values}),
            },
        ),
    },
)


@given(words)
def test_nothing_that_comes_raises(document: dict[str, Any]) -> None:
    for made in conversion.convert(yaml.safe_dump(document)):
        assert made.manifest is not None or made.notes
