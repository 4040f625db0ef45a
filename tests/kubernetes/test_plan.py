"""Where a gateway stands between a Service and its pods, or why it can't."""

from dataclasses import replace
from typing import Any

import builders
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import OffloadSpec, RoutingMode, ServiceRef
from beamlit_controller.kubernetes import services
from beamlit_controller.kubernetes.gateway_objects import Ports
from beamlit_controller.kubernetes.plan import Plan, plan
from beamlit_controller.kubernetes.services import Service


def spec(target_port: int | str = 8000, **changes: Any) -> OffloadSpec:  # noqa: ANN401 - whatever a spec takes
    return builders.spec(
        **{"service": ServiceRef("llama", target_port), "routing": RoutingMode.SERVICE} | changes,
    )


def service(**changes: Any) -> Service:  # noqa: ANN401 - whatever a Service takes
    content = {
        "metadata": {"namespace": "models", "name": "llama", "uid": "1"},
        "spec": {"selector": {"app": "llama"}, "ports": [{"port": 80, "targetPort": 8000}], "ipFamilies": ["IPv4"]},
    }
    return replace(services.parse(content), **changes)


def refused(outcome: Plan | Missing, reason: Reason, *words: str) -> None:
    assert isinstance(outcome, Missing)
    assert outcome.reason is reason
    for word in words:
        assert word in outcome.message


def test_the_gateway_listens_where_the_pods_do_and_is_called_by_the_services_port() -> None:
    place = plan(spec(), service(), ())

    assert place == Plan({"app": "llama"}, 8000, Ports(front=8000, stats=9902, service=80), ipv6=False)


def test_a_named_port_is_looked_up_in_the_pods() -> None:
    place = plan(spec("http"), service(), [{"http": 8080, "metrics": 9000}, {"http": 8080}])

    assert isinstance(place, Plan)
    assert place.local_port == 8080


def test_a_named_port_without_a_pod_is_waited_for() -> None:
    refused(plan(spec("http"), service(), []), Reason.NO_PODS, "spec.serviceRef.targetPort", "http")


def test_a_named_port_that_differs_between_pods_is_refused() -> None:
    refused(plan(spec("http"), service(), [{"http": 1}, {"http": 2}]), Reason.SERVICE_UNSUITABLE, "1, 2")


def test_without_a_port_that_leads_there_the_number_is_used() -> None:
    place = plan(spec(9000), service(), ())

    assert isinstance(place, Plan)
    assert place.ports.service == 9000


def test_the_ports_of_the_gateway_never_collide() -> None:
    place = plan(spec(9902), service(), ())

    assert isinstance(place, Plan)
    assert place.ports.stats != place.ports.front


def test_what_can_not_be_stood_before_is_refused_with_its_reason() -> None:
    refused(plan(spec(), None, ()), Reason.SERVICE_NOT_FOUND, "models/llama", "not there")
    refused(plan(spec(service=None), None, ()), Reason.SERVICE_NOT_FOUND, "spec.serviceRef")
    refused(plan(spec(), service(selector=()), ()), Reason.SERVICE_UNSUITABLE, "no selector")
    refused(plan(spec(), service(type="ExternalName"), ()), Reason.SERVICE_UNSUITABLE, "ExternalName")
    ours = service(selector=(("app.kubernetes.io/managed-by", "beamlit-controller"),))
    refused(plan(spec(), ours, ()), Reason.SERVICE_UNSUITABLE, "round")


def test_taking_over_is_refused_with_what_to_write_instead() -> None:
    outcome = plan(spec(routing=RoutingMode.TAKEOVER), service(), ())

    refused(outcome, Reason.ROUTING_NOT_SUPPORTED, "spec.routing.mode", "Service", "Takeover")
