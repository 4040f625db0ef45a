"""What is held against each other in the `overflow` benchmark: each setup's files, its processes, and where its clients go."""

import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

import psutil

from benchmarks import machine, packages
from benchmarks.overflow_load import Target
from benchmarks.overflow_servers import MODEL, Servers, up
from benchmarks.packages import ROOT

KEY = "sk-benchmark"
LITELLM = "litellm[proxy]==1.108.7"
ENVIRONMENT = ROOT / ".venv-litellm"


@dataclass(frozen=True, slots=True)
class Running:
    """A setup that runs: where its clients go, its first process, and the lines of its configuration."""

    target: Target
    pid: int | None = None
    lines: int = 0

    def cpu(self) -> float:
        """Return the CPU seconds that its processes have used."""
        if self.pid is None:
            return 0.0
        processes = [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
        return sum(machine.cpu(each.pid) for each in processes)


Setup = Callable[[Servers, Path], AbstractAsyncContextManager[Running]]


@asynccontextmanager
async def direct(servers: Servers, _: Path) -> AsyncIterator[Running]:
    """Send everything to the local servers."""
    yield Running(Target(tuple(f"http://127.0.0.1:{port}" for port in servers.local), MODEL))


MANIFEST = """
apiVersion: deployment.beamlit.com/v1alpha1
kind: ModelDeployment
metadata:
  name: llama
spec:
  serviceRef: {{name: llama, targetPort: 8000}}
  metricServiceRef: {{name: llama, targetPort: 8000}}
  offloadingConfig:
    remoteBackend:
      host: localhost:{remote}
      tls: {{caSecretRef: {{name: remote-ca, key: ca.crt}}}}
    behavior: {behavior}
{metrics}
"""
SETTINGS = """
config:
  allowedRemoteHosts: [localhost]
  standalone:
    services: {{default/llama: [{local}]}}
    listen: {{default/llama: "127.0.0.1:{front}"}}
    webListen: 127.0.0.1:{web}
    secretsDirectory: {folder}/secrets
"""


def manifest_of(servers: Servers, behavior: str) -> str:
    """Return the model with a behavior, and with the metric that its servers call for."""
    return MANIFEST.format(remote=servers.remote, behavior=behavior, metrics=indent(servers.metrics.strip(), "    "))


def product(behavior: str) -> Setup:
    """Return the product with a behavior."""

    @asynccontextmanager
    async def run(servers: Servers, folder: Path) -> AsyncIterator[Running]:
        front, web = machine.free_port(), machine.free_port()
        local = ", ".join(f'"127.0.0.1:{port}"' for port in servers.local)
        manifest = manifest_of(servers, behavior)
        settings = SETTINGS.format(local=local, front=front, web=web, folder=folder)
        (folder / "manifests").mkdir()
        (folder / "manifests" / "llama.yaml").write_text(manifest)
        (folder / "settings.yaml").write_text(settings)
        (folder / "secrets" / "remote-ca").mkdir(parents=True)
        shutil.copy(servers.tls.ca, folder / "secrets" / "remote-ca" / "ca.crt")
        words = (
            *(Path(sys.executable).parent / "beamlit-controller", "run", f"--manifests={folder / 'manifests'}"),
            *(f"--settings={folder / 'settings.yaml'}", f"--state-dir={folder / 'state'}"),
        )
        async with machine.running(*words, log=folder / "log") as process:
            await up(f"http://127.0.0.1:{web}/readyz")
            await up(f"http://127.0.0.1:{front}/v1/models")
            target = Target((f"http://127.0.0.1:{front}",), MODEL)
            yield Running(target, process.pid, _lines(manifest) + _lines(settings))

    return run


HAPROXY = """
global
  nbthread 1
defaults
  mode http
  option http-no-delay
  timeout connect 5s
  timeout client 10m
  timeout server 10m
  timeout queue 10m
frontend front
  bind 127.0.0.1:{front}
  default_backend all
backend all
  balance first
  option redispatch 1
  retries 2
  retry-on conn-failure empty-response 503
  option httpchk GET /health
{local}
  server remote localhost:{remote} ssl ca-file {ca} verify required sni str(localhost) verifyhost localhost check inter 2s
"""


@asynccontextmanager
async def haproxy(servers: Servers, folder: Path) -> AsyncIterator[Running]:
    """Run a haproxy that fills the local servers first, with as many requests as each has slots at the beginning."""
    front = machine.free_port()
    local = "\n".join(
        f"  server local{number} 127.0.0.1:{port} maxconn {servers.slots} check inter 1s"
        for number, port in enumerate(servers.local)
    )
    text = HAPROXY.format(front=front, local=local, remote=servers.remote, ca=servers.tls.ca)
    (folder / "haproxy.cfg").write_text(text)
    binary = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin") or "haproxy"
    async with machine.running(binary, "-db", "-f", folder / "haproxy.cfg", log=folder / "log") as process:
        await up(f"http://127.0.0.1:{front}/v1/models")
        yield Running(Target((f"http://127.0.0.1:{front}",), MODEL), process.pid, _lines(text))


LITELLM_CONFIG = """
model_list:
{models}
router_settings:
  num_retries: 1
  disable_cooldowns: true
litellm_settings:
  ssl_verify: {ca}
  request_timeout: 600
general_settings:
  master_key: {key}
"""
LITELLM_MODEL = """\
  - model_name: {model}
    litellm_params: {{model: openai/{model}, api_base: "{url}/v1", api_key: none, {more}}}"""


@asynccontextmanager
async def litellm(servers: Servers, folder: Path) -> AsyncIterator[Running]:
    """Run a LiteLLM proxy with the same limit; NotInstalledError where it can't be installed."""
    python = await packages.installed(ENVIRONMENT, LITELLM)
    front = machine.free_port()
    local = (
        LITELLM_MODEL.format(
            model=MODEL, url=f"http://127.0.0.1:{port}", more=f"order: 1, max_parallel_requests: {servers.slots}"
        )
        for port in servers.local
    )
    remote = LITELLM_MODEL.format(model=MODEL, url=f"https://localhost:{servers.remote}", more="order: 2")
    text = LITELLM_CONFIG.format(models="\n".join((*local, remote)), ca=servers.tls.ca, key=KEY)
    (folder / "litellm.yaml").write_text(text)
    words = (python.parent / "litellm", "--config", folder / "litellm.yaml", "--host", "127.0.0.1")
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    async with machine.running(*words, "--port", str(front), log=folder / "log", env=quiet) as process:
        await up(f"http://127.0.0.1:{front}/health/liveliness")
        yield Running(Target((f"http://127.0.0.1:{front}",), MODEL, KEY), process.pid, _lines(text))


def _lines(text: str) -> int:
    return sum(1 for line in text.splitlines() if line.strip())


SETUPS: dict[str, Setup] = {
    "no offloading": direct,
    "Fixed, 50 %": product("{mode: Fixed, percentage: 50}"),
    "Adaptive": product("{mode: Adaptive}"),
    "haproxy, maxconn": haproxy,
    "LiteLLM, max_parallel_requests": litellm,
}
