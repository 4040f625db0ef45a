"""Listeners that several models share, as users write them in `config.standalone.sharedListeners`."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, WithJsonSchema

from beamlit_controller.api import addresses, listen_addresses, scalars
from beamlit_controller.api.model import StrictModel
from beamlit_controller.api.request_rules import matchable_path
from beamlit_controller.api.rules import AllOrNone, Mistake, Rule
from beamlit_controller.api.scalars import RequestPath, Token, Word

_ModelKey = Annotated[
    str,
    *scalars.matching(
        r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        "namespace/name, such as default/llama",
    ),
]


def _address(text: str) -> str:
    addresses.parse(text)
    listen_addresses.parse(text)
    return text


def _host(text: str) -> str:
    addresses.parse_host(text)
    return text


def _prefix(text: str) -> str:
    if text.endswith("/"):
        raise ValueError("expected a path without a trailing /: /embed matches /embed and everything below it")
    return matchable_path(text)


class SharedRouteConfig(StrictModel):
    """Requests that go to a model: those that match all given fields, or every request if none is given."""

    rules: ClassVar[tuple[Rule, ...]] = (AllOrNone("header", "value"),)

    to: _ModelKey = Field(
        description="The model, as `namespace/name` of its ModelDeployment. `listen` must have its address."
    )
    model: Word | None = Field(
        default=None,
        description="The top-level `model` in a JSON body, or the query parameter `model`, as in the OpenAI API.",
    )
    path_prefix: Annotated[RequestPath, AfterValidator(_prefix)] | None = Field(
        default=None, description="Prefix of the path, in whole segments: `/embed` also matches `/embed/v1/embeddings`."
    )
    strip_prefix: bool = Field(
        default=False, description="Remove `pathPrefix` from the path before the request goes to the model."
    )
    host: Annotated[str, AfterValidator(_host)] | None = Field(
        default=None, description="The request's host, without port; letter case is ignored."
    )
    header: Token | None = Field(default=None, description="Name of a header.")
    value: Word | None = Field(default=None, description="The value of `header`, exactly.")

    @classmethod
    def mistakes(cls, given: Mapping[Any, object]) -> Iterator[Mistake]:
        """Check that there is a prefix to remove."""
        yield from super().mistakes(given)
        if given.get("stripPrefix") is True and "pathPrefix" not in given:
            yield Mistake(("stripPrefix",), "needs pathPrefix")


class SharedListenerConfig(StrictModel):
    """An address that several models share."""

    address: Annotated[str, AfterValidator(_address), WithJsonSchema({"type": "string"})] = Field(
        description="host:port that clients connect to."
    )
    routes: list[SharedRouteConfig] = Field(
        min_length=1,
        max_length=200,
        description="Routes in order; the first that matches is used. A route with `to` alone matches every request.",
    )


def leads_nowhere(shared: object, listen: object) -> Iterator[Mistake]:
    """Yield the routes to models without a listen address of their own."""
    known = listen if isinstance(listen, Mapping) else {}
    for name, each in shared.items() if isinstance(shared, Mapping) else ():
        given = each if isinstance(each, Mapping) else {}
        routes = given.get("routes")
        for index, route in enumerate(routes if isinstance(routes, list) else ()):
            to = route.get("to") if isinstance(route, Mapping) else None
            if isinstance(to, str) and (not isinstance(known.get(to), str) or str(known[to]).endswith(":0")):
                yield Mistake(
                    ("sharedListeners", str(name), "routes", index, "to"),
                    f"{to} needs an address of its own in config.standalone.listen, with a port: its gateway is reached there",
                )
