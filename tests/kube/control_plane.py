"""A real control plane: etcd, kube-apiserver and kube-controller-manager as plain processes, ready in seconds."""

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakes.ports import free_port
from kube import processes
from kube.client import Client
from kube.credentials import ADMIN, Credentials
from kube.processes import Processes
from waiting import patiently

BINARIES = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
API_SERVER, CONTROLLERS, ETCD = "kube-apiserver", "kube-controller-manager", "etcd"
START_SECONDS = 120  # warm it takes 5; a busy machine takes its time


@dataclass(frozen=True, slots=True)
class Place:
    """Where its processes listen, and where tests find the API server (elsewhere, if there is a network in between)."""

    host: str
    api_server: int
    etcd: int
    entrance: str

    @classmethod
    def here(cls) -> "Place":
        """Choose free ports of this machine."""
        port = free_port()
        return cls("127.0.0.1", port, free_port(), f"127.0.0.1:{port}")


AUDITED = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts:beamlit-system"]}, {"level": "None"}],
}
"""What is noted of requests: of the controller's, who asked for what."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked of it beyond being there."""

    autoscaler_seconds: int = 1  # between two looks of a HorizontalPodAutoscaler; a user has 15
    api_server: Sequence[str] = ("--endpoint-reconciler-type=none",)  # it refuses to write 127.0.0.1 as an endpoint
    controllers: Sequence[str] = ()


class ControlPlane:
    """The three processes, which can be stopped and started again one by one, and the way in: `client`."""

    def __init__(
        self, folder: Path, binaries: Mapping[str, Path], held: Processes, *, place: Place, options: Options
    ) -> None:
        self._folder = folder
        self._audit = folder / "audit.log"
        self._policy = folder / "audit-policy.json"
        self._policy.write_text(json.dumps(AUDITED))
        self._binaries = binaries
        self._place = place
        self._options = options
        self.processes = held
        self.credentials = Credentials(folder / "credentials", hosts=(place.host, "127.0.0.1", "10.96.0.1"))
        self.kubeconfig = self.credentials.kubeconfig("admin", server=f"{place.host}:{place.api_server}")
        self.client = Client(self.credentials, binaries["kubectl"], server=place.entrance)

    def start(self) -> None:
        """Start all three and wait until they work."""
        with self.processes.explained():
            self.start_etcd()
            self.start_api_server()
            self.start_controllers()

    def start_etcd(self) -> None:
        """Start etcd, with what it kept."""
        url = f"http://{self._place.host}:{self._place.etcd}"
        self.processes.start(
            ETCD,
            str(self._binaries[ETCD]),
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls=http://{self._place.host}:0",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )

    def start_api_server(self) -> None:
        """Start the API server and wait until it is ready."""
        self.processes.start(API_SERVER, str(self._binaries[API_SERVER]), *self._api_server_flags())
        patiently(self._is_ready, within=START_SECONDS, what="the API server is ready")

    def asked(self, account: str) -> Iterator[dict[str, Any]]:
        """Yield what a service account (`namespace:name`) has asked of the API server, as its audit log tells."""
        for line in self._audit.read_text().splitlines():
            event = json.loads(line)
            if event["user"]["username"] == f"system:serviceaccount:{account}":
                yield event

    def start_controllers(self) -> None:
        """Start the kube-controller-manager and wait until it works: until the service account it makes is there."""
        self.processes.start(CONTROLLERS, str(self._binaries[CONTROLLERS]), *self._controllers_flags())
        patiently(self._has_controllers, within=START_SECONDS, what="the kube-controller-manager works")

    def stop_api_server(self) -> None:
        """End the API server as a crash does."""
        self.processes.kill(API_SERVER)

    def restart_api_server(self) -> None:
        """End the API server and start it again: it remembers nothing of before, so older watches have expired."""
        self.stop_api_server()
        self.start_api_server()

    def compact(self) -> None:
        """Let etcd forget all but the present: older resource versions have expired."""
        revision = self._etcd("/v3/kv/range", {"key": "AA=="})["header"]["revision"]
        self._etcd("/v3/kv/compaction", {"revision": revision, "physical": True})

    def _api_server_flags(self) -> tuple[str, ...]:
        given = self.credentials
        return (
            f"--etcd-servers=http://{self._place.host}:{self._place.etcd}",
            f"--bind-address={self._place.host}",
            f"--advertise-address={self._place.host}",
            f"--secure-port={self._place.api_server}",
            f"--tls-cert-file={given.api_server.cert}",
            f"--tls-private-key-file={given.api_server.key}",
            f"--client-ca-file={given.ca}",
            f"--token-auth-file={given.tokens}",
            "--authorization-mode=RBAC",
            # Who owns something has to be allowed to block the owner's deletion: some distributions ask for it.
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
            f"--audit-policy-file={self._policy}",
            f"--audit-log-path={self._audit}",
            "--allow-privileged=true",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={given.service_accounts.cert}",
            f"--service-account-signing-key-file={given.service_accounts.key}",
            f"--proxy-client-cert-file={given.front_proxy.cert}",
            f"--proxy-client-key-file={given.front_proxy.key}",
            f"--requestheader-client-ca-file={given.ca}",
            "--requestheader-allowed-names=front-proxy",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            *self._options.api_server,
        )

    def _controllers_flags(self) -> tuple[str, ...]:
        given = self.credentials
        return (
            f"--kubeconfig={self.kubeconfig}",
            "--leader-elect=false",
            "--secure-port=0",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={given.service_accounts.key}",
            f"--root-ca-file={given.ca}",
            f"--horizontal-pod-autoscaler-sync-period={self._options.autoscaler_seconds}s",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            *self._options.controllers,
        )

    def _is_ready(self) -> bool:
        self.processes.check()
        context = ssl.create_default_context(cafile=self.credentials.ca)
        with (
            suppress(OSError, http.client.HTTPException),
            closing(http.client.HTTPSConnection(self.client.server, context=context, timeout=5)) as connection,
        ):
            connection.request("GET", "/readyz", headers={"authorization": f"Bearer {ADMIN}"})
            return connection.getresponse().status == http.client.OK
        return False

    def _has_controllers(self) -> bool:
        self.processes.check()
        return bool(self.client.kubectl("get", "serviceaccount", "default", "--ignore-not-found"))

    def _etcd(self, path: str, content: Mapping[str, object]) -> dict[str, dict[str, str]]:
        with closing(http.client.HTTPConnection(self._place.host, self._place.etcd, timeout=10)) as connection:
            connection.request("POST", path, json.dumps(content))
            answered = connection.getresponse()
            said = answered.read()
        assert answered.status == http.client.OK, said
        given: dict[str, dict[str, str]] = json.loads(said)
        return given


@contextmanager
def running(folder: Path, binaries: Mapping[str, Path], options: Options | None = None) -> Iterator[ControlPlane]:
    """Run a control plane on 127.0.0.1, with its data and its logs in a folder."""
    with processes.held(folder) as held:
        plane = ControlPlane(folder, binaries, held, place=Place.here(), options=options or Options())
        plane.start()
        yield plane
