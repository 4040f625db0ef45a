"""The chart, installed on a node with the image that is built from this checkout."""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from kube import project_image
from kube.node import Node

CHART = Path(__file__).resolve().parents[2] / "chart"
NAME, NAMESPACE = "beamlit-controller", "beamlit-system"
PODS = "app.kubernetes.io/name=beamlit-controller"
INSTALL_SECONDS = 300
PROMETHEUS = {"address": "my-local-prom:9090", "staleAfterSeconds": 15}
"""Of samples that may be 90 s old, as is usual, nobody knows for so long whether they are from before a change."""
USERS_VALUES = {"config": {"metricInformer": {"type": "prometheus", "prometheus": PROMETHEUS}}}


def install(node: Node, values: Mapping[str, Any] | None = None) -> None:
    """Install or upgrade the chart, and wait until its pods are ready."""
    repository, _, tag = project_image.IMAGE.rpartition(":")
    ours = {"image": {"repository": repository, "tag": tag, "pullPolicy": "Never"}}
    with NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({**ours, **(values or {})}, file)
        file.flush()
        place = (f"--namespace={NAMESPACE}", "--create-namespace", f"--values={file.name}")
        node.helm("upgrade", NAME, str(CHART), "--install", *place, "--wait", f"--timeout={INSTALL_SECONDS}s")


def uninstall(node: Node) -> None:
    """Uninstall it, and wait until all of it is gone."""
    node.helm("uninstall", NAME, f"--namespace={NAMESPACE}", "--wait", f"--timeout={INSTALL_SECONDS}s")


def said(node: Node) -> str:
    """Return what the controller's pods have logged."""
    listed = node.client.kubectl("logs", "-n", NAMESPACE, "-l", PODS, "--prefix", "--tail=60")
    return f"\n{listed}"
