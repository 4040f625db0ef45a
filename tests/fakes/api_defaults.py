"""The fields that the API server fills in or drops when it stores an object."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from fakes.api_kinds import DEPLOYMENT, ENDPOINT_SLICE, MODEL_DEPLOYMENT, NAMESPACE, POD, SERVICE, Json, Kind
from fakes.api_schema import SCHEMA, filled


def fill(kind: Kind, content: Json, families: Sequence[str] = ("IPv4",)) -> Json:
    """Return the object as it is stored by a cluster with these IP families."""
    whole = content if kind is ENDPOINT_SLICE else _bare(content, lists=not kind.custom)
    whole["metadata"] = _about(whole["metadata"])
    if kind is MODEL_DEPLOYMENT:
        return filled(SCHEMA, whole)
    if kind is SERVICE:
        return {
            **whole,
            "spec": _service(whole, families),
            "status": {"loadBalancer": {}, **(whole.get("status") or {})},
        }
    if kind is DEPLOYMENT:
        return {**whole, "spec": _deployment(whole.get("spec") or {})}
    if kind is POD:
        return {**whole, "spec": _pod(whole.get("spec") or {})}
    return _namespace(whole) if kind is NAMESPACE else whole


def _about(about: Json) -> Json:
    """Leave out the mappings and lists that are empty."""
    return {name: value for name, value in about.items() if value not in ({}, [], None, "")}


def _bare(node: Any, *, lists: bool) -> Any:  # noqa: ANN401 - any value
    """Leave out null, and from the kinds that are built in the empty lists."""
    if isinstance(node, Mapping):
        there = {name: _bare(each, lists=lists) for name, each in node.items() if each is not None}
        return {name: each for name, each in there.items() if not (lists and each == [])}
    return [_bare(each, lists=lists) for each in node] if isinstance(node, list) else node


def _service(whole: Json, families: Sequence[str]) -> Json:
    spec = dict(whole.get("spec") or {})
    spec["ports"] = [_service_port(each) for each in spec.get("ports") or ()]
    defaults = {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"}
    if spec.get("type") == "ExternalName":
        return {"sessionAffinity": "None", **spec}
    policy = spec.get("ipFamilyPolicy", "SingleStack")
    has = spec.get("ipFamilies") or list(families[:1] if policy == "SingleStack" else families)
    address = spec.get("clusterIP") or _address(whole, has[0])
    all_addresses = [address, *(_address(whole, each) for each in has[1:] if address != "None")]
    ip = {"ipFamilies": has, "ipFamilyPolicy": policy, "clusterIP": address, "clusterIPs": all_addresses}
    return {**defaults, **ip, **spec}


def _address(whole: Json, family: str) -> str:
    about = whole["metadata"]
    digest = hashlib.sha256(f"{about['namespace']}/{about['name']}/{about.get('uid')}".encode()).digest()
    return f"10.96.{digest[0]}.{digest[1] % 254 + 1}" if family == "IPv4" else f"fd00:96::{digest[0]:x}"


def _service_port(port: Json) -> Json:
    return {"protocol": "TCP", **port, "targetPort": port.get("targetPort") or port["port"]}


def _deployment(spec: Json) -> Json:
    template = spec.get("template") or {}
    rolling = {"maxSurge": "25%", "maxUnavailable": "25%"}
    return {
        "replicas": 1,
        "progressDeadlineSeconds": 600,
        "revisionHistoryLimit": 10,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        **spec,
        "template": {**template, "metadata": template.get("metadata") or {}, "spec": _pod(template.get("spec") or {})},
    }


def _pod(spec: Json) -> Json:
    return {
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
        **spec,
        "containers": [_container(each) for each in spec.get("containers") or ()],
    }


def _container(container: Json) -> Json:
    ports = [{"protocol": "TCP", **port} for port in container.get("ports") or ()]
    return {
        "imagePullPolicy": "Always",
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        **container,
        **({"ports": ports} if ports else {}),
    }


def _namespace(whole: Json) -> Json:
    about = whole["metadata"]
    labels = {**(about.get("labels") or {}), "kubernetes.io/metadata.name": about["name"]}
    return {
        **whole,
        "metadata": {**about, "labels": labels},
        "spec": {"finalizers": ["kubernetes"], **(whole.get("spec") or {})},
        "status": {"phase": "Active", **(whole.get("status") or {})},
    }
