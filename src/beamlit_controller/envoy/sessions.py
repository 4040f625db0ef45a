"""Session stickiness: sessions stay on their side while the percentage changes.

Envoy hashes the session and compares the hash with the share, so no state is kept.
"""

from beamlit_controller.core.stickiness import CookieStickiness, HeaderStickiness
from beamlit_controller.envoy import lua
from beamlit_controller.envoy.messages import Message, extension

SESSION = "x-offload-session"
"""The internal header that has the cookie's value within the gateway."""

# Linear time, however long and malformed the cookies are.
COOKIE = """
local NAME, HEADER = {name}, {header}
function envoy_on_request(handle)
  local cookies = handle:headers():get("cookie")
  if cookies == nil then return end
  for cookie in string.gmatch(cookies, "[^;]+") do
    local sign = string.find(cookie, "=", 1, true)
    if sign ~= nil and trimmed(cookie, 1, sign - 1) == NAME then
      local value = trimmed(cookie, sign + 1, #cookie)
      if value ~= "" then
        handle:headers():replace(HEADER, value)
        handle:clearRouteCache()
        return
      end
    end
  end
end
"""


def filters(stickiness: HeaderStickiness | CookieStickiness | None) -> list[Message]:
    """Return the HTTP filter that copies the session from a cookie, where routes can't read it, to a header."""
    if not isinstance(stickiness, CookieStickiness):
        return []
    return [lua.filter_of((lua.TRIMMED + COOKIE).format(name=lua.text(stickiness.cookie), header=lua.text(SESSION)))]


def header(stickiness: HeaderStickiness | CookieStickiness) -> str:
    """Return the header that identifies the session."""
    return stickiness.header.lower() if isinstance(stickiness, HeaderStickiness) else SESSION


def offloaded(stickiness: HeaderStickiness | CookieStickiness, share: Message) -> Message:
    """Match the sessions below the share: the same ones while it is constant, and more of them as it rises."""
    chosen = extension(
        "envoy.matching.matchers.runtime_fraction",
        "envoy.extensions.matching.input_matchers.runtime_fraction.v3.RuntimeFraction",
        runtime_fraction=share,
    )
    return {"single_predicate": {"input": _input(stickiness), "custom_match": chosen}}


def has_session(stickiness: HeaderStickiness | CookieStickiness) -> Message:
    """Match requests that belong to a session."""
    anything: Message = {"safe_regex": {"google_re2": {}, "regex": r"\C+"}}
    return {"single_predicate": {"input": _input(stickiness), "value_match": anything}}


def _input(stickiness: HeaderStickiness | CookieStickiness) -> Message:
    kind = "envoy.type.matcher.v3.HttpRequestHeaderMatchInput"
    return extension("session", kind, header_name=header(stickiness))
