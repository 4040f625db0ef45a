"""A real Prometheus beside the pods of a node, which finds them by DNS: Debian's has no eyes for the API server."""

import http.client
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from kube.configuration import DOMAIN
from kube.netns import ADDRESS
from kube.node import Node
from waiting import patiently

PORT = 9090
START_SECONDS = 60


@contextmanager
def prometheus(node: Node, *, scrape: str, port: int) -> Iterator[str]:
    """Run one that scrapes a port of the pods behind a headless service (`name.namespace`); give its address in the room."""
    address = f"{ADDRESS}:{PORT}"
    with TemporaryDirectory(prefix="prometheus-") as name:
        config = Path(name) / "prometheus.yml"
        config.write_text(_configuration(scrape, port))
        data = f"--storage.tsdb.path={name}/data"
        node.inside.start(
            "prometheus", "prometheus", f"--config.file={config}", data, f"--web.listen-address={address}"
        )
        try:
            entrance = node.reach(address)
            with node.inside.explained():
                patiently(lambda: _is_ready(node, entrance), within=START_SECONDS, what="Prometheus is ready")
            yield address
        finally:
            node.inside.kill("prometheus")


def _is_ready(node: Node, address: str) -> bool:
    node.inside.check()
    with suppress(OSError, http.client.HTTPException), closing(http.client.HTTPConnection(address, timeout=5)) as asked:
        asked.request("GET", "/-/ready")
        return asked.getresponse().status == http.client.OK
    return False


def _configuration(service: str, port: int) -> str:
    return f"""\
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: pods
  dns_sd_configs:
  - {{names: [{service}.svc.{DOMAIN}], type: A, port: {port}, refresh_interval: 1s}}
"""
