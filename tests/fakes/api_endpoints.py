"""The endpoint slice controller: the addresses of the pods that a Service selects, per target port."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Final

from fakes.api_deployments import is_ready
from fakes.api_kinds import ENDPOINT_SLICE, Json, RefusedError, collection_of, path_of
from fakes.api_rules import is_terminating
from fakes.api_server import FakeApiServer

WHO: Final = "kube-controller-manager"
NAME_LABEL: Final = "kubernetes.io/service-name"
MANAGED_LABEL: Final = "endpointslice.kubernetes.io/managed-by"
MANAGED_BY: Final = "endpointslice-controller.k8s.io"


def keep(server: FakeApiServer, services: Iterable[Json]) -> None:
    """Bring the slices of Services up to date."""
    for service in services:
        if service["spec"].get("selector") and not is_terminating(service):
            _keep(server, service)


def _keep(server: FakeApiServer, service: Json) -> None:
    wanted = {each["metadata"]["name"]: each for each in _slices(server, service)}
    there = {each["metadata"]["name"]: each for each in _present(server, service)}
    for name, content in wanted.items():
        if name not in there:
            _create(server, content)
        elif any(there[name][field] != content[field] for field in ("endpoints", "ports")):
            server.act(
                WHO, "replace", path_of(content), {**there[name], **content, "metadata": there[name]["metadata"]}
            )
    for name in there.keys() - wanted.keys():
        server.act(WHO, "delete", path_of(there[name]), {})


def _create(server: FakeApiServer, content: Json) -> None:
    try:
        server.act(WHO, "create", collection_of(content), content)
    except RefusedError as error:
        if error.code != 403:
            raise


def _present(server: FakeApiServer, service: Json) -> list[Json]:
    about = service["metadata"]
    uid = about["uid"]
    slices = server.all(ENDPOINT_SLICE.resource, about["namespace"])
    return [each for each in slices if uid in {owner["uid"] for owner in each["metadata"].get("ownerReferences") or ()}]


def _slices(server: FakeApiServer, service: Json) -> Iterator[Json]:
    """Yield one slice for each IP family and set of ports that the pods have; without pods one that is empty."""
    for family in service["spec"].get("ipFamilies") or ("IPv4",):
        groups: dict[str, list[Json]] = {}
        for pod in _selected(server, service):
            if ips := _ips(pod, family):
                groups.setdefault(json.dumps(_ports(service, pod)), []).append(_endpoint(service, pod, ips))
        if not groups:
            yield _slice(service, None, None, family)
        for ports, endpoints in groups.items():
            yield _slice(service, json.loads(ports), endpoints, family)


def _selected(server: FakeApiServer, service: Json) -> Iterator[Json]:
    selector = service["spec"]["selector"].items()
    for pod in server.all("pods", service["metadata"]["namespace"]):
        labels = pod["metadata"].get("labels") or {}
        if selector <= labels.items() and pod["status"].get("podIP"):
            yield pod


def _ports(service: Json, pod: Json) -> list[Json]:
    found = ((port, _number(port["targetPort"], pod)) for port in service["spec"]["ports"])
    return [
        {"name": port.get("name", ""), "port": number, "protocol": port["protocol"]}
        for port, number in found
        if number is not None
    ]


def _number(target: int | str, pod: Json) -> int | None:
    if isinstance(target, int):
        return target
    ports = (port for container in pod["spec"]["containers"] for port in container.get("ports") or ())
    return next((port["containerPort"] for port in ports if port.get("name") == target), None)


def _ips(pod: Json, family: str) -> list[str]:
    status = pod["status"]
    ips = [each["ip"] for each in status.get("podIPs") or ({"ip": status["podIP"]},)]
    return [ip for ip in ips if (":" in ip) == (family == "IPv6")]


def _endpoint(service: Json, pod: Json, ips: list[str]) -> Json:
    about, ending = pod["metadata"], is_terminating(pod)
    serving = is_ready(pod)
    ready = bool(service["spec"].get("publishNotReadyAddresses")) or (serving and not ending)
    return {
        "addresses": ips,
        "conditions": {"ready": ready, "serving": serving, "terminating": ending},
        "nodeName": pod["spec"].get("nodeName", ""),
        "targetRef": {"kind": "Pod", "namespace": about["namespace"], "name": about["name"], "uid": about["uid"]},
    }


def _slice(service: Json, ports: list[Json] | None, endpoints: list[Json] | None, family: str) -> Json:
    about = service["metadata"]
    digest = hashlib.sha256(f"{about['uid']}{ports}{family}".encode()).hexdigest()[:5]
    owner = {"apiVersion": "v1", "kind": "Service", "name": about["name"], "uid": about["uid"]}
    return {
        "apiVersion": ENDPOINT_SLICE.api_version,
        "kind": ENDPOINT_SLICE.kind,
        "metadata": {
            "name": f"{about['name']}-{digest}",
            "namespace": about["namespace"],
            "labels": {**(about.get("labels") or {}), NAME_LABEL: about["name"], MANAGED_LABEL: MANAGED_BY},
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": ports,
    }
