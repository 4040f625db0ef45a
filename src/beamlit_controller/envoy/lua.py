"""Lua filters for what Envoy's configuration can't express."""

import string

from beamlit_controller.envoy.messages import Message, extension


def filter_of(source: str, *, name: str = "envoy.filters.http.lua") -> Message:
    """Return the HTTP filter that runs this program; an error in it lets the request pass as it is."""
    return extension(
        name,
        "envoy.extensions.filters.http.lua.v3.Lua",
        default_source_code={"inline_string": source.strip() + "\n"},
    )


def together(*programs: str) -> str:
    """Return one program of several, which costs a request only once: each sees the request, then the answer, in this order.

    One that responds or waits keeps those after it from their turn, as filters do.
    """
    blocks = [
        f"do\nenvoy_on_request, envoy_on_response = nil, nil\n{program.strip()}\nturns[{number}] = "
        "{envoy_on_request, envoy_on_response}\nend\n"
        for number, program in enumerate(programs, 1)
    ]
    return "".join(("local turns = {}\n", *blocks, TURNS))


TURNS = """
function envoy_on_request(handle)
  for _, turn in ipairs(turns) do turn[1](handle) end
end

function envoy_on_response(handle)
  for _, turn in ipairs(turns) do turn[2](handle) end
end
"""


def text(value: str) -> str:
    """Return a literal of the program that means exactly these bytes."""
    plain = (string.ascii_letters + string.digits).encode()
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03d}" for byte in value.encode()) + '"'
