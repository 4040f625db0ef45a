"""The remote's path and headers for requests that name one of several models."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NamedAddress:
    """The path prefix and headers of requests for the model that the remote calls `name`, if they depend on the model."""

    name: str
    path_prefix: str
    headers_to_add: tuple[tuple[str, str], ...]
