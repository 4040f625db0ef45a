"""What tests do with a cluster: kubectl, our own connection to the API server, namespaces, accounts with few rights."""

import json
import secrets
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beamlit_controller.kubernetes.api_server import ApiServer, configuration
from kube.credentials import Credentials
from kube.rest import Rest, RestError
from waiting import patiently

Json = dict[str, Any]
DEADLINE_SECONDS = 60


class KubectlError(RestError):
    """kubectl failed; the text is what it said."""


class Client:
    """A way into a cluster as its administrator. `server` is the API server's `host:port`, as seen from the tests."""

    def __init__(self, credentials: Credentials, kubectl: Path, *, server: str) -> None:
        self._credentials = credentials
        self._kubectl = kubectl
        self.server = server
        self.kubeconfig = credentials.kubeconfig("tests", server=server)
        self._rest = Rest(server, credentials.ca)

    def kubectl(
        self, *arguments: str, stdin: object = None, kubeconfig: Path | None = None, within: float = DEADLINE_SECONDS
    ) -> str:
        """Run kubectl and give what it printed; what is not text goes in as JSON. Raises KubectlError."""
        text = stdin if isinstance(stdin, str) else json.dumps(stdin)
        done = subprocess.run(
            [self._kubectl, f"--kubeconfig={kubeconfig or self.kubeconfig}", *arguments],
            input=text if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        if done.returncode:
            raise KubectlError(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def apply(self, *objects: Mapping[str, object] | str, namespace: str = "") -> None:
        """Apply objects, or YAML, as a user does; without a namespace, where they say."""
        for each in objects:
            self.kubectl("apply", *(["-n", namespace] if namespace else []), "-f", "-", stdin=each)

    def get(self, kind: str, name: str = "", *, namespace: str = "default") -> Json:
        """Get an object, or with no name a list."""
        return self._rest.get(kind, name, namespace=namespace)

    def patch(self, kind: str, name: str, change: Mapping[str, object], *, namespace: str) -> None:
        """Merge fields into an object."""
        self._rest.merge(kind, name, change, namespace=namespace)

    def set_status(self, kind: str, name: str, status: Mapping[str, object], *, namespace: str) -> None:
        """Write fields of a status, as the component would that is not there."""
        self._rest.merge(kind, name, {"status": status}, namespace=namespace, subresource="status")

    def rolled_out(self, workload: str, *, namespace: str, within: int = 180) -> None:
        """Wait until all pods of a workload such as `deployment/model` are the newest and ready."""
        told = f"--timeout={within}s"
        self.kubectl("rollout", "status", workload, "-n", namespace, told, within=within + 10)

    def api_server(self, kubeconfig: Path | None = None) -> ApiServer:
        """Return our own connection, to be entered with `async with`."""
        return ApiServer(configuration(kubeconfig or self.kubeconfig))

    @contextmanager
    def namespace(self, name: str = "test") -> Iterator[str]:
        """Have a namespace of one's own, with its default service account there; deleted afterwards, in the background."""
        made = f"{name}-{secrets.token_hex(4)}"
        self.kubectl("create", "namespace", made)
        try:
            patiently(lambda: self._has_account(made), within=DEADLINE_SECONDS, what=f"a service account in {made}")
            yield made
        finally:
            self.kubectl("delete", "namespace", made, "--wait=false", "--ignore-not-found")

    def account(
        self, name: str, *, namespace: str, rules: Sequence[Mapping[str, object]], everywhere: bool = False
    ) -> Path:
        """Make a service account that may do what the rules say, and give its kubeconfig.

        `everywhere` binds them for the whole cluster, else they hold in the namespace.
        """
        kind, bound = ("ClusterRole", "ClusterRoleBinding") if everywhere else ("Role", "RoleBinding")
        meta = {"name": f"{namespace}-{name}", **({} if everywhere else {"namespace": namespace})}
        group = "rbac.authorization.k8s.io"
        self.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
            {"apiVersion": f"{group}/v1", "kind": kind, "metadata": meta, "rules": list(rules)},
            {
                "apiVersion": f"{group}/v1",
                "kind": bound,
                "metadata": meta,
                "roleRef": {"apiGroup": group, "kind": kind, "name": meta["name"]},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
            },
            namespace=namespace,
        )
        return self.account_kubeconfig(name, namespace=namespace)

    def account_kubeconfig(self, name: str, *, namespace: str) -> Path:
        """Return a kubeconfig with a token of a service account that is there."""
        token = self.kubectl("create", "token", name, "-n", namespace).strip()
        return self._credentials.kubeconfig(f"{namespace}-{name}", server=self.server, token=token)

    def _has_account(self, namespace: str) -> bool:
        accounts = self.get("serviceaccount", namespace=namespace)["items"]
        return any(each["metadata"]["name"] == "default" for each in accounts)
