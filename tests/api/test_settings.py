from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from beamlit_controller.api import settings as settings_file
from beamlit_controller.api.addresses import Address
from beamlit_controller.api.manifests import Parsed
from beamlit_controller.api.settings import (
    BasicAuth,
    ClientTls,
    PrometheusSettings,
    Settings,
    SharedListener,
    SharedRoute,
    StandaloneSettings,
)
from beamlit_controller.core.cloud_identity import AwsIdentity, AzureIdentity, CloudIdentity, GoogleIdentity
from beamlit_controller.core.spec import ModelKey, SecretKey
from beamlit_controller.wiring import common

Read = Callable[..., Parsed]
FULL: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "data" / "settings-full.yaml").read_text())


def settings(config: object) -> Settings:
    parsed = settings_file.parse(yaml.safe_dump({"config": config}))
    assert isinstance(parsed, Settings), parsed
    return parsed


def mistakes(config: object) -> dict[str, str]:
    parsed = settings_file.parse(yaml.safe_dump({"config": config}))
    assert not isinstance(parsed, Settings)
    return {each.field.removeprefix("config."): each.message for each in parsed}


def asking(**prometheus: object) -> dict[str, Any]:
    return {"metricInformer": {"type": "prometheus", "prometheus": {"address": "my-local-prom:9090", **prometheus}}}


@pytest.mark.parametrize("text", ["", "# nothing\n", "config: {}\n", "{}"])
def test_an_empty_file_is_all_defaults(text: str) -> None:
    assert settings_file.parse(text) == Settings()


def test_the_defaults() -> None:
    assert settings({}) == Settings()
    assert Settings().allowed_remote_hosts == ("*",)
    assert Settings().prometheus is None
    assert Settings().standalone.web_listen == Address("127.0.0.1", 8081)
    assert Settings().standalone.stats_listener(ModelKey("a", "b")) == Address("127.0.0.1", 0)
    assert Settings().standalone.listener(ModelKey("a", "b")) is None


@pytest.mark.parametrize("type_", [{}, {"type": "kubernetes"}], ids=["by default", "asked for"])
def test_a_prometheus_that_is_not_used_is_pointed_out(type_: dict[str, str]) -> None:
    """With the type left out, External metrics were read from the metrics API, and nothing said so."""
    parsed = settings({"metricInformer": {**type_, "prometheus": {"address": "my-local-prom:9090"}}})

    assert parsed.prometheus is None
    (notice,) = parsed.notices
    assert notice.field == "config.metricInformer.prometheus"
    assert "set type: prometheus" in notice.message
    assert settings(asking()).notices == ()


ROUTE = "standalone.sharedListeners.main.routes[0]"


def shared(route: dict[str, Any], address: str = "127.0.0.1:1") -> dict[str, Any]:
    """Return a listener with one route, and a model that it can lead to."""
    listed = {"main": {"address": address, "routes": [route]}}
    return {"standalone": {"listen": {"a/b": "127.0.0.1:7"}, "sharedListeners": listed}}


def test_a_shared_listener_is_read() -> None:
    parsed = settings_file.read(
        {"config": shared({"to": "a/b", "model": "m", "pathPrefix": "/p", "host": "h", "header": "x", "value": "v"})}
    )

    assert isinstance(parsed, Settings)
    route = SharedRoute(ModelKey("a", "b"), model="m", path_prefix="/p", host="h", header=("x", "v"))
    assert parsed.standalone.shared_listeners == {"main": SharedListener(Address("127.0.0.1", 1), (route,))}


def test_every_field_is_read() -> None:
    parsed = settings_file.parse(yaml.safe_dump(FULL))

    assert isinstance(parsed, Settings)
    key = ModelKey("default", "llama")
    assert parsed.prometheus == PrometheusSettings(
        url="https://prom.example.com/prefix",
        basic_auth=BasicAuth("u", "/p"),
        tls=ClientTls("/ca", "/c", "/k", "prom"),
        headers=(("X-Scope-OrgID", "team"),),
        timeout=timedelta(seconds=2.5),
        stale_after=timedelta(seconds=120),
        query_parameters=(("dedup", "true"),),
    )
    assert (parsed.period, parsed.direct_period) == (timedelta(seconds=10), timedelta(seconds=10))
    assert len(parsed.default_remotes) == 1
    assert (parsed.namespaces, parsed.enable_leader_election) == (("models",), False)
    assert parsed.allowed_remote_hosts == ("*.example.com", "127.0.0.1", "::1")
    assert parsed.standalone.endpoints("default", "llama") == (Address("127.0.0.1", 8001), Address("::1", 8002))
    assert parsed.standalone.endpoints("default", "other") is None
    assert parsed.standalone.listener(key) == Address("0.0.0.0", 8000)
    assert parsed.standalone.listener(ModelKey("default", "other")) is None
    assert parsed.standalone.stats_listener(key) == Address("127.0.0.1", 9000)
    assert parsed.standalone.web_listen == Address("127.0.0.1", 0)
    assert (parsed.standalone.secrets_directory, parsed.standalone.access_log) == ("/secrets", "/dev/stdout")


@pytest.mark.parametrize(
    ("given", "identity"),
    [
        ({"aws": {"region": "eu-west-1"}}, AwsIdentity("eu-west-1")),
        ({"aws": {"region": "us-gov-west-1", "service": "other"}}, AwsIdentity("us-gov-west-1", "other")),
        ({"google": {}}, GoogleIdentity()),
        ({"google": {"credentialsFile": "/account.json"}}, GoogleIdentity("/account.json")),
        ({"azure": {}}, AzureIdentity()),
        ({"azure": {"clientId": "1", "scope": "https://a/.default"}}, AzureIdentity("1", "https://a/.default")),
        ({}, None),
    ],
)
def test_an_identity_at_a_cloud_is_read(given: dict[str, Any], identity: CloudIdentity | None) -> None:
    parsed = settings(asking(**given))

    assert parsed.prometheus is not None
    assert parsed.prometheus.identity == identity
    assert common.connection(parsed.prometheus).identity == identity


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("my-local-prom:9090", "http://my-local-prom:9090"),
        ("[::1]:9090", "http://[::1]:9090"),
        ("http://prom", "http://prom"),
        ("https://prom.example.com:8443/a/b/", "https://prom.example.com:8443/a/b"),
    ],
)
def test_an_address_is_host_and_port_or_a_url(address: str, url: str) -> None:
    parsed = settings(asking(address=address))

    assert parsed.prometheus is not None
    assert parsed.prometheus.url == url


@pytest.mark.parametrize(
    ("address", "part"),
    [
        ("my-local-prom", "the port is missing"),
        ("my-local-prom:9090/prefix", "must begin with http:// or https://"),
        ("http://u:hunter2@prom:9090", "use basicAuth"),
        ("u:hunter2@prom:9090", "use basicAuth"),
        ("http://prom/?tenant=hunter2", "use queryParameters"),
        ("http://prom/#a", "fragment"),
        ("ftp://prom", "http:// or https://"),
        ("http://", "expected a host name"),
        ("http://prom:99999", "expected a port"),
        ("http://[::1", "expected a URL"),
        ("http://a b", "can't contain blanks"),
    ],
)
def test_addresses_that_are_refused(address: str, part: str) -> None:
    found = mistakes(asking(address=address))

    assert list(found) == ["metricInformer.prometheus.address"]
    assert part in str(found)
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    ("config", "field", "part"),
    [
        ({"metricInformr": {}}, "metricInformr", "did you mean metricInformer?"),
        ({"metricInformer": {"type": "prom"}}, "metricInformer.type", "did you mean prometheus?"),
        ({"metricInformer": {"type": "prometheus"}}, "metricInformer.prometheus", "required with type prometheus"),
        ({"namespaces": ["a", "b", "a"]}, "namespaces", "expected each name once, got a twice"),
        ({"metricInformer": {"periodSeconds": 0}}, "metricInformer.periodSeconds", "at least 1"),
        ({"metricInformer": None}, "metricInformer", "nothing is given"),
        (asking(timeoutSeconds=5), "metricInformer.prometheus.timeoutSeconds", "less than the period of 5 s"),
        (asking(timeoutSeconds=0), "metricInformer.prometheus.timeoutSeconds", "more than 0"),
        (asking(timeoutSeconds="1"), "metricInformer.prometheus.timeoutSeconds", "remove the quotes"),
        (asking(timeoutSeconds=float("nan")), "metricInformer.prometheus.timeoutSeconds", "a finite number"),
        (asking(staleAfterSeconds=0), "metricInformer.prometheus.staleAfterSeconds", "at least 1"),
        (
            asking(bearerTokenFile="/t", basicAuth={"username": "u", "passwordFile": "/p"}),
            "metricInformer.prometheus.basicAuth",
            "may not be set together with bearerTokenFile",
        ),
        (
            asking(bearerTokenFile="/t", google={}),
            "metricInformer.prometheus.google",
            "may not be set together with bearerTokenFile",
        ),
        (asking(aws={}), "metricInformer.prometheus.aws.region", "required"),
        (asking(aws={"region": "eu west"}), "metricInformer.prometheus.aws.region", "expected"),
        (asking(tls={}), "metricInformer.prometheus.tls", "https://"),
        (
            asking(address="https://a", tls={"certFile": "/c"}),
            "metricInformer.prometheus.tls.keyFile",
            "required together with certFile",
        ),
        (asking(headers={"Authorization": "x"}), "metricInformer.prometheus.headers.Authorization", "bearerTokenFile"),
        (asking(headers={"X-A": "a\nb"}), "metricInformer.prometheus.headers.X-A", "line break"),
        (asking(queryParameters={"query": "x"}), "metricInformer.prometheus.queryParameters.query", "sets this one"),
        ({"allowedRemoteHosts": ["a b*"]}, "allowedRemoteHosts[0]", "expected a host or a pattern"),
        ({"allowedRemoteHosts": ["127.1"]}, "allowedRemoteHosts[0]", "four decimal numbers"),
        ({"allowedRemoteHosts": ["localhost:23102"]}, "allowedRemoteHosts[0]", "a host alone, without scheme and port"),
        ({"allowedRemoteHosts": ["[::1]:23102"]}, "allowedRemoteHosts[0]", "a host alone, without scheme and port"),
        ({"allowedRemoteHosts": ["https://a.b"]}, "allowedRemoteHosts[0]", "a host alone, without scheme and port"),
        ({"page": {"hosts": ["a.b:8081"]}}, "page.hosts[0]", "a host alone, without scheme and port"),
        ({"page": {"hosts": ["a b"]}}, "page.hosts[0]", "expected a host"),
        ({"allowedRemoteHosts": "*"}, "allowedRemoteHosts", "expected a list, got text"),
        ({"namespaces": ["A"]}, "namespaces[0]", "DNS label"),
        ({"defaultRemoteBackend": {}}, "defaultRemoteBackend.host", "required"),
        ({"standalone": {"services": {"llama": ["a:1"]}}}, "standalone.services.llama", "namespace/name"),
        ({"standalone": {"services": {"a/b": []}}}, "standalone.services[a/b]", "at least 1"),
        ({"standalone": {"services": {"a/b": ["127.0.0.1"]}}}, "standalone.services[a/b][0]", "the port is missing"),
        ({"standalone": {"services": {"a/b": "127.0.0.1:1"}}}, "standalone.services[a/b]", "expected a list, got text"),
        ({"standalone": {"listen": "8080"}}, "standalone.listen", "the port is missing"),
        ({"standalone": {"listen": 8080}}, "standalone.listen", "expected host:port"),
        ({"standalone": {"listen": {"a/b": 1}}}, "standalone.listen[a/b]", "expected host:port, got a number"),
        ({"standalone": {"listen": {"b": "127.0.0.1:1"}}}, "standalone.listen.b", "namespace/name"),
        (
            {"standalone": {"listen": {"a/b": "127.0.0.1:1", "a/c": "127.0.0.1:1"}}},
            "standalone.listen[a/c]",
            "127.0.0.1:1 is taken by listen[a/b]; each listener needs an address of its own",
        ),
        (
            {"standalone": {"sharedListeners": {"main": {"address": "127.0.0.1:1", "routes": [{"to": "a/b"}]}}}},
            "standalone.sharedListeners.main.routes[0].to",
            "a/b needs an address of its own in config.standalone.listen",
        ),
        (shared({"to": "a/b", "stripPrefix": True}), f"{ROUTE}.stripPrefix", "needs pathPrefix"),
        (shared({"to": "a/b", "pathPrefix": "/v1/"}), f"{ROUTE}.pathPrefix", "without a trailing /"),
        (shared({"to": "a/b", "pathPrefix": "/v1/../x"}), f"{ROUTE}.pathPrefix", "would never match"),
        (shared({"to": "a/b", "header": "x-team"}), f"{ROUTE}.value", "required together with header"),
        (shared({"to": "a/b", "host": "a:1"}), f"{ROUTE}.host", "a host alone"),
        (shared({"to": "b"}), f"{ROUTE}.to", "namespace/name"),
        (
            shared({"to": "a/b"}, "127.0.0.1:7"),
            "standalone.sharedListeners.main.address",
            "127.0.0.1:7 is taken by listen[a/b]",
        ),
        ({"standalone": {"listen": "127.0.0.1:8081"}}, "standalone.listen", "127.0.0.1:8081 is taken by webListen"),
        (
            {"standalone": {"listen": "0.0.0.0:80", "statsListen": "127.0.0.1:80"}},
            "standalone.statsListen",
            "127.0.0.1:80 is taken by listen",
        ),
        (
            {"standalone": {"statsListen": {"a/b": "127.0.0.1:9"}, "webListen": "localhost:9"}},
            "standalone.statsListen[a/b]",
            "is taken by webListen",
        ),
        (
            {"standalone": {"listen": "localhost:80"}},
            "standalone.listen",
            'expected an IP address and a port, such as 127.0.0.1:8000, got "localhost:80"',
        ),
        ({"standalone": {"statsListen": {"a/b": "host.lan:0"}}}, "standalone.statsListen[a/b]", "an IP address"),
        (shared({"to": "a/b"}, "host.lan:80"), "standalone.sharedListeners.main.address", "an IP address"),
        ({"standalone": {"webListen": ":1"}}, "standalone.webListen", "expected a host name"),
        ({"standalone": {"statsListen": "a:65536"}}, "standalone.statsListen", "from 0 to 65535"),
    ],
)
def test_mistakes(config: dict[str, Any], field: str, part: str) -> None:
    found = mistakes(config)

    assert list(found) == [field]
    assert part in found[field]


def test_all_mistakes_are_told_at_once() -> None:
    found = mistakes({"a": 1, "metricInformer": {"periodSeconds": "5", "prometheus": {}}, "standalone": {"listen": 1}})

    assert list(found) == [
        "a",
        "metricInformer.periodSeconds",
        "metricInformer.prometheus.address",
        "standalone.listen",
    ]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("metricInformer: {}", "no such field"),
        ("confg: {}", "did you mean config?"),
        ("[]", "expected a mapping, got a list"),
        ("config: {}\n---\nconfig: {}", "expected one YAML document, got 2"),
        ("config:\n\ta: 1", "YAML does not allow tabs"),
        ("config: {}\nconfig: {}", "is there twice"),
        ("kind: ModelDeployment", "a settings file begins with `config:`"),
    ],
)
def test_files_that_are_no_settings(text: str, part: str) -> None:
    parsed = settings_file.parse(text)

    assert not isinstance(parsed, Settings)
    assert part in parsed[0].message


@pytest.mark.parametrize(("informer", "direct", "mixed"), [({}, 1, 5), ({"periodSeconds": 3}, 3, 3)])
def test_the_period_is_shorter_for_metrics_read_straight_from_the_servers(
    read: Read, informer: dict[str, int], direct: int, mixed: int
) -> None:
    queue = {"type": "Pods", "pods": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": 4}}}
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 5}}}
    servers = {"metricServiceRef": {"name": "a", "targetPort": 80}}
    parsed = settings({"metricInformer": informer})

    def period(metrics: list[object], **spec: object) -> float:
        (model,) = read({"metrics": metrics}, spec=spec).specs
        return settings_file.period(model, parsed).total_seconds()

    assert period([queue, queue], **servers) == direct
    assert period([queue, cpu], **servers) == mixed
    assert period([queue]) == mixed
    assert period([], **servers) == mixed


@pytest.mark.parametrize(("informer", "seconds"), [({}, 4.0), ({"periodSeconds": 1}, 0.8)])
def test_an_answer_may_take_four_fifths_of_the_period(informer: dict[str, int], seconds: float) -> None:
    config = asking()
    config["metricInformer"] |= informer
    parsed = settings(config)

    assert parsed.prometheus is not None
    assert parsed.prometheus.timeout.total_seconds() == seconds


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JUNK = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)


def places(node: Any) -> Any:  # noqa: ANN401 - JSON
    """Yield every place in a tree where a value stands."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        yield node, key
        yield from places(value)


@given(st.data())
@with_settings(deadline=None)
def test_any_one_field_replaced_by_junk_gives_settings_or_mistakes(data: st.DataObject) -> None:
    document = deepcopy(FULL)
    place, key = data.draw(st.sampled_from(list(places(document))))
    place[key] = data.draw(JUNK)

    parsed = settings_file.read(document)

    assert isinstance(parsed, Settings) or all(each.message for each in parsed)


def test_secrets_for_metrics_are_files_by_namespace_or_those_of_the_machine() -> None:
    key, secret = ModelKey("models", "llama"), SecretKey("servers", "token")
    mounted, machine = (
        Settings(metric_secrets="/mounted"),
        Settings(standalone=StandaloneSettings(secrets_directory="/here")),
    )

    assert mounted.secret_file(key, secret) == Path("/mounted/models/servers/token")
    assert machine.secret_file(key, secret) == Path("/here/servers/token")
    assert Settings().secret_file(key, secret) is None
