"""The store of pods: what is kept of each, and how they are found."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.core.metric_spec import Operator, Requirement, Selector
from beamlit_controller.core.signals import Container, Pod
from beamlit_controller.kubernetes import pods
from beamlit_controller.kubernetes.pods import KnownPod, Pods

Json = dict[str, Any]
APP = Selector((("app", "llama"),))


def content(name: str = "one", *, ready: str = "True", phase: str = "Running", **changes: Any) -> Json:  # noqa: ANN401
    ports = [{"name": "http", "containerPort": 8000}, {"containerPort": 9000}]
    base = {
        "metadata": {"name": name, "namespace": "models", "labels": {"app": "llama"}},
        "spec": {
            "containers": [
                {"name": "main", "resources": {"requests": {"cpu": "250m", "memory": "1Gi"}}, "ports": ports},
                {"name": "log", "resources": {"limits": {"cpu": "2"}}},
            ],
            "initContainers": [
                {"name": "sidecar", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1n"}}}
            ],
            "overhead": {"cpu": "10m"},
        },
        "status": {
            "phase": phase,
            "podIP": "10.1.2.3",
            "startTime": "2026-06-01T11:00:00Z",
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "2026-06-01T11:00:30Z"}],
        },
    }
    return base | changes


def store(*contents: Json) -> Pods:
    kept = Pods()
    for each in contents:
        kept.changed(("models", each["metadata"]["name"]), pods.parse(each))
    return kept


def test_keeps_what_the_rules_look_at() -> None:
    pod = pods.parse(content()).pod

    assert pod.containers == (
        Container("main", (("cpu", 250), ("memory", 2**30 * 1000))),
        Container("log", limits=(("cpu", 2000),)),
    )
    assert pod.init_containers == (Container("sidecar", (("cpu", 1),), restartable=True),)
    assert pod.overhead == (("cpu", 10),)
    assert pod.ready is not None
    assert (pod.ready.status, pod.deleting, pod.phase) == ("True", False, "Running")


def test_a_pod_without_anything_is_a_pod() -> None:
    known = pods.parse({"metadata": {"name": "bare", "namespace": "models"}})

    assert known == KnownPod(Pod("bare", phase="", ready=None), ())


def test_equal_containers_and_labels_are_kept_once() -> None:
    one, two = pods.parse(content("one")), pods.parse(content("two"))

    assert one.pod.containers is two.pod.containers
    assert one.labels is two.labels


def test_a_pod_whose_labels_change_is_found_by_the_new_ones_only() -> None:
    kept = store(content())
    moved = content()
    moved["metadata"] = {**moved["metadata"], "labels": {"app": "other"}}

    kept.changed(("models", "one"), pods.parse(moved))

    assert kept.select("models", APP) == ()
    assert [pod.name for pod in kept.select("models", Selector((("app", "other"),)))] == ["one"]


def test_pods_of_another_namespace_are_not_found() -> None:
    assert store(content()).select("others", APP) == ()


def test_only_ready_pods_are_endpoints_and_a_port_is_found_by_its_name() -> None:
    kept = store(
        content("ready"), content("unready", ready="False"), content("failed", phase="Failed"), content("bare", spec={})
    )

    assert list(kept.endpoints("models", APP, "http")) == [("ready", "10.1.2.3", 8000)]
    assert [name for name, _, _ in kept.endpoints("models", APP, 9000)] == ["bare", "ready"]


@pytest.mark.parametrize(
    ("families", "address"),
    [
        ((), "10.1.2.3"),
        (("IPv4",), "10.1.2.3"),
        (("IPv6",), "fd00::3"),
        (("IPv6", "IPv4"), "fd00::3"),
        (("IPv4", "IPv6"), "10.1.2.3"),
    ],
)
def test_a_pod_with_two_addresses_is_one_endpoint_at_the_address_that_the_service_leads_to(
    families: tuple[str, ...], address: str
) -> None:
    dual = content()
    dual["status"]["podIPs"] = [{"ip": "10.1.2.3"}, {"ip": "fd00:0::3"}]

    assert list(store(dual).endpoints("models", APP, "http", families=families)) == [("one", address, 8000)]
    assert store(dual).have_ipv6("models", APP)
    assert not store(content()).have_ipv6("models", APP)


def test_named_ports_are_those_of_pods_that_stay() -> None:
    going = content("going")
    going["metadata"] = {**going["metadata"], "deletionTimestamp": "2026-06-01T12:00:00Z"}

    assert list(store(content(), going).named_ports("models", APP)) == [{"http": 8000}]


@pytest.mark.parametrize("broken", [{}, {"metadata": {}}, {"metadata": {"name": "a"}, "spec": {"containers": [{}]}}])
def test_what_a_pod_lacks_counts_as_missing(broken: Json) -> None:
    known = pods.parse(broken)

    assert not known.ready
    assert all(container == Container("") for container in known.pod.containers)


@pytest.mark.parametrize(
    ("amount", "milli"),
    [("10e99", 10**103), ("1e-9", 1), ("1E18", 10**21), ("9" * 5000, 10**103), (".5Gi", 2**29 * 1000)],
)
def test_a_quantity_is_read_as_the_api_server_stores_it(amount: str, milli: int) -> None:
    """A pod that requested 1e100 of memory broke the watch of all pods of the cluster."""
    stored = content()
    stored["spec"]["containers"] = [{"name": "main", "resources": {"requests": {"memory": amount, "cpu": "1"}}}]

    known = pods.parse(stored)

    assert known.pod.containers == (Container("main", (("memory", milli), ("cpu", 1000))),)


@pytest.mark.parametrize("amount", ["many", "", "²", None, [], {"a": 1}])
def test_an_amount_that_can_not_be_read_costs_nothing_but_itself(amount: object) -> None:
    stored = content()
    stored["spec"]["containers"] = [{"name": "main", "resources": {"requests": {"memory": amount, "cpu": "1"}}}]

    requests = dict(pods.parse(stored).pod.containers[0].requests)

    assert requests["cpu"] == 1000
    assert requests.get("memory", 0) == 0


NAMES = st.sampled_from(["a", "b", "c", "d"])
LABELS = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["x", "y"]))
CHANGES = st.lists(st.tuples(st.sampled_from(["n", "m"]), NAMES, st.none() | LABELS), max_size=25)
SELECTORS = st.builds(
    Selector,
    st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["x", "y"])).map(lambda it: tuple(it.items())),
    st.lists(
        st.builds(
            Requirement,
            st.sampled_from(["app", "tier"]),
            st.sampled_from([Operator.IN, Operator.NOT_IN]),
            st.lists(st.sampled_from(["x", "y"]), min_size=1, max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
)


@given(CHANGES, SELECTORS)
def test_finding_pods_is_the_same_as_looking_at_all_of_them(changes: list[Any], selector: Selector) -> None:
    kept, present = Pods(), {}
    for namespace, name, labels in changes:
        namespaced_name = (namespace, name)
        seen = None if labels is None else KnownPod(Pod(name), tuple(sorted(labels.items())))
        kept.changed(namespaced_name, seen)
        present[namespaced_name] = seen

    for namespace in ("n", "m"):
        scanned = sorted(
            known.pod.name
            for (where, _), known in present.items()
            if known is not None and where == namespace and selector.matches(dict(known.labels))
        )
        assert [pod.name for pod in kept.select(namespace, selector)] == scanned
    assert len(kept) == sum(known is not None for known in present.values())
