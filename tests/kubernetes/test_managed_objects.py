"""What is seen of objects of ours: one object has one digest, however it came."""

import pytest

from beamlit_controller.kubernetes import managed_objects
from beamlit_controller.kubernetes.managed_objects import METADATA_ONLY, ManagedObject, ManagedObjects
from beamlit_controller.kubernetes.paths import CONFIG_MAPS, SERVICES
from beamlit_controller.kubernetes.service_patches import PREFIX

ABOUT = {
    "namespace": "models",
    "name": "llama-local",
    "uid": "u",
    "resourceVersion": "41",
    "labels": {"deployment.beamlit.com/gateway": "llama"},
    "ownerReferences": [{"uid": "o", "controller": True}],
}
ITEM = {"metadata": ABOUT, "spec": {"selector": {"app": "llama"}}, "status": {"loadBalancer": {}}}


def seen(resource: object = SERVICES, version: int = 41, **changes: object) -> ManagedObject:
    content = {**ITEM, "metadata": {**ABOUT, "resourceVersion": str(version)}, **changes}
    return managed_objects.parse(resource)(content)


def test_an_item_of_a_list_an_event_and_the_answer_of_an_apply_have_one_digest() -> None:
    """Items of a list carry no apiVersion and kind: after a restart every object was applied again and again."""
    event = {"apiVersion": "v1", "kind": "Service", **ITEM}
    applied = {**event, "metadata": {**ABOUT, "resourceVersion": "42", "managedFields": [{}]}, "status": {}}

    assert managed_objects.digest(ITEM) == managed_objects.digest(event) == managed_objects.digest(applied)
    assert managed_objects.digest({**event, "spec": {"selector": {"app": "other"}}}) != managed_objects.digest(event)


@pytest.mark.parametrize(("version", "unchanged"), [(40, True), (41, True), (42, True)])
def test_an_object_with_the_same_content_is_as_it_was_applied(version: int, unchanged: object) -> None:
    assert (
        managed_objects.unchanged(seen(version=version), version=41, digest=managed_objects.digest(ITEM)) is unchanged
    )


@pytest.mark.parametrize(("version", "unchanged"), [(40, True), (41, True), (42, False)])
def test_an_object_with_other_content_is_not_once_it_is_newer(version: int, unchanged: object) -> None:
    changed = seen(version=version, spec={})

    assert managed_objects.unchanged(changed, version=41, digest=managed_objects.digest(ITEM)) is unchanged


@pytest.mark.parametrize(("version", "unchanged"), [(40, True), (41, True), (42, False)])
def test_of_what_is_seen_without_its_content_any_newer_version_has_to_be_read(version: int, unchanged: object) -> None:
    assert CONFIG_MAPS in METADATA_ONLY
    assert (
        managed_objects.unchanged(seen(CONFIG_MAPS, version), version=41, digest=managed_objects.digest(ITEM))
        is unchanged
    )


@pytest.mark.parametrize("version", ["", "x", "²", "9" * 5000, None, 7])
def test_a_version_that_is_none_is_told(version: object) -> None:
    with pytest.raises(ValueError, match="expected a resourceVersion"):
        managed_objects.version({"metadata": {"resourceVersion": version}})


def test_a_gateways_pod_with_odd_fields_is_one_that_is_not_ready() -> None:
    odd = {
        "metadata": {
            **ABOUT,
            "labels": {"app": f"{PREFIX}1", "x": 7},
            "annotations": {"deployment.beamlit.com/config": "x" * 10**6},
        },
        "spec": {
            "containers": [None, {"ports": [{"containerPort": "many", "name": "offload-stats"}, 3]}, {"ports": 4}]
        },
        "status": {"conditions": [{"type": ["Ready"], "status": "True"}, None], "podIP": 7},
    }

    pod = managed_objects.parse_pod(odd)

    assert (pod.ready, pod.ip, pod.stats_port, pod.config) == (False, "", 0, "")
    assert pod.gateway_labels == (("app", f"{PREFIX}1"),)


def test_pods_that_went_leave_nothing_behind() -> None:
    kept = ManagedObjects(lambda _: None)
    pod = managed_objects.parse_pod({"metadata": ABOUT})

    kept.pod_changed(("models", "llama-local"), pod)
    kept.pod_changed(("models", "llama-local"), None)

    assert kept.pods(pod.key) == {}


@pytest.mark.parametrize(
    ("status", "ips"),
    [
        ({}, ()),
        ({"podIP": "10.0.0.1"}, ("10.0.0.1",)),
        ({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "FD00:0::0A"}]}, ("10.0.0.1", "fd00::a")),
        (
            {"podIP": "fd00::a", "podIPs": [{"ip": "fd00::a"}, None, {"ip": 7}, {"ip": "10.0.0.1"}]},
            ("fd00::a", "10.0.0.1"),
        ),
    ],
)
def test_a_pod_has_all_of_its_addresses_the_primary_one_first(status: object, ips: tuple[str, ...]) -> None:
    pod = managed_objects.parse_pod({"metadata": ABOUT, "status": status})

    assert pod.ips == ips
    assert pod.ip == (ips[0] if ips else "")


def test_a_pod_that_gets_the_label_of_another_gateway_is_news_for_both_models() -> None:
    told: list[str] = []
    known = ManagedObjects(lambda key: told.append(key.name))
    pod = managed_objects.parse_pod({"metadata": {**ABOUT, "name": "one"}})
    known.pod_changed(("models", "one"), pod)
    told.clear()

    other = {**ABOUT, "name": "one", "labels": {"deployment.beamlit.com/gateway": "mistral"}}
    known.pod_changed(("models", "one"), managed_objects.parse_pod({"metadata": other}))

    assert sorted(told) == ["llama", "mistral"]
