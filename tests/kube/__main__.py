"""A Kubernetes to try things on, until Ctrl-C: `PYTHONPATH=tests python -m kube`, or `make cluster`.

With `--image` the project's own image is built and brought in as well.
"""

import shlex
import signal
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from kube import assets, control_plane, node, project_image
from kube.node import Node


def main(options: list[str]) -> None:
    """Run a node, say how to use it, and wait."""
    binaries = assets.need(*control_plane.BINARIES, *node.BINARIES)
    with TemporaryDirectory(prefix="cluster-logs-") as logs, node.running(Path(logs), binaries) as whole:
        if "--image" in options:
            whole.bring(project_image.need())
        print(_usage(whole, logs, binaries))  # noqa: T201 - it is a command
        with suppress(KeyboardInterrupt):
            signal.pause()


def _usage(whole: Node, logs: str, binaries: dict[str, Path]) -> str:
    folders = ":".join(sorted({str(binaries[name].parent) for name in ("kubectl", "helm")}))
    return f"""
export KUBECONFIG={whole.client.kubeconfig} PATH={folders}:$PATH

kubectl get nodes
{shlex.join(whole.inside.before)} curl http://SERVICE-ADDRESS/    # beside the pods
images: {node.MODEL}, with --image {project_image.IMAGE}; imagePullPolicy: Never
logs:   {logs}

Ctrl-C ends it all."""


if __name__ == "__main__":
    main(sys.argv[1:])
