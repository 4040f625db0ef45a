"""The commands that containers run in a cluster: the controller, a gateway's Envoy, and its end."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

from cyclopts import Parameter

from beamlit_controller.api import settings as api_settings
from beamlit_controller.api.settings import Settings
from beamlit_controller.core.spec import ModelKey, Override
from beamlit_controller.standalone import overrides
from beamlit_controller.standalone.state import State

Level = Literal["debug", "info", "warning", "error"]


def cluster(  # each is a thing of its own, and all but two have a default
    *,
    settings: Path,
    shares_address: Annotated[str, Parameter(env_var="SHARES_ADDRESS")],
    gateway_image: Annotated[str, Parameter(env_var="GATEWAY_IMAGE")],
    gateway_image_pull_policy: Annotated[
        Literal["Always", "IfNotPresent", "Never"], Parameter(env_var="GATEWAY_IMAGE_PULL_POLICY")
    ] = "IfNotPresent",
    name: Annotated[str, Parameter(env_var="POD_NAME")] = "",
    namespace: Annotated[str, Parameter(env_var="POD_NAMESPACE")] = "default",
    shares_listen: str = "[::]:18000",
    shares_secrets: Path = Path("/etc/beamlit/shares"),
    web_listen: str = ":8081",
    cluster_domain: Annotated[str, Parameter(env_var="CLUSTER_DOMAIN")] = "",
    kubeconfig: Path | None = None,
    log_level: Level = "info",
    log_format: Literal["auto", "json", "console"] = "auto",
) -> None:
    """Run the controller in a cluster. The Helm chart does it.

    Parameters
    ----------
    settings
        The settings file: the chart's `config:` value.
    shares_address
        Where gateways find the share server, as NAME.NAMESPACE.svc:PORT; its certificate has that name.
    gateway_image
        The image that gateways run: the controller's own.
    gateway_image_pull_policy
        How it is pulled.
    name
        Who this replica is among the others; the host's name without it.
    namespace
        Where the lease is kept.
    shares_listen
        Where the share server listens.
    shares_secrets
        The folder with the share server's `tls.crt`, `tls.key`, `ca.crt`, and with `token.key`.
    web_listen
        Where /healthz, /readyz, /metrics and /models are answered.
    cluster_domain
        The domain of the cluster's DNS; as /etc/resolv.conf says without it.
    kubeconfig
        How the API server is reached from outside of the cluster.
    log_level
        The least severe messages to print.
    log_format
        How messages are printed; auto is console at a terminal and JSON elsewhere.
    """
    from beamlit_controller.cluster import run  # noqa: PLC0415 - grpc and uvicorn are slow to import
    from beamlit_controller.cluster.given import Cluster, ShareAddress  # noqa: PLC0415 - the same
    from beamlit_controller.kubernetes.api_server import ApiError  # noqa: PLC0415 - the same
    from beamlit_controller.kubernetes.gateway_objects import Image  # noqa: PLC0415 - the same
    from beamlit_controller.telemetry import logs  # noqa: PLC0415 - the same

    logs.configure(log_level, json=None if log_format == "auto" else log_format == "json")
    given = Cluster(
        settings=_settings(settings),
        identity=name or os.uname().nodename,
        namespace=namespace,
        image=Image(gateway_image, gateway_image_pull_policy),
        shares=ShareAddress(shares_listen, shares_address, shares_secrets),
        web_listen=web_listen,
        kubeconfig=kubeconfig,
        domain=cluster_domain or _domain(Path("/etc/resolv.conf")),
    )
    failure = ""
    try:
        asyncio.run(run.cluster(given))
    except* (ApiError, OSError) as errors:
        failure = _said(errors)
    if failure:
        _fail(failure)


def release(
    *,
    namespace: Annotated[str, Parameter(env_var="POD_NAMESPACE")] = "default",
    deployment: str = "",
    settings: Path | None = None,
    within_seconds: float = 600,
    kubeconfig: Path | None = None,
    log_level: Level = "info",
) -> None:
    """Give everything back before the controller is uninstalled: clients are led past the gateways, which are removed.

    Parameters
    ----------
    namespace
        Where the controller is.
    deployment
        The controller's Deployment, to be scaled to nothing first.
    settings
        The settings file of the controller.
    within_seconds
        How long it may take: gateways finish the requests in flight.
    kubeconfig
        How the API server is reached from outside of the cluster.
    log_level
        The least severe messages to print.
    """
    from beamlit_controller.cluster import release as releasing  # noqa: PLC0415 - grpc and uvicorn are slow to import
    from beamlit_controller.cluster.given import Cluster, ShareAddress  # noqa: PLC0415 - the same
    from beamlit_controller.kubernetes.api_server import ApiError  # noqa: PLC0415 - the same
    from beamlit_controller.kubernetes.gateway_objects import Image  # noqa: PLC0415 - the same
    from beamlit_controller.telemetry import logs  # noqa: PLC0415 - the same

    logs.configure(log_level)
    nowhere = ShareAddress("", "", Path())
    given = Cluster(
        settings=_settings(settings) if settings else Settings(),
        identity=f"release-{os.uname().nodename}-{os.getpid()}",
        namespace=namespace,
        image=Image(""),
        shares=nowhere,
        kubeconfig=kubeconfig,
    )
    failure = ""
    try:
        asyncio.run(releasing.release(given, deployment, within=within_seconds))
    except* TimeoutError:
        failure = f"not everything was given back within {within_seconds:g} s; run it again"
    except* (ApiError, OSError) as errors:
        failure = _said(errors)
    if failure:
        _fail(failure)


def restore(
    *,
    namespace: Annotated[str, Parameter(alias="-n")] = "",
    all_namespaces: Annotated[bool, Parameter(name="--all", negative="")] = False,
    kubeconfig: Path | None = None,
) -> None:
    """Give back Services that gateways have taken over, without a controller: each selects again what its user wrote.

    Stop the controller first, or it takes them over again.

    Parameters
    ----------
    namespace
        Whose Services are given back.
    all_namespaces
        Give back those of all namespaces.
    kubeconfig
        How the API server is reached.
    """
    from beamlit_controller.cluster import restore as restoring  # noqa: PLC0415 - the HTTP client is slow to import
    from beamlit_controller.kubernetes.api_server import ApiError  # noqa: PLC0415 - the same

    if bool(namespace) == all_namespaces:
        _fail("expected --namespace NAME or --all, and not both")
    try:
        said = asyncio.run(restoring.restore(namespace or None, kubeconfig))
    except ApiError as error:
        _fail(error.message)
    for well, text in said:
        print(text, file=sys.stdout if well else sys.stderr)
    if not said:
        print(f"no Service {f'of {namespace} ' if namespace else ''}is taken over")
    if not all(well for well, _ in said):
        sys.exit(1)


def override(
    name: str,
    percentage: str = "",
    *,
    namespace: Annotated[str, Parameter(alias="-n")] = "default",
    lasting: Annotated[str, Parameter(name="--for")] = "",
    reason: str = "",
    author: Annotated[str, Parameter(env_var="USER")] = "",
    clear: Annotated[bool, Parameter(negative="")] = False,
    kubeconfig: Path | None = None,
    state_dir: Path | None = None,
) -> None:
    """Set the percentage of a model by hand, whatever its metrics say: in the cluster, or with --state-dir here.

    Parameters
    ----------
    name
        The ModelDeployment.
    percentage
        From 0 to 100, such as 25 or 25%.
    namespace
        Where it is.
    lasting
        How long, such as 90s, 30m, 2h or 1d; until it is cleared without it.
    reason
        Why: shown wherever the percentage is.
    author
        Who says so; you, without it.
    clear
        Let the metrics decide again.
    kubeconfig
        How the API server is reached.
    state_dir
        The state folder of the controller that `run` runs on this machine.
    """
    from beamlit_controller.cluster import overriding  # noqa: PLC0415 - the HTTP client is slow to import
    from beamlit_controller.kubernetes.api_server import ApiError  # noqa: PLC0415 - the same

    if clear == bool(percentage):
        _fail("expected a percentage or --clear, and not both")
    try:
        wanted = None if clear else overriding.wanted(percentage, lasting, author=author, reason=reason)
        if state_dir is not None:
            _override_here(state_dir, ModelKey(namespace, name), wanted.as_spec if wanted else None)
        else:
            asyncio.run(overriding.override(namespace, name, wanted, kubeconfig))
    except (ApiError, OSError, ValueError) as error:
        _fail(str(error))
    print(f"{namespace}/{name}: {wanted or 'the metrics decide again'}")


def _override_here(state_dir: Path, key: ModelKey, override: Override | None) -> None:
    """Write it where the controller on this machine looks. Raises ValueError and OSError."""
    place = State(state_dir)
    if not place.decisions.is_dir():
        raise ValueError(f"--state-dir: expected the state folder of a controller that has decided, got {state_dir}")
    known = sorted(path.stem.replace(".", "/", 1) for path in place.decisions.glob("*.json"))
    if str(key) not in known:
        raise ValueError(f"{state_dir}: no model {key}; there are: {', '.join(known) or 'none'}")
    overrides.put(place.overrides, key, override)


def envoy(*, directory: Path, concurrency: int = 2, log_level: str = "warning") -> None:
    """Become the Envoy of a gateway, which reads its files from a folder.

    Parameters
    ----------
    directory
        The folder with bootstrap.json and the files that it names.
    concurrency
        The number of worker threads.
    log_level
        Envoy's log level.
    """
    from beamlit_controller.envoy import command  # noqa: PLC0415 - the other commands do without

    line = command.command(directory, concurrency=concurrency, log_level=log_level)
    os.execv(line[0], line)  # noqa: S606 - the process becomes Envoy, which then gets the signals


def drain(*, admin: Path, least_seconds: float = 12, most_seconds: float = 300) -> None:
    """Let a gateway come to its end without a lost request: what a pod runs before it is stopped.

    Parameters
    ----------
    admin
        Envoy's admin socket.
    least_seconds
        How long it goes on serving at least: until nobody sends to it any more.
    most_seconds
        How long it waits at most for requests that go on.
    """
    from beamlit_controller.standalone import drain as draining  # noqa: PLC0415 - the HTTP client is slow to import

    asyncio.run(draining.drain(admin, least=least_seconds, most=most_seconds))


def _settings(path: Path) -> Settings:
    try:
        given = api_settings.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        _fail(f"--settings: can't read {path}: {error}")
    if not isinstance(given, Settings):
        _fail("\n".join(f"{path}: {each}" for each in given))
    return given


def _domain(resolv_conf: Path) -> str:
    """Find the cluster's domain: pods search `svc.DOMAIN`."""
    try:
        text = resolv_conf.read_text(encoding="utf-8")
    except OSError:
        text = ""
    searched = [word for line in text.splitlines() if line.startswith("search") for word in line.split()[1:]]
    return next(
        (word.removeprefix("svc.").rstrip(".") for word in searched if word.startswith("svc.")), "cluster.local"
    )


def _said(errors: BaseExceptionGroup[BaseException]) -> str:
    """Give the texts of all errors, however deep in the group."""
    texts = [_said(each) if isinstance(each, BaseExceptionGroup) else str(each) for each in errors.exceptions]
    return "; ".join(texts)


def _fail(message: str) -> NoReturn:
    print(f"beamlit-controller: {message}", file=sys.stderr)
    sys.exit(1)
