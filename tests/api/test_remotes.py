"""`remoteBackends`: which lists are accepted, what is said about the others, and what they mean."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from beamlit_controller.api import remotes
from beamlit_controller.api import settings as settings_file
from beamlit_controller.api.manifests import Parsed
from beamlit_controller.api.settings import GatewayBounds, Settings

Mistakes = Callable[..., dict[str, str]]
Read = Callable[..., Parsed]

OPENAI = {"host": "api.openai.example"}
SERVERS = {"metricServiceRef": {"name": "llama", "targetPort": 8000}}
OTHER = {"host": "other.example.com:8443", "pathPrefix": "/models/$model", "maxInFlight": 4}


def test_remotes_are_tried_in_the_order_in_which_they_are_written(read: Read) -> None:
    (spec,) = read({"remoteBackends": [{"name": "primary", **OPENAI}, OTHER]}).specs

    assert [(each.name, each.host, each.port) for each in spec.remotes] == [
        ("primary", "api.openai.example", 443),
        ("other-example-com", "other.example.com", 8443),
    ]
    assert [each.max_in_flight for each in spec.remotes] == [None, 4]


def test_remotes_may_have_weights(read: Read) -> None:
    (spec,) = read({"remoteBackends": [{**OPENAI, "weight": 3}, {**OTHER, "weight": 1}]}).specs
    (without,) = read({"remoteBackends": [OPENAI, OTHER]}).specs

    assert [each.weight for each in spec.remotes] == [3, 1]
    assert [each.weight for each in without.remotes] == [None, None]


@pytest.mark.parametrize("weight", [0, -1, 1001, 1.5, "3"])
def test_a_weight_is_a_whole_number(mistakes: Mistakes, weight: object) -> None:
    assert list(mistakes({"remoteBackends": [{**OPENAI, "weight": weight}]})) == ["remoteBackends[0].weight"]


def test_the_only_remote_has_no_name(read: Read) -> None:
    (spec,) = read({"remoteBackend": OPENAI}).specs

    assert [each.name for each in spec.remotes] == [""]


def test_remotes_of_the_settings_stand_in_where_a_model_names_none(read: Read) -> None:
    given = settings_file.parse(
        yaml.safe_dump({"config": {"defaultRemoteBackends": [{"name": "first", **OPENAI}, OTHER]}})
    )
    assert isinstance(given, Settings)

    (without,) = read(spec={"offloadingConfig": {"preset": "vllm"}, **SERVERS}, settings=given).specs
    (own,) = read({"remoteBackend": OPENAI}, settings=given).specs

    assert [each.name for each in without.remotes] == ["first", "other-example-com"]
    assert [each.name for each in own.remotes] == [""]


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"defaultRemoteBackends": []}, "defaultRemoteBackends"),
        ({"defaultRemoteBackends": [OPENAI, OPENAI]}, "defaultRemoteBackends[1].name"),
        ({"defaultRemoteBackends": [OPENAI], "defaultRemoteBackend": OPENAI}, "defaultRemoteBackends"),
    ],
)
def test_a_mistake_in_the_remotes_of_the_settings_is_told_by_its_place(config: dict[str, Any], field: str) -> None:
    found = settings_file.parse(yaml.safe_dump({"config": config}))

    assert isinstance(found, tuple)
    assert [each.field for each in found] == [f"config.{field}"]


def test_a_list_takes_the_place_of_the_remote_of_the_settings(read: Read, prometheus: Settings) -> None:
    (spec,) = read({"remoteBackends": [OPENAI]}, settings=prometheus).specs

    assert [each.host for each in spec.remotes] == ["api.openai.example"]


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("api.example.com", "api-example-com"),
        ("API.Example.com:8443", "api-example-com"),
        ("10.0.0.8:80", "10-0-0-8"),
        ("[fd00::9]:80", "fd00-9"),
        ("a_b.example.com", "a-b-example-com"),
        (f"{'a' * 62}.b.example.com", "a" * 62),
    ],
)
def test_by_default_a_remote_is_named_after_its_host(host: str, name: str) -> None:
    assert remotes.name_of(host) == name


OWN = "expected a unique name, got {name} as remoteBackends[0] has"


@pytest.mark.parametrize(
    ("several", "expected"),
    [
        ([], {"remoteBackends": "expected at least 1 in the list"}),
        ([OPENAI] * 9, {"remoteBackends": "expected at most 8 entries"}),
        ([{"name": "One", **OPENAI}], {"remoteBackends[0].name": "a DNS label"}),
        ([OPENAI, OPENAI], {"remoteBackends[1].name": OWN.format(name="api-openai-example")}),
        ([{"name": "a", **OPENAI}, {"name": "a", **OTHER}], {"remoteBackends[1].name": OWN.format(name="a")}),
        ([OPENAI, {"name": "api-openai-example", **OTHER}], {"remoteBackends[1].name": "a unique name"}),
        ([OPENAI, {"host": "a.b", "tls": {}, "scheme": "http"}], {"remoteBackends[1].tls": "nothing is encrypted"}),
        ([OPENAI, {"hots": "a.b"}], {"remoteBackends[1].hots": "did you mean host?", "remoteBackends[1].host": "required"}),
        ([OPENAI, {"host": "localhost:x"}], {"remoteBackends[1].host": ""}),
        ({"host": "a.b"}, {"remoteBackends": "expected a list"}),
        (["a.b"], {"remoteBackends[0]": "expected a mapping"}),
    ],
)  # fmt: skip
def test_each_mistake_in_a_list_is_told_by_its_place(
    mistakes: Mistakes, several: object, expected: dict[str, str]
) -> None:
    found = mistakes({"remoteBackends": several})

    assert {field for field in expected if expected[field] in found.get(field, "-")} == set(expected)


def test_a_list_that_is_far_too_long_is_told_in_few_words(mistakes: Mistakes) -> None:
    found = mistakes({"remoteBackends": [OPENAI] * 10_000})

    assert len(found) <= 2 * remotes.MOST


def test_a_list_and_a_single_remote_exclude_each_other(mistakes: Mistakes) -> None:
    found = mistakes({"remoteBackend": OPENAI, "remoteBackends": [OTHER]})

    assert found == {
        "remoteBackends": "may not be set together with remoteBackend: at most one of remoteBackend, remoteBackends"
    }


def test_every_host_of_a_list_has_to_be_allowed(mistakes: Mistakes) -> None:
    oauth = {"clientId": "a", "clientSecretRef": {"name": "a", "key": "b"}, "tokenUrl": "https://login.evil.example/t"}
    several = [OPENAI, {**OTHER, "authConfig": {"type": "oauth", "oauthConfig": oauth}}]

    found = mistakes({"remoteBackends": several}, settings=Settings(allowed_remote_hosts=("api.openai.example",)))

    assert set(found) == {"remoteBackends[1].host", "remoteBackends[1].authConfig.oauthConfig.tokenUrl"}


@pytest.mark.parametrize(
    ("field", "remote"),
    [
        (
            "authConfig.apiKeyConfig.secretRef",
            {"authConfig": {"type": "apiKey", "apiKeyConfig": {"secretRef": {"name": "mine", "key": "k"}}}},
        ),
        (
            "authConfig.awsConfig.credentialsSecretRef",
            {
                "authConfig": {
                    "type": "aws",
                    "awsConfig": {"region": "a", "credentialsSecretRef": {"name": "mine", "key": "k"}},
                }
            },
        ),
        ("tls.caSecretRef", {"tls": {"caSecretRef": {"name": "mine", "key": "k"}}}),
    ],
)
def test_every_secret_of_a_list_has_to_be_allowed(mistakes: Mistakes, field: str, remote: dict[str, Any]) -> None:
    bounds = Settings(gateways=GatewayBounds(secrets=("offload-*",)))

    found = mistakes({"remoteBackends": [OPENAI, {**OTHER, **remote}]}, settings=bounds)

    assert list(found) == [f"remoteBackends[1].{field}.name"]


def test_the_secret_of_a_client_certificate_has_to_be_allowed(mistakes: Mistakes) -> None:
    settings = Settings(gateways=GatewayBounds(secrets=("offload-*",)))
    pair = {"certSecretRef": {"name": "mine", "key": "a"}, "keySecretRef": {"name": "mine", "key": "b"}}

    found = mistakes({"remoteBackends": [{**OPENAI, "tls": pair}]}, settings=settings)

    assert list(found) == [f"remoteBackends[0].tls.{each}SecretRef.name" for each in ("cert", "key")]


def test_what_is_to_be_known_about_a_remote_of_a_list_is_told_by_its_place(read: Read) -> None:
    key = {"type": "apiKey", "apiKeyConfig": {"secretRef": {"name": "a", "key": "b"}}}
    risky = {"host": "a.b", "scheme": "http", "authConfig": key, "headersToAdd": {"x-api-key": "secret"}}

    notices = {notice.field for notice in read({"remoteBackends": [OPENAI, risky]}).notices}

    assert {
        f"spec.offloadingConfig.remoteBackends[1].{field}" for field in ("scheme", "headersToAdd.x-api-key")
    } <= notices
