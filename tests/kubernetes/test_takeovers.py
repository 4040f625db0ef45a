"""What one model's course teaches: whether its triggers could still be read once its Service was taken over."""

from dataclasses import replace
from datetime import datetime, timedelta

from lightkube.config.kubeconfig import KubeConfig

import builders
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.spec import ModelKey, OffloadSpec, RoutingMode, ServiceRef
from beamlit_controller.kubernetes import selection, services
from beamlit_controller.kubernetes.api_server import ApiServer
from beamlit_controller.kubernetes.gateway_objects import Ports
from beamlit_controller.kubernetes.models import Models
from beamlit_controller.kubernetes.plan import Plan
from beamlit_controller.kubernetes.reach import Question, Reach
from beamlit_controller.kubernetes.services import Service, Services
from beamlit_controller.kubernetes.takeover import Act
from beamlit_controller.kubernetes.takeovers import Around, Case, Course, Takeovers
from builders import NOW

VALUE = selection.value_of("u1")
SPEC = builders.spec(service=ServiceRef("llama", 8000), routing=RoutingMode.TAKEOVER)
PLACE = Plan({"app": "llama"}, 8000, Ports(front=8000, stats=9902, service=80), ipv6=False)

NOWHERE = {
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "x",
}


class Play:
    """A model whose Service has been taken over, and whose metrics can be read or not."""

    def __init__(self) -> None:
        self.at = NOW
        self.readable: bool | None = True
        nowhere = KubeConfig.from_dict(NOWHERE).get()
        assert nowhere is not None
        around = Around(
            Models(lambda _: ()), Services(lambda *_: None), Reach(Question("/", "x")), self._readable, self
        )
        self._takeovers = Takeovers(ApiServer(nowhere), around)
        self._course = Course(taken_at=NOW)

    def now(self) -> datetime:
        return self.at

    async def act(self, seconds: float, spec: OffloadSpec = SPEC) -> tuple[Act, Reason]:
        self.at = NOW + timedelta(seconds=seconds)
        step = await self._takeovers.look(self._course, Case(spec, "u1", held(), PLACE, ()))
        assert step is not None
        return step.act, step.why.reason

    def _readable(self, _: ModelKey) -> bool | None:
        return self.readable


def held() -> Service:
    noted = {selection.ORIGINAL: '{"app":"llama"}', selection.TAKEN_BY: "llama"}
    about = {"namespace": "models", "name": "llama", "uid": "s1", "resourceVersion": "1", "annotations": noted}
    return services.parse(
        {"metadata": about, "spec": {"selector": {"app": VALUE}, "ports": [{"port": 80, "targetPort": 8000}]}}
    )


async def test_triggers_that_stay_unreadable_since_then_give_the_service_back_until_the_spec_changes() -> None:
    play = Play()
    play.readable = False

    assert (await play.act(5))[1] is not Reason.TRIGGERS_UNREADABLE
    assert await play.act(66) == (Act.GIVE_BACK, Reason.TRIGGERS_UNREADABLE)
    play.readable = True
    assert await play.act(600) == (Act.GIVE_BACK, Reason.TRIGGERS_UNREADABLE)
    assert (await play.act(601, replace(SPEC, generation=SPEC.generation + 1)))[1] is not Reason.TRIGGERS_UNREADABLE


async def test_triggers_that_can_be_read_again_or_are_lost_much_later_are_no_fault_of_it() -> None:
    play = Play()
    play.readable = False
    await play.act(5)
    play.readable = True
    await play.act(50)
    play.readable = False

    assert (await play.act(300))[1] is not Reason.TRIGGERS_UNREADABLE
    assert (await play.act(400))[1] is not Reason.TRIGGERS_UNREADABLE
