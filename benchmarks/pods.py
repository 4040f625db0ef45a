"""What the watch of all pods keeps: MiB and CPU seconds for 10,000 pods, beside keeping them as the API server sends them.

`python -m benchmarks.pods [PODS]`: pods such as a GPU cluster has, twenty to a model, with the annotations, volumes and
status that nobody here looks at. The JSON is parsed in both, as it is when it comes off the wire.
"""

import gc
import json
import subprocess
import sys
import time

import psutil

from beamlit_controller.core.metric_spec import Selector
from beamlit_controller.kubernetes import pods

PER_MODEL = 20
LOOKUPS = 1000


def main(count: int = 10_000) -> None:
    """Run each way in a process of its own: memory that one has freed must not serve the other."""
    for way in ("whole", "kept"):
        subprocess.run([sys.executable, "-m", "benchmarks.pods", str(count), way], check=True)


def measure(count: int, way: str) -> None:
    process = psutil.Process()
    texts = [json.dumps(pod(number)) for number in range(count)]
    gc.collect()
    before, began = process.memory_info().rss, time.process_time()
    store = pods.Pods()
    whole = {}
    for number, text in enumerate(texts):
        content = json.loads(text)
        place = ("models", f"model-{number}")
        if way == "kept":
            store.changed(place, pods.parse(content))
        else:
            whole[place] = content
    seconds = time.process_time() - began
    gc.collect()
    used = (process.memory_info().rss - before) / 2**20
    print(f"pods, {count:,} {way}: {used:.0f} MiB, {seconds:.2f} s CPU to take them in" + _lookups(store, count, way))


def _lookups(store: pods.Pods, count: int, way: str) -> str:
    if way != "kept":
        return ""
    began = time.process_time()
    for number in range(LOOKUPS):
        chosen = Selector((("app", f"model-{number % (count // PER_MODEL)}"),))
        assert len(store.select("models", chosen)) == PER_MODEL
    return f", {(time.process_time() - began) / LOOKUPS * 1e6:.0f} us to find the {PER_MODEL} of a model"


def pod(number: int) -> dict[str, object]:
    model = f"model-{number // PER_MODEL}"
    resources = {"requests": {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}}
    ports = [{"name": "http", "containerPort": 8000, "protocol": "TCP"}]
    env = [{"name": f"SETTING_{i}", "value": f"value-{i}"} for i in range(20)]
    state = {"running": {"startedAt": "2026-06-01T11:00:20Z"}}
    return {
        "metadata": {
            "name": f"{model}-5d8f7c9b6d-{number:05}",
            "namespace": "models",
            "uid": f"{number:032x}",
            "labels": {"app": model, "pod-template-hash": "5d8f7c9b6d", "team": "search", "tier": "gpu"},
            "annotations": {f"annotation.example.com/{i}": "x" * 60 for i in range(6)},
        },
        "spec": {
            "nodeName": f"node-{number % 500}",
            "containers": [
                {
                    "name": "server",
                    "image": "vllm/vllm-openai:v0.9",
                    "resources": resources,
                    "ports": ports,
                    "env": env,
                },
                {"name": "proxy", "image": "proxy:1", "resources": {"requests": {"cpu": "100m"}}},
            ],
            "volumes": [{"name": f"volume-{i}", "emptyDir": {}} for i in range(5)],
        },
        "status": {
            "phase": "Running",
            "podIP": f"10.{number >> 16}.{(number >> 8) & 255}.{number & 255}",
            "startTime": "2026-06-01T11:00:00Z",
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": "2026-06-01T11:00:30Z"}
                for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
            ],
            "containerStatuses": [{"name": name, "ready": True, "state": state} for name in ("server", "proxy")],
        },
    }


if __name__ == "__main__":
    measure(int(sys.argv[1]), sys.argv[2]) if len(sys.argv) > 2 else main(*map(int, sys.argv[1:]))
