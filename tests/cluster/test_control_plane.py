"""The control plane of the tests: what the other tests may count on."""

import pytest

from beamlit_controller.kubernetes.api_server import ApiError
from kube.control_plane import ControlPlane
from waiting import eventually

MODEL = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "model"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "model"}},
        "template": {
            "metadata": {"labels": {"app": "model"}},
            "spec": {"containers": [{"name": "server", "image": "model"}]},
        },
    },
}


async def test_a_deployment_gets_its_pods_from_the_real_controllers(
    control_plane: ControlPlane, namespace: str
) -> None:
    client = control_plane.client

    client.apply(MODEL, namespace=namespace)

    await eventually(lambda: len(client.get("pods", namespace=namespace)["items"]) == 2, within=60)


async def test_an_account_may_do_what_its_rules_say_and_no_more(control_plane: ControlPlane, namespace: str) -> None:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    reader = control_plane.client.account("reader", namespace=namespace, rules=rules)

    async with control_plane.client.api_server(reader) as api:
        pods = await api.get(f"/api/v1/namespaces/{namespace}/pods")
        with pytest.raises(ApiError) as refused:
            await api.get(f"/api/v1/namespaces/{namespace}/services")

    assert pods["kind"] == "PodList"
    assert (refused.value.code, refused.value.reason) == (403, "Forbidden")


async def test_an_api_server_that_comes_back_has_kept_all_objects_and_forgotten_older_versions(
    control_plane: ControlPlane, namespace: str
) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    async with control_plane.client.api_server() as api:
        before = (await api.get(pods))["metadata"]["resourceVersion"]
        control_plane.client.apply(MODEL, namespace=namespace)

        control_plane.compact()
        control_plane.restart_api_server()

        assert control_plane.client.get("deployment", "model", namespace=namespace)["spec"]["replicas"] == 2
        with pytest.raises(ApiError) as expired:
            await api.get(pods, [("resourceVersion", before), ("resourceVersionMatch", "Exact")])
    assert (expired.value.code, expired.value.reason) == (410, "Expired")
