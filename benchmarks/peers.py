"""The proxies that are held against each other, each one process with one worker, and the server behind them."""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import httpx2

from beamlit_controller.core.spec import (
    ApiKey,
    Behavior,
    HeaderMatch,
    ModelKey,
    OffloadSpec,
    Overflow,
    PathPrefix,
    RemoteBackend,
    Scheme,
    SecretKey,
)
from beamlit_controller.core.stickiness import HeaderStickiness
from beamlit_controller.envoy import command, config
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.envoy.rtds import RtdsServer
from benchmarks import machine

SIZES = (1024, 64 * 1024)
SERVED_BY = "x-offload-served-by"


PLAIN = OffloadSpec(ModelKey("benchmarks", "model"), "model")
ALL_ON = replace(
    PLAIN,
    remote=RemoteBackend(
        Scheme.HTTP,
        "127.0.0.1",
        0,
        headers_to_add=(("x-team", "search"),),
        model_names=(("model", "the-remotes-own-name"),),
        auth=ApiKey(SecretKey("remote", "apiKey")),
        max_in_flight=1000,
    ),
    overflow=Overflow(on_status=(429, 503, 529), max_in_flight_per_replica=1000),
    keep_local=(HeaderMatch("x-data-class", "restricted"), PathPrefix("/metrics")),
    may_leave=(PathPrefix("/", ("GET", "POST")),),
    stickiness=HeaderStickiness("x-session-id"),
    allow_override=True,
)
"""Everything that can be switched on for a request, but for the local hop."""
SLOW = replace(ALL_ON, overflow=replace(ALL_ON.overflow, after=timedelta(seconds=20)))
"""And that too."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What answers at a port of 127.0.0.1, and the process whose CPU that costs (None for the server itself)."""

    name: str
    port: int
    pid: int | None = None


AWS = "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = secret\n"

NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; sendfile on;
  client_max_body_size 200m; client_body_buffer_size 256k;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {http}
}}
"""

# A file is no answer to POST (405): this makes it one.
SERVER = "server {{ listen 127.0.0.1:{port}; root {folder}; location / {{ error_page 405 =200 $uri; }} }}"

MODEL_SERVER = """
server {{
  listen 127.0.0.1:{port}; root {folder};
  location = /json {{ default_type application/json; }}
  location = /events {{ default_type text/event-stream; }}
  location ~ /json/ {{ error_page 403 404 405 =200 /json; }}
  location ~ /events/ {{ error_page 403 404 405 =200 /events; }}
}}
"""

PROXY = """
  upstream behind {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffers 16 16k; proxy_buffering {buffering};
    }}
  }}
"""

HAPROXY = """
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  http-reuse always
  option http-no-delay
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend front
  bind 127.0.0.1:{port}
  default_backend behind
backend behind
  server one 127.0.0.1:{upstream}
"""


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[int]:
    """Run an nginx that answers POST /1024 and POST /65536 with so many bytes, and give its port."""
    home, port = _home(folder, "server"), machine.free_port()
    for size in SIZES:
        (home / str(size)).write_bytes(b"x" * size)
    async with _nginx(home, SERVER.format(port=port, folder=home), port):
        yield port


@asynccontextmanager
async def model_server(folder: Path, *, document: str, events: str) -> AsyncIterator[int]:
    """Run an nginx that answers each path with `/json/` or `/events/` in it with that text, and give its port."""
    home, port = _home(folder, "model-server"), machine.free_port()
    (home / "json").write_text(document)
    (home / "events").write_text(events)
    async with _nginx(home, MODEL_SERVER.format(port=port, folder=home), port):
        yield port


@asynccontextmanager
async def nginx(folder: Path, upstream: int, *, buffering: str = "on") -> AsyncIterator[Peer]:
    """Run an nginx that does nothing but proxy, with kept connections."""
    home, port = _home(folder, "nginx"), machine.free_port()
    async with _nginx(home, PROXY.format(port=port, upstream=upstream, buffering=buffering), port) as process:
        yield Peer("nginx", port, process.pid)


@asynccontextmanager
async def haproxy(folder: Path, upstream: int) -> AsyncIterator[Peer]:
    """Run a haproxy that does nothing but proxy, with kept connections."""
    home, port = _home(folder, "haproxy"), machine.free_port()
    (home / "haproxy.cfg").write_text(HAPROXY.format(port=port, upstream=upstream))
    async with machine.running(_binary("haproxy"), "-db", "-f", home / "haproxy.cfg", log=home / "log") as process:
        await machine.listening(port)
        yield Peer("haproxy", port, process.pid)


@asynccontextmanager
async def bare_envoy(folder: Path, upstream: int) -> AsyncIterator[Peer]:
    """Run an Envoy with nothing on: one listener, one route, one cluster."""
    home, port = _home(folder, "envoy"), machine.free_port()
    (home / command.BOOTSTRAP).write_text(json.dumps(_bare(port, upstream)))
    async with _envoy(home) as process:
        await machine.listening(port)
        yield Peer("Envoy, nothing on", port, process.pid)


@asynccontextmanager
async def gateway(
    folder: Path,
    local: int,
    *,
    share: int = 0,
    spec: OffloadSpec = PLAIN,
    named: str = "",
    asked: str = f"/{SIZES[0]}",
) -> AsyncIterator[Peer]:
    """Run our gateway, access log off, with a share for remotes over plain HTTP, which are the local server; ready means that the share is in force."""
    name = f"gateway, {named}{', ' if named else ''}share {share}"
    home, port = _home(folder, name.replace(", ", "-").replace(" ", "-")), machine.free_port()
    spec = _with_remotes(spec, local, share)
    (home / "remote").mkdir()
    (home / "remote" / "apiKey").write_text("a-key")
    (home / "remote" / "credentials").write_text(AWS)
    params = GatewayParams(
        node=str(spec.key),
        directory=str(home),
        front=f"127.0.0.1:{port}",
        stats=f"127.0.0.1:{machine.free_port()}",
        admin="unix:admin.sock",
        shares="unix:shares.sock",
        local=(f"127.0.0.1:{local}",),
        secrets=str(home),
    )
    for file, text in config.files(spec, params).items():
        (home / file).write_text(text)
    shares = RtdsServer()
    shares.set(spec.key, share)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(shares.serve(f"unix:{home}/shares.sock"))
        process = await stack.enter_async_context(_envoy(home))
        await _in_force(f"http://127.0.0.1:{port}{asked}", share)
        yield Peer(name, port, process.pid)


def _with_remotes(spec: OffloadSpec, port: int, share: int) -> OffloadSpec:
    first = spec.remote or RemoteBackend(Scheme.HTTP, "127.0.0.1", port)
    others = tuple(replace(each, port=port) for each in spec.next_remotes)
    return replace(spec, remote=replace(first, port=port), next_remotes=others, behavior=Behavior(percentage=share))


async def _in_force(url: str, share: int) -> None:
    """Wait until the gateway answers, from the remote if that has a share at all."""
    async with httpx2.AsyncClient(trust_env=False) as client:

        async def answers() -> bool:
            try:
                answer = await client.post(url)
            except httpx2.HTTPError:
                return False
            wanted = ("remote",) if share else ("local",)
            return answer.status_code == 200 and answer.headers.get(SERVED_BY) in wanted

        await machine.until(answers, what="the gateway answers from the wanted side")


@asynccontextmanager
async def _nginx(home: Path, http: str, port: int) -> AsyncIterator[machine.Process]:
    (home / "nginx.conf").write_text(NGINX.format(folder=home, http=http))
    words = (_binary("nginx"), "-p", home, "-e", home / "nginx.log", "-c", home / "nginx.conf")
    async with machine.running(*words, log=home / "log") as process:
        await machine.listening(port)
        yield process


@asynccontextmanager
async def _envoy(home: Path) -> AsyncIterator[machine.Process]:
    async with machine.running(*command.command(home, concurrency=1), log=home / "log", cwd=home) as process:
        yield process


def _bare(port: int, upstream: int) -> dict[str, object]:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    }
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "behind", "timeout": "0s"}}]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "front",
        "http_filters": [router],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    behind = {
        "cluster_name": "behind",
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(upstream)}}]}],
    }
    return {
        "static_resources": {
            "listeners": [{"name": "front", "address": _address(port), "filter_chains": [{"filters": filters}]}],
            "clusters": [{"name": "behind", "type": "STATIC", "load_assignment": behind}],
        }
    }


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _home(folder: Path, name: str) -> Path:
    home = folder / name
    home.mkdir()
    return home


def _binary(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        raise FileNotFoundError(f"{name} is not installed")
    return found
