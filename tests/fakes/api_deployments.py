"""The deployment controller: pods from the template, rolled out with maxSurge 1 and maxUnavailable 0."""

import hashlib
import json
from itertools import count

from fakes.api_kinds import Json, path_of
from fakes.api_rules import is_terminating
from fakes.api_server import FakeApiServer

HASH = "pod-template-hash"
WHO = "kube-controller-manager"


def keep(server: FakeApiServer, deployment: Json, refusal: str = "") -> None:
    """Make and delete pods as is due now, and write the status. With a `refusal` no pod can be made."""
    new_hash, replicas = _hash(deployment), deployment["spec"]["replicas"]
    live = [pod for pod in _pods(server, deployment) if not is_terminating(pod)]
    new = [pod for pod in live if pod["metadata"]["labels"][HASH] == new_hash]
    old = [pod for pod in live if pod not in new]
    most = replicas + (1 if old else 0)
    missing = max(0, min(replicas - len(new), most - len(live)))
    for _ in range(0 if refusal else missing):
        _make(server, deployment, new_hash)
    for pod in _spare(new, replicas) + _outdated(old, live, replicas):
        server.act(WHO, "delete", path_of(pod), {})
    _tell(server, deployment, new_hash, refusal if missing else "")


def _spare(new: list[Json], replicas: int) -> list[Json]:
    """Return what is too many, those that are not ready first."""
    return sorted(new, key=is_ready)[: max(0, len(new) - replicas)]


def _outdated(old: list[Json], live: list[Json], replicas: int) -> list[Json]:
    """Return the old ones that may go: the others that are ready have to be enough."""
    unready = [pod for pod in old if not is_ready(pod)]
    may_go = max(0, sum(map(is_ready, live)) - replicas)
    return unready + [pod for pod in old if is_ready(pod)][:may_go]


def is_ready(pod: Json) -> bool:
    """Return whether a pod is ready."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _pods(server: FakeApiServer, deployment: Json) -> list[Json]:
    about = deployment["metadata"]
    pods = server.all("pods", about["namespace"])
    return [
        pod for pod in pods if about["uid"] in {each["uid"] for each in pod["metadata"].get("ownerReferences") or ()}
    ]


def _hash(deployment: Json) -> str:
    text = json.dumps(deployment["spec"]["template"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _make(server: FakeApiServer, deployment: Json, new_hash: str) -> None:
    about, template = deployment["metadata"], deployment["spec"]["template"]
    taken = {pod["metadata"]["name"] for pod in server.all("pods", about["namespace"])}
    names = (f"{about['name']}-{new_hash}-{number}" for number in count())
    given = template["metadata"]
    meta = {
        "name": next(name for name in names if name not in taken),
        "labels": {**(given.get("labels") or {}), HASH: new_hash},
        "annotations": given.get("annotations") or {},
        "ownerReferences": [_owner(deployment)],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}
    if _admits(server, about["namespace"]):
        server.act(WHO, "create", f"/api/v1/namespaces/{about['namespace']}/pods", pod)


def _admits(server: FakeApiServer, namespace: str) -> bool:
    space = server.find("v1", "Namespace", "", namespace)
    return space is not None and not is_terminating(space)


def _owner(deployment: Json) -> Json:
    about = deployment["metadata"]
    named = {"apiVersion": "apps/v1", "kind": "Deployment", "name": about["name"], "uid": about["uid"]}
    return {**named, "controller": True, "blockOwnerDeletion": True}


def _tell(server: FakeApiServer, deployment: Json, new_hash: str, refusal: str) -> None:
    pods = [pod for pod in _pods(server, deployment) if not is_terminating(pod)]
    ready = sum(map(is_ready, pods))
    wanted = deployment["spec"]["replicas"]
    counts = {
        "replicas": len(pods),
        "updatedReplicas": sum(pod["metadata"]["labels"][HASH] == new_hash for pod in pods),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(0, wanted - ready),
    }
    available = {"type": "Available", "status": "True" if ready >= wanted else "False", "reason": "Counted"}
    status = {
        "observedGeneration": deployment["metadata"]["generation"],
        **{name: number for name, number in counts.items() if number},
        "conditions": [available, *([_replica_failure(server, deployment, refusal)] if refusal else [])],
    }
    if status != deployment.get("status"):
        # Zero is left out: a merge would leave what was there.
        server.act(WHO, "replace", path_of(deployment, "status"), {**deployment, "status": status})


def _replica_failure(server: FakeApiServer, deployment: Json, refusal: str) -> Json:
    before = (deployment.get("status") or {}).get("conditions") or ()
    since = next((each["lastTransitionTime"] for each in before if each["type"] == "ReplicaFailure"), None)
    failed = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": refusal}
    return {**failed, "lastTransitionTime": since or server.clock.now().isoformat()}
