"""The remote's path, query and headers as users write them: what is filled in, and what is refused."""

from collections.abc import Callable
from typing import Any

import pytest

from beamlit_controller.api.manifests import Parsed
from beamlit_controller.core.named_address import NamedAddress
from beamlit_controller.core.spec import RemoteBackend

Read = Callable[[dict[str, Any]], Parsed]
Mistakes = Callable[[dict[str, Any]], dict[str, str]]

AZURE = "/openai/deployments/$remoteModel"


def backend(read: Read, **given: object) -> RemoteBackend:
    (spec,) = read({"remoteBackend": {"host": "a.b", **given}}).specs
    assert spec.remote is not None
    return spec.remote


@pytest.mark.parametrize(
    ("path", "replaced", "prefix"),
    [
        ({"replacePrefix": "/v1", "with": "/v1beta/openai"}, "/v1", "/v1beta/openai"),
        ({"replacePrefix": "/v1/", "with": "/v1beta/openai/"}, "/v1", "/v1beta/openai"),
        ({"replacePrefix": "/v1", "with": "/"}, "/v1", ""),
        ({"replacePrefix": "/v1", "with": "/$workspace/$model"}, "/v1", "/models/llama"),
    ],
)
def test_a_prefix_takes_the_place_of_another(read: Read, path: dict[str, str], replaced: str, prefix: str) -> None:
    remote = backend(read, path=path)

    assert (remote.replaced_prefix, remote.path_prefix, remote.by_model) == (replaced, prefix, ())


@pytest.mark.parametrize(
    ("names", "filled"),
    [
        ({}, "llama"),
        ({"modelName": "gpt x"}, "gpt%20x"),
        ({"modelNames": {"llama": "gpt-x", "sql-lora": "gpt-x", "law-lora": None}}, "gpt-x"),
        ({"modelNames": {"llama": None}}, "llama"),
    ],
)
def test_one_name_at_the_remote_is_filled_in_once(read: Read, names: dict[str, Any], filled: str) -> None:
    remote = backend(read, pathPrefix=AZURE, headersToAdd={"x-model": "$remoteModel of $workspace, $5"}, **names)

    assert remote.path_prefix == f"/openai/deployments/{filled}"
    assert remote.headers_to_add == (("x-model", f"{filled} of models, $5"),)
    assert remote.by_model == ()


def test_several_names_make_several_addresses_that_of_the_models_own_first(read: Read) -> None:
    remote = backend(read, pathPrefix=AZURE, headersToAdd={"x-a": "$remoteModel"}, modelNames={"a": "y", "llama": "x"})

    assert remote.by_model == (
        NamedAddress("x", "/openai/deployments/x", (("x-a", "x"),)),
        NamedAddress("y", "/openai/deployments/y", (("x-a", "y"),)),
    )
    assert (remote.path_prefix, remote.headers_to_add) == ("/openai/deployments/x", (("x-a", "x"),))


def test_several_names_make_one_address_where_it_does_not_depend_on_them(read: Read) -> None:
    remote = backend(read, pathPrefix="/$model", modelNames={"a": "y", "llama": "x"})

    assert remote.by_model == ()


def test_parameters_of_the_query_reach_the_core_as_they_are(read: Read) -> None:
    remote = backend(read, query={"api-version": "2024-10-21", "a b": "$model&?"})

    assert remote.query_to_add == (("a b", "$model&?"), ("api-version", "2024-10-21"))


@pytest.mark.parametrize(
    ("given", "field", "part"),
    [
        ({"path": "/v1"}, "path", "expected a mapping, got text"),
        ({"path": {"replacePrefix": "/v1"}}, "path.with", "required"),
        ({"path": {"with": "/v1"}}, "path.replacePrefix", "required"),
        (
            {"path": {"replacePrefix": "v1", "with": "/"}},
            "path.replacePrefix",
            'such as /v1, of letters, digits and -._~, got "v1"',
        ),
        (
            {"path": {"replacePrefix": "/", "with": "/a"}},
            "path.replacePrefix",
            'such as /v1, of letters, digits and -._~, got "/"',
        ),
        ({"path": {"replacePrefix": "/v1//a", "with": "/a"}}, "path.replacePrefix", "such as /v1"),
        ({"path": {"replacePrefix": "/v%31", "with": "/a"}}, "path.replacePrefix", "such as /v1"),
        ({"path": {"replacePrefix": "/$model", "with": "/a"}}, "path.replacePrefix", "such as /v1"),
        ({"path": {"replacePrefix": "/a/..", "with": "/a"}}, "path.replacePrefix", "may not have . or .."),
        ({"path": {"replacePrefix": "/v1", "with": "/a?b"}}, "path.with", "no ?"),
        ({"path": {"replacePrefix": "/v1", "with": "/$remotemodel"}}, "path.with", "unknown variable $remotemodel"),
        (
            {"path": {"replacePrefix": "/v1", "with": "/a"}, "pathPrefix": "/b"},
            "pathPrefix",
            "may not be set together with path",
        ),
        ({"query": {"": "x"}}, "query", "empty name"),
        ({"query": {"a": ""}}, "query.a", "empty"),
        ({"query": {"a": "b\r\n"}}, "query.a", "control characters"),
        ({"query": {"a": 1}}, "query.a", "put it in quotes"),
        ({"query": {"api-version": "1", "API_Version": "2"}}, "query.api-version", "given twice"),
        ({"query": {"Model": "x"}}, "query.Model", "set by modelName"),
        ({"pathPrefix": AZURE, "modelName": "../admin"}, "modelName", "$remoteModel stands in the path"),
        ({"pathPrefix": AZURE, "modelNames": {"a": "x/./y"}}, "modelNames.a", "$remoteModel stands in the path"),
    ],
)
def test_what_is_refused(mistakes: Mistakes, given: dict[str, Any], field: str, part: str) -> None:
    found = mistakes({"remoteBackend": {"host": "a.b", **given}})

    assert list(found) == [f"remoteBackend.{field}"]
    assert part in found[f"remoteBackend.{field}"]


def test_the_prefix_that_the_api_server_fills_in_may_stand_beside_a_path(read: Read) -> None:
    remote = backend(read, pathPrefix="/", path={"replacePrefix": "/v1", "with": "/a"})

    assert remote.path_prefix == "/a"
