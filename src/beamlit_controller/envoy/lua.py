"""Lua filters for what Envoy's configuration can't express."""

import string

from beamlit_controller.envoy.messages import Message, extension


def filter_of(source: str, *, name: str = "envoy.filters.http.lua") -> Message:
    """Give the HTTP filter that runs this program; an error in it lets the request pass as it is."""
    return extension(
        name,
        "envoy.extensions.filters.http.lua.v3.Lua",
        default_source_code={"inline_string": source.strip() + "\n"},
    )


def text(value: str) -> str:
    """Give a literal of the program that means exactly these bytes."""
    plain = (string.ascii_letters + string.digits).encode()
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03d}" for byte in value.encode()) + '"'
