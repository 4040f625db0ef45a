"""Where a gateway stands between a Service and its pods, or why it can't."""

from dataclasses import replace
from typing import Any

import pytest

import builders
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import LocalService, OffloadSpec, RemoteBackend, RoutingMode, Scheme
from beamlit_controller.kubernetes import service_patches, services
from beamlit_controller.kubernetes.gateway_objects import Ports
from beamlit_controller.kubernetes.plan import Plan, plan
from beamlit_controller.kubernetes.services import Service, ServicePort


def spec(target_port: int | str = 8000, **changes: Any) -> OffloadSpec:  # noqa: ANN401 - whatever a spec takes
    return builders.spec(
        **{"service": LocalService("llama", target_port), "routing": RoutingMode.SERVICE} | changes,
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

    ports, labels = Ports(front=8000, stats=9902, service=80), (("app", service_patches.gateway_value("")),)
    assert place == Plan({"app": "llama"}, 8000, ports, ipv6=False, labels=labels)


@pytest.mark.parametrize(
    ("families", "pods_have_ipv6", "listens_on_ipv6", "only_ipv6"),
    [
        (("IPv4",), False, False, False),
        (("IPv4",), True, True, False),
        (("IPv4", "IPv6"), False, True, False),
        (("IPv6",), True, True, True),
    ],
)
def test_the_gateway_listens_on_ipv6_where_its_pods_or_the_service_have_it(
    families: tuple[str, ...],
    pods_have_ipv6: bool,  # noqa: FBT001 - a case
    listens_on_ipv6: bool,  # noqa: FBT001 - a case
    only_ipv6: bool,  # noqa: FBT001 - a case
) -> None:
    place = plan(spec(), service(families=families), (), pods_have_ipv6=pods_have_ipv6)

    assert isinstance(place, Plan)
    assert (place.ipv6, place.only_ipv6) == (listens_on_ipv6, only_ipv6)


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
    refused(plan(spec(), None, ()), Reason.SERVICE_NOT_FOUND, "models/llama", "does not exist")
    refused(plan(spec(service=None), None, ()), Reason.SERVICE_NOT_FOUND, "spec.serviceRef")
    refused(plan(spec(), service(selector=()), ()), Reason.SERVICE_UNSUITABLE, "no selector")
    refused(plan(spec(), service(type="ExternalName"), ()), Reason.SERVICE_UNSUITABLE, "ExternalName")
    ours = service(selector=(("app.kubernetes.io/managed-by", "beamlit-controller"),))
    refused(plan(spec(), ours, ()), Reason.SERVICE_UNSUITABLE, "loop")


def taking(service: Service, *pods: dict[str, int], target_port: int | str = 8000, **changes: Any) -> Plan | Missing:  # noqa: ANN401 - as `spec`
    return plan(spec(target_port, routing=RoutingMode.TAKEOVER, **changes), service, pods, owner="u1")


def with_ports(*ports: tuple[int, int | str]) -> Service:
    return service(ports=tuple(ServicePort(f"p{port}", port, target) for port, target in ports))


def test_who_takes_over_listens_wherever_the_service_leads_and_carries_its_keys() -> None:
    place = taking(
        with_ports((80, "web"), (81, "admin"), (9000, 9000)), {"web": 8000, "admin": 8001}, target_port="web"
    )

    assert isinstance(place, Plan)
    assert (place.ports.front, place.ports.front_name) == (8000, "web")
    assert place.ports.tcp_passthrough == (("admin", 8001), ("", 9000))
    assert place.labels == (("app", service_patches.gateway_value("u1")),)


def test_a_named_port_may_be_meant_by_its_number() -> None:
    place = taking(with_ports((80, "web")), {"web": 8000}, target_port=8000)

    assert isinstance(place, Plan)
    assert place.ports.front_name == "web"


def test_the_gateways_own_ports_give_way_to_those_of_the_service() -> None:
    place = taking(with_ports((80, 8000), (81, "http"), (82, 9902)), {"http": 9000})

    assert isinstance(place, Plan)
    assert place.ports.front_name == "front"
    assert place.ports.stats == 9903


def test_clients_that_stick_to_a_pod_go_on_doing_so() -> None:
    place = taking(service(client_ip_affinity=True))

    assert isinstance(place, Plan)
    assert place.client_ip_affinity


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"headless": True}, ("headless", "routing.mode: Service")),
        ({"local_traffic_policy": "internalTrafficPolicy"}, ("internalTrafficPolicy: Local", "expected Cluster")),
        ({"publish_not_ready_addresses": True}, ("publishNotReadyAddresses",)),
        ({"ports": (ServicePort("dns", 53, 8000, "UDP"),)}, ("53", "UDP", "expected TCP")),
        ({"selector": (("deployment.beamlit.com/gateway", "other"),)}, ("a label of ours",)),
        (
            {"selector": (("app", "llama"), ("pod-template-hash", "abc"))},
            ("pod-template-hash=abc", "expected a spec.selector without it", "routing.mode: Service"),
        ),
        ({"selector_unknown": True, "selector": ()}, ("set its spec.selector",)),
        ({"ports": (ServicePort("", 80, 9000),)}, ("no port that leads to 8000", "80 to 9000")),
    ],
)
def test_what_can_not_be_taken_over_without_harm_is_refused(changes: dict[str, Any], words: tuple[str, ...]) -> None:
    refused(taking(service(**changes)), Reason.SERVICE_UNSUITABLE, *words)


@pytest.mark.parametrize(
    "host", ["llama", "llama.models", "llama.models.svc", "LLAMA.models.svc.cluster.local.", "10.0.0.7"]
)
def test_a_remote_that_is_the_service_by_any_of_its_names_is_refused(host: str) -> None:
    remote = RemoteBackend(scheme=Scheme.HTTP, host=host, port=80)
    elsewhere = RemoteBackend(scheme=Scheme.HTTP, host="api.example.com", port=80, name="elsewhere")
    itself = service(addresses=("10.0.0.7",))

    refused(taking(itself, remote=remote), Reason.SERVICE_UNSUITABLE, "the remote itself")
    refused(taking(itself, remote=elsewhere, next_remotes=(remote,)), Reason.SERVICE_UNSUITABLE, "the remote itself")


def test_a_port_under_two_names_or_of_another_number_in_each_pod_is_refused() -> None:
    twice = taking(with_ports((80, "web"), (81, "www")), {"web": 8000, "www": 8000}, target_port="web")
    differs = taking(
        with_ports((80, "web"), (81, "admin")), {"web": 1, "admin": 2}, {"web": 1, "admin": 3}, target_port="web"
    )

    refused(twice, Reason.SERVICE_UNSUITABLE, "two names")
    refused(differs, Reason.SERVICE_UNSUITABLE, "2, 3", "admin")
