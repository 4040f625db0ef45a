"""Which gateway pods reach the model, and how long they are given."""

from beamlit_controller.core.spec import ModelKey
from beamlit_controller.kubernetes.gateway_probe import GatewayProbe, ProbeRequest
from beamlit_controller.kubernetes.managed_objects import GatewayPod
from fakes import hold_up, http


async def test_an_answer_that_came_while_the_loop_was_held_up_counts() -> None:
    answer = http.page(x_local="yes")
    async with http.serve(hold_up.after(answer, 3)) as server, GatewayProbe(ProbeRequest("/", "x-local")) as probe:
        pod = GatewayPod(
            ModelKey("a", "b"),
            "pod",
            "uid",
            "1",
            "",
            "127.0.0.1",
            ready=True,
            deleting=False,
            stats_port=server.port,
        )

        assert await probe.of([pod]) == {"uid"}
