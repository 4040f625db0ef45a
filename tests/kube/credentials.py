"""Who is who in a cluster: an authority, the certificates it issues, and the tokens of people."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from fakes.tls import Authority, Pair

ADMIN = "admin-token-of-the-tests"


class Credentials:
    """The files that the parts of a cluster are given."""

    def __init__(self, folder: Path, *, hosts: Sequence[str]) -> None:
        folder.mkdir()
        self._folder = folder
        self._authority = Authority(folder)
        self.ca = self._authority.cert
        self.api_server = self.issue("kubernetes.default.svc", "kubernetes.default", "localhost", *hosts)
        self.front_proxy = self.issue("front-proxy")
        self.service_accounts = self.issue("service-accounts")
        self.tokens = folder / "tokens.csv"
        self.tokens.write_text(f'{ADMIN},admin,admin,"system:masters"\n')

    def issue(self, name: str, *others: str) -> Pair:
        """Issue a certificate that the cluster's parts trust."""
        return self._authority.issue(name, *others)

    def kubeconfig(self, name: str, *, server: str, token: str = ADMIN) -> Path:
        """Write a kubeconfig for a server (`host:port`) and a token."""
        path = self._folder / f"{name}.kubeconfig"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "tests", "cluster": {"server": f"https://{server}", "certificate-authority": str(self.ca)}}
            ],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": "tests", "user": name, "namespace": "default"}}],
            "current-context": name,
        }
        path.write_text(yaml.safe_dump(content))
        return path
