"""Every mistake is told, with the field as users write it, what was expected and what came."""

from collections.abc import Callable
from typing import Any

import pytest

Mistakes = Callable[..., dict[str, str]]


def test_unknown_fields_name_the_nearest_known_one(mistakes: Mistakes) -> None:
    found = mistakes({"behaviour": {}, "behavior": {"percentge": 3}, "xyz": 1}, spec={"serviceref": {}})

    assert found["behaviour"] == "no such field, did you mean behavior?"
    assert found["behavior.percentge"] == "no such field, did you mean percentage?"
    assert found["spec.serviceref"] == "no such field, did you mean serviceRef?"
    assert found["xyz"].startswith("no such field, known here: allowOverride, behavior, keepLocal")


def test_many_unknown_fields_are_cut_short(mistakes: Mistakes) -> None:
    found = mistakes({"behavior": {f"field{i}": 1 for i in range(100)}})

    assert found["behavior"] == "80 more unknown fields"
    assert len(found) == 21


def test_text_that_is_too_long_is_told_in_characters_and_a_list_in_entries(mistakes: Mistakes) -> None:
    remote = {"host": "api.example.com", "pathPrefix": "/" + "a" * 20_000}

    found = mistakes({"remoteBackend": {**remote, "onStatus": [404] * 101}})

    assert found == {
        "remoteBackend.pathPrefix": "expected at most 1024 characters",
        "remoteBackend.onStatus": "expected at most 100 entries",
    }


@pytest.mark.parametrize("field", ["modelNames", "query", "headersToAdd"])
def test_names_are_as_short_as_their_values_have_to_be(mistakes: Mistakes, field: str) -> None:
    longest, longer = "a" * 1_024, "b" * 1_025

    found = mistakes({"remoteBackend": {"host": "api.example.com", field: {longest: "x", longer: "x"}}})

    assert list(found.values()) == ["expected a name of at most 1024 characters, got 1025"]


def test_unknown_values_name_the_nearest_known_one(mistakes: Mistakes) -> None:
    found = mistakes({"behavior": {"mode": "fixed", "onMetricsLoss": 3}})

    assert found["behavior.mode"] == 'expected one of Fixed, Proportional, Adaptive, got "fixed"; did you mean Fixed?'
    assert found["behavior.onMetricsLoss"] == "expected one of Hold, Release, Offload, got 3"


@pytest.mark.parametrize(
    ("behavior", "field", "message"),
    [
        ({"percentage": "50"}, "percentage", 'expected a whole number, got "50"; remove the quotes'),
        ({"percentage": 50.0}, "percentage", "expected a whole number, got 50.0"),
        ({"percentage": True}, "percentage", "expected a whole number, got true"),
        ({"percentage": 101}, "percentage", "expected at most 100, got 101"),
        ({"percentage": -1}, "percentage", "expected at least 0, got -1"),
        ({"percentage": None}, "percentage", "nothing is given; write a value or remove the line"),
        ({"percentage": [50]}, "percentage", "expected a whole number, got a list"),
        ({"dryRun": "true"}, "dryRun", 'expected true or false, got "true"; remove the quotes'),
        ({"dryRun": 1}, "dryRun", "expected true or false, got 1"),
        ({"engage": 3}, "engage", "expected a mapping, got a number"),
        (
            {"engage": {"stabilizationWindowSeconds": 3601}},
            "engage.stabilizationWindowSeconds",
            "expected at most 3600, got 3601",
        ),
        ({"engage": {"stepPercentage": 0}}, "engage.stepPercentage", "expected at least 1, got 0"),
        ({"release": {"tolerance": "-1m"}}, "release.tolerance", "must not be negative, got -1m"),
        (
            {"release": {"tolerance": True}},
            "release.tolerance",
            "expected a quantity such as 10, 0.5 or 500m, got true or false",
        ),
        ({"release": {"periodSeconds": 0}}, "release.periodSeconds", "expected at least 1, got 0"),
        ({"metricsLossSeconds": -1}, "metricsLossSeconds", "expected at least 0, got -1"),
    ],
)
def test_behavior(mistakes: Mistakes, behavior: dict[str, Any], field: str, message: str) -> None:
    assert mistakes({"behavior": behavior}) == {f"behavior.{field}": message}


@pytest.mark.parametrize(
    ("host", "part"),
    [
        ("https://api.example.com", "the scheme belongs in scheme: https"),
        ("ftp://api.example.com", "the scheme belongs in scheme: https"),
        ("api.example.com/v1", 'the path belongs in pathPrefix: "/v1"'),
        ("user:hunter2@api.example.com", "authConfig takes them from a Secret"),
        ("https://user:hunter2@api.example.com", "the scheme belongs in scheme"),
        ("api.example.com?x", "nothing after it"),
        ("::1", "an IPv6 address needs brackets"),
        ("api.example.com:https", "expected a port from 1 to 65535"),
        ("", "expected a host name"),
    ],
)
def test_host_says_where_everything_else_belongs(mistakes: Mistakes, host: str, part: str) -> None:
    found = mistakes({"remoteBackend": {"host": host}})

    assert list(found) == ["remoteBackend.host"]
    assert part in found["remoteBackend.host"]
    assert "hunter2" not in found["remoteBackend.host"]


@pytest.mark.parametrize(
    ("prefix", "part"),
    [
        ("v1", "must begin with /"),
        ("/a b", "no blanks"),
        ("/a?b", "no ?"),
        ("/a#b", "#"),
        ("/a\r\nHost: x", "no control characters"),
        ("/$workpace", "unknown variable $workpace"),
        ("/$modelname", "unknown variable $modelname"),
        ("/${model}", "unknown variable"),
        ("/$", "unknown variable"),
        ("/a/../b", "may not have . or .."),
        ("/100%", "two hexadecimal digits"),
    ],
)
def test_path_prefix(mistakes: Mistakes, prefix: str, part: str) -> None:
    found = mistakes({"remoteBackend": {"host": "a.b", "pathPrefix": prefix}})

    assert list(found) == ["remoteBackend.pathPrefix"]
    assert part in found["remoteBackend.pathPrefix"]


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("Host", "x", "remoteBackend.host"),
        (":path", "x", "pseudo-header"),
        ("content-length", "3", "belongs to the connection"),
        ("Transfer-Encoding", "chunked", "belongs to the connection"),
        ("connection", "close", "belongs to the connection"),
        ("x-envoy-max-retries", "9", "the gateway reads it itself"),
        ("Authorization", "Bearer hunter2", "use authConfig"),
        ("a b", "hunter2", "not a header name"),
        ("", "hunter2", "not a header name"),
        ("x-a", "hunter2\r\nx-b: c", "a line break"),
        ("x-a", "hunter2\x00", "a NUL"),
        ("x-a", " hunter2", "a blank at its beginning"),
        ("x-a", "hunter2" * 1200, "at most 8192 bytes, got 8403"),
        ("x-a", "\u20ac" * 3000, "at most 8192 bytes, got 9003"),
        ("x" * 9000, "a", "at most 8192 bytes, got 9001"),
    ],
)
def test_headers_that_cant_be_added(mistakes: Mistakes, name: str, value: str, part: str) -> None:
    found = mistakes({"remoteBackend": {"host": "a.b", "headersToAdd": {name: value}}})

    (message,) = found.values()
    assert part in message
    assert "hunter2" not in str(found)


def test_a_header_is_given_once_in_whatever_letters(mistakes: Mistakes) -> None:
    found = mistakes({"remoteBackend": {"host": "a.b", "headersToAdd": {"X-Team": "a", "x-team": "b", "x-n": 3}}})

    assert found == {
        "remoteBackend.headersToAdd.x-team": "given twice: header names are case-insensitive",
        "remoteBackend.headersToAdd.x-n": "expected text, got a number; put it in quotes",
    }


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ({"type": "oauth"}, {"oauthConfig": "required with type oauth"}),
        ({"type": "apiKey"}, {"apiKeyConfig": "required with type apiKey"}),
        ({}, {"type": "required, but not given"}),
        (
            {"type": "none", "apiKeyConfig": {"secretRef": {"name": "a", "key": "b"}}},
            {"apiKeyConfig": "may not be set with type none"},
        ),
        (
            {"type": "apiKey", "apiKeyConfig": {"secretRef": "hunter2"}},
            {"apiKeyConfig.secretRef": "expected a mapping, got text"},
        ),
        (
            {"type": "apiKey", "apiKeyConfig": {"secretRef": {"name": "a", "key": ".."}}},
            {"apiKeyConfig.secretRef.key": "expected a key of letters, digits, '-', '_' and '.', got \"..\""},
        ),
    ],
)
def test_auth_config_has_exactly_what_its_type_names(
    mistakes: Mistakes, auth: dict[str, Any], expected: dict[str, str]
) -> None:
    found = mistakes({"remoteBackend": {"host": "a.b", "authConfig": auth}})

    assert found == {f"remoteBackend.authConfig.{field}": message for field, message in expected.items()}


def test_tls_needs_https(mistakes: Mistakes) -> None:
    found = mistakes({"remoteBackend": {"host": "a.b", "scheme": "http", "tls": {}}})

    assert found == {"remoteBackend.tls": "may not be set with scheme http: nothing is encrypted there"}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({}, {"": "required: one of header, pathPrefix"}),
        ({"header": "x"}, {".value": "required together with header"}),
        ({"value": "x"}, {".header": "required together with value"}),
        (
            {"header": "x", "value": "y", "pathPrefix": "/"},
            {".pathPrefix": "may not be set together with header: exactly one of header, pathPrefix"},
        ),
        ({"header": "a b", "value": "y"}, {".header": "expected a name as RFC 9110 allows it"}),
        ({"header": "x", "value": "a,b"}, {".value": "expected one value: no comma"}),
        ({"pathPrefix": "metrics"}, {".pathPrefix": "expected a path that begins with /"}),
        # What could never match.
        ({"pathPrefix": "/v1/chat?private=1"}, {".pathPrefix": "a rule can't contain a query"}),
        ({"pathPrefix": "/v1/private%2Ddata"}, {".pathPrefix": "write the character itself"}),
        ({"pathPrefix": "/v1%2fprivate"}, {".pathPrefix": "write the character itself"}),
        ({"pathPrefix": "/a%2"}, {".pathPrefix": "a % must be followed by two hexadecimal digits"}),
        ({"pathPrefix": "/a\\b"}, {".pathPrefix": "write single slashes"}),
        ({"pathPrefix": "/a//b"}, {".pathPrefix": "write single slashes"}),
        ({"pathPrefix": "/q/../w"}, {".pathPrefix": "may not have . or .. between slashes"}),
        ({"pathPrefix": "/q/."}, {".pathPrefix": "may not have . or .. between slashes"}),
        ({"header": "Cookie", "value": "a=b"}, {".header": "one header carries all cookies of a client"}),
        ({"header": "Host", "value": "a.test"}, {".header": "clients write a host with and without its port"}),
        ({"header": "connection", "value": "close"}, {".header": "it belongs to one connection"}),
        ({"header": "Upgrade", "value": "websocket"}, {".header": "it belongs to one connection"}),
        ({"header": "X-Envoy-Original", "value": "a"}, {".header": "the gateway removes it"}),
        ({"header": "x-offload-session", "value": "a"}, {".header": "the gateway removes it"}),
        ({"header": "x_data_class", "value": "a"}, {".header": "the gateway refuses requests with _"}),
    ],
)
def test_keep_local_entries_have_a_header_with_value_or_a_path(
    mistakes: Mistakes, entry: dict[str, str], expected: dict[str, str]
) -> None:
    found = mistakes({"keepLocal": [entry]})

    assert found.keys() == {f"keepLocal[0]{field}" for field in expected}
    assert all(found[f"keepLocal[0]{field}"].startswith(message) for field, message in expected.items())


def test_methods_go_with_a_path_that_may_leave(mistakes: Mistakes) -> None:
    found = mistakes({"mayLeave": [{"header": "x", "value": "y", "methods": ["GET"]}]})

    assert list(found) == ["mayLeave[0].methods"]
    assert list(mistakes({"mayLeave": [{"pathPrefix": "/", "methods": ["get"]}]})) == ["mayLeave[0].methods[0]"]
    assert list(mistakes({"keepLocal": [{"pathPrefix": "/a", "methods": ["GET"]}]})) == ["keepLocal[0].methods"]


@pytest.mark.parametrize("field", ["keepLocal", "mayLeave"])
def test_rules_that_are_too_much_for_envoy_are_refused(mistakes: Mistakes, field: str) -> None:
    rules = [{"pathPrefix": f"/{number}" + "!" * 400} for number in range(30)]

    found = mistakes({field: rules})

    assert list(found) == [field]
    assert not mistakes({field: rules[:20]})


@pytest.mark.parametrize("stickiness", [{}, {"header": "a", "cookie": "b"}])
def test_stickiness_is_by_header_or_by_cookie(mistakes: Mistakes, stickiness: dict[str, str]) -> None:
    assert len(mistakes({"stickiness": stickiness})) == 1
    assert not mistakes({"stickiness": {"cookie": "b"}})


@pytest.mark.parametrize(
    "header", ["session_id", "x-envoy-session", "X-Offload-Session", "Connection", "cookie", "host"]
)
def test_a_header_that_the_gateway_never_sees_tells_no_session(mistakes: Mistakes, header: str) -> None:
    assert list(mistakes({"stickiness": {"header": header}})) == ["stickiness.header"]


@pytest.mark.parametrize(
    "port", [0, 65536, -1, True, 1.5, "80", "", "UPPER", "a--b", "-a", "0123456789abcdef", "1-2", None, []]
)
def test_a_target_port_is_a_port_or_a_name(mistakes: Mistakes, port: object) -> None:
    assert list(mistakes(spec={"serviceRef": {"name": "a", "targetPort": port}})) == ["spec.serviceRef.targetPort"]


@pytest.mark.parametrize("port", [1, 65535, "http", "a-1", "metrics"])
def test_a_target_port_may_be_either(mistakes: Mistakes, port: object) -> None:
    assert not mistakes(spec={"serviceRef": {"name": "a", "targetPort": port}})


@pytest.mark.parametrize("name", ["", "Llama", "3llama", "llama.3", "a" * 56, "-a", "a-", "a/b", 3, None])
def test_names_that_a_service_could_not_have(mistakes: Mistakes, name: object) -> None:
    assert list(mistakes(metadata={"name": name})) == ["metadata.name"]


def test_an_annotation_that_is_no_text_is_a_mistake(mistakes: Mistakes) -> None:
    found = mistakes(metadata={"annotations": {"offloading.beamlit.com/override": 25}})

    said = found["metadata.annotations[offloading.beamlit.com/override]"]
    assert "expected text, got a number; put it in quotes" in said


def test_all_mistakes_are_told_at_once(mistakes: Mistakes) -> None:
    found = mistakes(
        {
            "remoteBackend": {"host": "localhost", "scheme": "htps"},
            "behavior": {"percentage": 200},
            "metrics": [{"type": "Pods"}, 3, {"type": "External", "external": {"metric": {"name": "a/b"}}}],
            "keepLocal": [{}],
            "overflow": {"onStatus": [200, "429"]},
        },
        spec={"modl": "x", "gateway": {"replicas": 0}},
        metadata={"name": "A"},
    )

    assert found.keys() == {
        "metadata.name",
        "spec.modl",
        "spec.gateway.replicas",
        "remoteBackend.host",
        "remoteBackend.scheme",
        "behavior.percentage",
        "metrics[0].pods",
        "metrics[1]",
        "metrics[2].external.target",
        "metrics[2].external.metric.name",
        "keepLocal[0]",
        "overflow.onStatus[0]",
        "overflow.onStatus[1]",
    }


def test_names_of_models_are_text_or_nothing(mistakes: Mistakes) -> None:
    found = mistakes({"remoteBackend": {"host": "a.b", "modelNames": {"a": 7, "b": None, "c": "d", "": "e"}}})

    assert {*found} == {"remoteBackend.modelNames.a", "remoteBackend.modelNames"}
