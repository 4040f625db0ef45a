"""Taking Services over and giving them back at a real API server, with whatever may go wrong in between.

The pods are played, and so nothing fails but what we do wrong: at no moment may the Service lead nowhere.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import pytest_asyncio

from beamlit_controller.kubernetes import models, service_patches
from fakes.controller import COMMAND
from kube import assets, controllers, processes, simulated_node
from kube.control_plane import ControlPlane
from kube.metrics_api import MetricsApis
from kube.simulated_node import Stage
from waiting import eventually

Json = dict[str, Any]
LONG = 90
SETTINGS = {
    "metricInformer": {"periodSeconds": 1},
    "enableLeaderElection": False,
    "allowedRemoteHosts": ["api.example.com"],
}
USERS = {"app": "llama", "tier": "web"}
PORTS = [{"name": "http", "port": 80, "targetPort": 8000}]
SERVICE: Json = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "llama"},
    "spec": {"selector": USERS, "ports": PORTS},
}
MODEL: Json = {
    "apiVersion": "deployment.beamlit.com/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "llama"},
    "spec": {
        "serviceRef": {"name": "llama", "targetPort": 8000},
        "offloadingConfig": {
            "behavior": {"percentage": 50},
            "remoteBackend": {"scheme": "https", "host": "api.example.com"},
            "metrics": [
                {
                    "type": "External",
                    "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": 10}},
                }
            ],
        },
    },
}


def pod(name: str) -> Json:
    container = {"name": "server", "image": "model", "ports": [{"name": "http", "containerPort": 8000}]}
    labels = {**USERS, "pod": name}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [container]},
    }


@pytest.fixture(scope="module")
def rights(control_plane: ControlPlane, helm: Path) -> Iterator[str]:
    controllers.install(control_plane.client, helm)
    account = ("create", "token", controllers.NAME, "-n", controllers.SYSTEM, "--duration=24h")
    yield control_plane.client.kubectl(*account).strip()
    controllers.uninstall(control_plane.client)


@pytest_asyncio.fixture
async def stage(  # noqa: PLR0917 - fixtures
    control_plane: ControlPlane,
    takes_root: None,
    metrics_apis: MetricsApis,
    namespace: str,
    rights: str,
    tmp_path: Path,
) -> AsyncIterator[Stage]:
    metrics_apis.values(namespace).external["queue"] = ["4"]
    with TemporaryDirectory(prefix=processes.signed("played")) as folder, processes.held(tmp_path) as outside:
        async with simulated_node.staged(
            control_plane, namespace, Path(folder), outside, token=rights, settings=SETTINGS
        ) as stage:
            control_plane.client.apply(SERVICE, pod("llama-1"), pod("llama-2"), namespace=namespace)
            await eventually(lambda: len(stage.led_to) == 2, within=LONG, what="the Service leads to the model")
            yield stage


def service(stage: Stage, name: str = "llama") -> Json:
    found: Json = stage.client.get("service", name, namespace=stage.namespace)
    return found


def selector(stage: Stage) -> Json:
    found: Json = service(stage)["spec"]["selector"]
    return found


def annotations(stage: Stage) -> Json:
    return service(stage)["metadata"].get("annotations") or {}


def is_taken(stage: Stage) -> bool:
    return all(service_patches.is_gateway_value(value) for value in selector(stage).values())


def is_back(stage: Stage) -> bool:
    return selector(stage) == USERS and not is_marked(stage)


def is_marked(stage: Stage) -> bool:
    return bool({service_patches.ORIGINAL, service_patches.TAKEN_BY} & set(annotations(stage)))


def gateways(stage: Stage) -> int:
    listed = stage.client.get("pods", namespace=stage.namespace)["items"]
    return sum("-gateway-" in each["metadata"]["name"] for each in listed)


def condition(stage: Stage, name: str = "llama") -> tuple[str, str]:
    found = stage.client.get("md", name, namespace=stage.namespace).get("status") or {}
    taken = [each for each in found.get("conditions") or () if each["type"] == "ServiceTaken"]
    return (taken[0]["status"], taken[0]["reason"]) if taken else ("", "")


def finalizers(stage: Stage, name: str = "llama") -> list[str]:
    found: list[str] = stage.client.get("md", name, namespace=stage.namespace)["metadata"].get("finalizers") or []
    return found


async def becomes(what: Callable[[Stage], object], stage: Stage, within: float = LONG) -> None:
    name = getattr(what, "__name__", str(what))
    await eventually(
        lambda: what(stage), within=within, every=0.1, what=f"{name}\n{stage.inside.said(simulated_node.CONTROLLER)}"
    )


async def waiting(stage: Stage, *arguments: str) -> None:
    """Run kubectl while it waits for something that takes this process, too: pods are played here."""
    await asyncio.to_thread(stage.client.kubectl, *arguments, f"--timeout={LONG}s", within=LONG + 10)


async def taken(stage: Stage) -> None:
    """Have the model applied, and its Service taken over."""
    stage.start()
    stage.client.apply(MODEL, namespace=stage.namespace)
    await becomes(is_taken, stage)
    await becomes(lambda stage: condition(stage) == ("True", "ServiceTaken"), stage)


async def test_a_service_is_taken_over_in_one_write_that_stores_what_it_was(stage: Stage) -> None:
    await taken(stage)

    assert set(selector(stage)) == set(USERS)
    assert json.loads(annotations(stage)[service_patches.ORIGINAL]) == USERS
    assert annotations(stage)[service_patches.TAKEN_BY] == "llama"
    assert finalizers(stage) == [models.FINALIZER]
    assert stage.client.get("service", "llama-local", namespace=stage.namespace)["spec"]["selector"] == USERS
    assert sum("services/llama" in each and "local" not in each for each in stage.between.writes) == 1
    assert stage.outages == []


async def test_a_service_is_given_back_before_the_gateway_of_a_deleted_model_goes(stage: Stage) -> None:
    await taken(stage)

    await waiting(stage, "delete", "md", "llama", "-n", stage.namespace)

    await becomes(is_back, stage)
    await becomes(lambda stage: gateways(stage) == 0, stage)
    assert stage.outages == []


async def test_it_is_not_taken_before_the_gateways_have_reached_the_model(stage: Stage) -> None:
    stage.reaching = False
    stage.start()
    stage.client.apply(MODEL, namespace=stage.namespace)
    await becomes(lambda stage: condition(stage) == ("False", "PodsNotReached"), stage)
    assert is_back(stage)

    stage.reaching = True

    await becomes(is_taken, stage)


async def test_a_gateway_that_fails_loses_the_service_and_gets_it_again_when_it_is_well(stage: Stage) -> None:
    await taken(stage)

    stage.ready = False
    await eventually(lambda: not stage.led_to, within=LONG)  # all gateways at once: that is not our doing
    failed = asyncio.get_running_loop().time()
    await becomes(is_back, stage)
    await becomes(lambda stage: condition(stage) == ("False", "GatewayLost"), stage)
    stage.outages.clear()
    stage.ready = True

    await becomes(is_taken, stage)
    assert asyncio.get_running_loop().time() - failed > 30
    assert stage.outages == []


async def test_somebody_who_applies_the_manifest_again_and_again_gets_the_service(stage: Stage) -> None:
    await taken(stage)

    async def reverted() -> bool:
        stage.client.apply(SERVICE, namespace=stage.namespace)
        return condition(stage) == ("False", "ServiceContested")

    await eventually(reverted, within=LONG, every=1, what="contested")
    stage.client.apply(SERVICE, namespace=stage.namespace)
    await becomes(is_back, stage)
    marks = annotations(stage)[service_patches.REVERTED]
    await becomes(lambda stage: not finalizers(stage), stage)

    assert marks.count(",") == 2
    assert stage.outages == []
    stage.client.kubectl("annotate", "service", "llama", "-n", stage.namespace, f"{service_patches.REVERTED}-")
    await becomes(is_taken, stage)


async def test_a_manifest_applied_on_the_servers_side_without_force_is_refused_and_with_force_a_revert(
    stage: Stage,
) -> None:
    await taken(stage)

    def applied(*how: str) -> str:
        return stage.client.kubectl("apply", "-n", stage.namespace, "--server-side", *how, "-f", "-", stdin=SERVICE)

    with pytest.raises(Exception, match="conflict"):
        applied("--field-manager=flux")
    assert is_taken(stage)
    applied("--field-manager=flux", "--force-conflicts")

    await becomes(lambda stage: is_taken(stage) and service_patches.REVERTED in annotations(stage), stage)
    assert stage.outages == []


async def test_an_edit_of_the_selector_becomes_what_is_given_back(stage: Stage) -> None:
    await taken(stage)

    stage.client.patch(
        "service", "llama", {"spec": {"selector": {"tier": None, "pod": "llama-1"}}}, namespace=stage.namespace
    )

    wanted = {"app": "llama", "pod": "llama-1"}
    await becomes(lambda stage: json.loads(annotations(stage).get(service_patches.ORIGINAL, "{}")) == wanted, stage)
    await becomes(is_taken, stage)
    stage.client.patch("md", "llama", {"spec": {"enabled": False}}, namespace=stage.namespace)
    await becomes(lambda stage: selector(stage) == wanted, stage)
    assert service_patches.REVERTED not in annotations(stage)


async def test_of_two_models_on_one_service_the_older_has_it_and_then_the_other(stage: Stage) -> None:
    await taken(stage)
    second = {**MODEL, "metadata": {"name": "second"}}
    stage.client.apply(second, namespace=stage.namespace)
    await becomes(lambda stage: condition(stage, "second") == ("False", "ServiceHeld"), stage)
    mine = selector(stage)

    await waiting(stage, "delete", "md", "llama", "-n", stage.namespace)

    await becomes(lambda stage: is_taken(stage) and selector(stage) != mine, stage)
    assert annotations(stage)[service_patches.TAKEN_BY] == "second"
    assert stage.outages == []


async def test_a_service_that_becomes_unsuitable_is_given_back_with_the_reason(stage: Stage) -> None:
    await taken(stage)

    change = {"spec": {"publishNotReadyAddresses": True}}
    stage.client.patch("service", "llama", change, namespace=stage.namespace)

    await becomes(is_back, stage)
    await becomes(lambda stage: condition(stage) == ("False", "ServiceUnsuitable"), stage)
    said = stage.client.get("md", "llama", namespace=stage.namespace)["status"]["conditions"]
    assert any("publishNotReadyAddresses" in each["message"] for each in said)
    assert stage.outages == []


async def test_a_namespace_that_is_deleted_goes(stage: Stage) -> None:
    await taken(stage)

    await waiting(stage, "delete", "namespace", stage.namespace)


async def test_a_model_that_went_without_giving_back_is_found_out(stage: Stage) -> None:
    await taken(stage)
    stage.kill()
    stage.client.patch("md", "llama", {"metadata": {"finalizers": None}}, namespace=stage.namespace)
    stage.client.kubectl("delete", "md", "llama", "-n", stage.namespace)

    stage.start()

    await becomes(is_back, stage)


DOCUMENTED = (Path(__file__).resolve().parents[2] / "docs/takeover.md").read_text()
ONE_LINE = (
    'kubectl patch service NAME -n NAMESPACE --type=merge -p "{\\"spec\\":{\\"selector\\":$(kubectl get service NAME -n NAMESPACE '
    "-o jsonpath='{.metadata.annotations.deployment\\.beamlit\\.com/original-selector}')}}\""
)


async def test_without_a_controller_one_line_of_kubectl_gives_the_service_back(
    control_plane: ControlPlane, stage: Stage
) -> None:
    await taken(stage)
    stage.kill()
    kubectl = f"{assets.need('kubectl')['kubectl']} --kubeconfig={stage.client.kubeconfig}"
    here = ONE_LINE.replace("NAMESPACE", stage.namespace).replace("NAME", "llama").replace("kubectl", kubectl)

    done = await asyncio.create_subprocess_shell(here)

    assert await done.wait() == 0
    assert selector(stage) == USERS
    assert ONE_LINE in DOCUMENTED


async def test_without_a_controller_restore_gives_all_services_of_a_namespace_back(stage: Stage) -> None:
    await taken(stage)
    stage.kill()

    async def restored(*arguments: str) -> tuple[int, str]:
        line = (str(COMMAND), "restore", f"--kubeconfig={stage.client.kubeconfig}", *arguments)
        ran = await asyncio.create_subprocess_exec(
            *line, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await ran.communicate()
        return ran.returncode or 0, said.decode()

    code, said = await restored("--namespace", stage.namespace)
    assert (code, is_back(stage), finalizers(stage)) == (0, True, [])
    assert f"Service {stage.namespace}/llama selects app=llama,tier=web" in said
    again = await restored("--namespace", stage.namespace)
    assert again == (0, f"no Service of {stage.namespace} is taken over\n")
    assert (await restored())[0] == 1


async def test_what_a_service_was_is_known_even_if_its_annotation_is_lost(stage: Stage) -> None:
    await taken(stage)
    stage.kill()
    stage.client.kubectl("annotate", "service", "llama", "-n", stage.namespace, f"{service_patches.ORIGINAL}-")

    stage.start()

    await becomes(lambda stage: json.loads(annotations(stage).get(service_patches.ORIGINAL, "{}")) == USERS, stage)
    stage.client.patch("md", "llama", {"spec": {"enabled": False}}, namespace=stage.namespace)
    await becomes(is_back, stage)


async def test_killed_at_the_write_of_taking_over_or_giving_back_it_ends_right_and_the_service_always_led_somewhere(
    stage: Stage,
) -> None:
    """Every write is failed in every way in virtual time, at an API server that is compared with this one."""
    stage.start()

    async with killed_at_a_write(stage):
        stage.client.apply(MODEL, namespace=stage.namespace)
        await becomes(is_taken, stage)
        await becomes(lambda stage: finalizers(stage) == [models.FINALIZER], stage)
    async with killed_at_a_write(stage):
        stage.client.kubectl("delete", "md", "llama", "-n", stage.namespace, "--wait=false")
        await becomes(is_gone, stage)

    assert stage.outages == []


async def test_killed_at_the_write_of_an_update_it_ends_right(stage: Stage) -> None:
    await taken(stage)
    wanted = {"app": "llama", "pod": "llama-1"}

    async with killed_at_a_write(stage):
        change = {"spec": {"selector": {"tier": None, **wanted}}}
        stage.client.patch("service", "llama", change, namespace=stage.namespace)
        await becomes(lambda stage: json.loads(annotations(stage).get(service_patches.ORIGINAL, "{}")) == wanted, stage)
        await becomes(is_taken, stage)

    await becomes(lambda stage: condition(stage) == ("True", "ServiceTaken"), stage)
    assert stage.outages == []


@asynccontextmanager
async def killed_at_a_write(stage: Stage) -> AsyncIterator[None]:
    """Kill the controller at its next write of a Service, right after that is carried out, and start it again."""

    async def again() -> None:
        await stage.between.struck.wait()
        stage.start()

    stage.between.strike("/services/llama")
    restarting = asyncio.ensure_future(again())
    try:
        yield
        assert await stage.between.spare()
        await restarting
    finally:
        restarting.cancel()


def is_gone(stage: Stage) -> bool:
    """Return whether nothing is left of the model and its gateway."""
    ours = "deployment.beamlit.com/gateway"
    left = stage.client.kubectl(
        "get", "md,deployment,configmap,service,pod", "-n", stage.namespace, "-o", "name", "-l", ours
    )
    models_ = stage.client.kubectl("get", "md", "-n", stage.namespace, "-o", "name")
    return is_back(stage) and not left.strip() and not models_.strip()


async def test_with_watches_that_break_and_lose_events_it_ends_right(stage: Stage) -> None:
    """Events that come late or twice are played in virtual time."""
    stage.between.losing = True
    stage.start()

    for _ in range(2):
        stage.client.apply(MODEL, namespace=stage.namespace)
        await becomes(is_taken, stage)
        stage.client.kubectl("delete", "md", "llama", "-n", stage.namespace, "--wait=false")
        await becomes(is_gone, stage)

    assert stage.outages == []
