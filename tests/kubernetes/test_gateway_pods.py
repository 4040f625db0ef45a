"""The operator's settings for gateway pods, from the settings to the Deployment that is written."""

from dataclasses import replace
from typing import Any

import pytest

from beamlit_controller.core.gateway_pods import GatewayPods
from fakes import api_users
from fakes.api_controllers import Controllers
from fakes.objects_of_models import Seen, model, service, workload
from fakes.replica import world
from waiting import eventually

pytestmark = pytest.mark.looptime

TAINTED = GatewayPods(
    node_selector={"pool": "edge"},
    tolerations=({"key": "dedicated", "operator": "Exists"},),
    image_pull_secrets=("registry",),
    fixed_user=False,
)
TEMPLATE = "nodeSelector", "tolerations", "imagePullSecrets"


async def test_changed_settings_reach_the_gateways_that_there_are_with_the_next_controller() -> None:
    async with world(gateway_pods=TAINTED) as given, Controllers(given.server).running():
        for each in (workload(), service(), model()):
            api_users.put(given.server, each)
        seen = Seen(given.server)

        def pod() -> Any:  # noqa: ANN401 - JSON
            found = given.server.find("apps/v1", "Deployment", "models", "llama-gateway")
            return found["spec"]["template"]["spec"] if found else {}

        first = given.start()
        await eventually(lambda: seen.ready, within=120, every=0.05)
        assert {name: pod().get(name) for name in TEMPLATE} == {
            "nodeSelector": {"pool": "edge"},
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
            "imagePullSecrets": [{"name": "registry"}],
        }
        assert "runAsUser" not in pod()["securityContext"]

        await first.end()
        given.settings = replace(given.settings, gateway_pods=GatewayPods())
        given.start("two")

        await eventually(lambda: "nodeSelector" not in pod(), within=120, every=0.05)
        assert not any(pod().get(name) for name in TEMPLATE)
        assert pod()["securityContext"]["runAsUser"] == 65532
