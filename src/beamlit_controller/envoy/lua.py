"""Lua filters for what Envoy's configuration can't express."""

import string
from collections.abc import Iterable

from beamlit_controller.envoy.messages import Message, extension


def filter_of(source: str, *, name: str = "envoy.filters.http.lua") -> Message:
    """Return the HTTP filter that runs this program; if the program fails, the request passes unchanged.

    Its comments and indentation are left out: a model with many remotes has many copies, and a ConfigMap holds 1 MiB.
    """
    return extension(
        name,
        "envoy.extensions.filters.http.lua.v3.Lua",
        default_source_code={"inline_string": _compact(source)},
    )


def _compact(source: str) -> str:
    stripped = (line.strip() for line in source.splitlines())
    return "".join(f"{line}\n" for line in stripped if line and not line.startswith("--"))


def together(*programs: str) -> str:
    """Combine programs into one, so that a request costs only one Lua call: each sees the request, then the response, in order.

    If one responds or waits, the following ones do not run, as with filters.
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


TRIMMED = """
-- Give the text without the blanks at both ends, in linear time: a pattern with a blank run at its end is tried from each blank.
local function trimmed(text, first, last)
  first, last = string.find(text, "%S", first or 1), last or #text
  if first == nil then return "" end
  while last >= first and string.find(text, "^%s", last) do last = last - 1 end
  return string.sub(text, first, last)
end
"""
"""A snippet for programs and format strings alike."""


def keys(names: Iterable[str]) -> str:
    """Return the fields of a table that has these keys."""
    return ", ".join(f"[{text(name)}] = true" for name in dict.fromkeys(names))


def text(value: str) -> str:
    """Return a Lua string literal of exactly these bytes."""
    plain = (string.ascii_letters + string.digits).encode()
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03d}" for byte in value.encode()) + '"'
