"""What clusters have in common."""

import pytest

import builders
from beamlit_controller.core.spec import OAuth, RemoteBackend, Scheme, SecretKey
from beamlit_controller.envoy import clusters
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.envoy.messages import Message

AS_IT_STANDS, COMPLETED = True, False
PARAMS = GatewayParams(
    node="models/llama",
    directory="/gateway",
    front="0.0.0.0:8080",
    stats="127.0.0.1:9902",
    admin="unix:/gateway/admin.sock",
    shares="unix:/gateway/shares.sock",
    local=("llama:8000",),
    secrets="/secrets",
)


@pytest.mark.parametrize(
    ("host", "looked_up"),
    [
        ("api.example.com", AS_IT_STANDS),
        # In a pod `llama.other` would otherwise be a Service of the namespace `other`.
        ("llama.other", AS_IT_STANDS),
        ("llama.other.svc.cluster.local", AS_IT_STANDS),
        ("llama.other.svc", COMPLETED),
        ("llama", COMPLETED),
    ],
)
def test_hosts_of_remotes_and_tokens_are_not_completed_to_names_of_the_cluster(host: str, *, looked_up: bool) -> None:
    auth = OAuth(token_url=f"https://{host}/token", client_id="a", client_secret=SecretKey("a", "b"))
    spec = builders.spec(remote=RemoteBackend(Scheme.HTTPS, host, 443, auth=auth))

    found = {_kind(each): "'no_default_search_domain': True" in str(each) for each in clusters.all_of(spec, PARAMS)}

    assert {found[kind] for kind in ("remote", "remote_upgrade", "token_server")} == {looked_up}
    assert not found["local"]


def _kind(cluster: Message) -> str:
    return str(cluster.get("alt_stat_name") or cluster["name"])
