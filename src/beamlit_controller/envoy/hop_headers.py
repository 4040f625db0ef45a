"""Removes request headers that the remote must not see, and response headers that clients and proxies must not see.

On the way to the remote it removes our own headers, those of proxies, the client's identity and credentials, and what
could redirect the request, also from the query. From responses it removes instructions to proxies and browsers.
"""

from urllib.parse import quote

from beamlit_controller.core.spec import AwsSignature, RemoteBackend
from beamlit_controller.envoy import lua, paths, sensitive_names, sensitive_query
from beamlit_controller.envoy.messages import Message, extension, typed
from beamlit_controller.envoy.negation import not_beginning
from beamlit_controller.envoy.sensitive_names import OF_PROXIES, OURS, PRIVATE

REMOVE = """
local ADDED = {added}
local PROTOCOL = "sec-websocket-protocol"
local SECRET = {{"bearer", "token", "key", "auth", "jwt", "secret", "organization", "project"}}

local function without(query)
  local kept = {{}}
  for mark, piece in string.gmatch("&" .. query, "([&;?])([^&;?]*)") do
    if not is_removed(words_of(string.match(piece, "^[^=]*")), piece) then
      kept[#kept + 1] = mark .. piece
    end
  end
  return string.sub(table.concat(kept), 2)
end

-- Names of protocols are short, in lower case, and have few digits.
local function harmless(protocol)
  local lower = string.lower(protocol)
  local _, digits = string.gsub(lower, "%d", "")
  if #lower > 64 or digits > 4 or string.sub(lower, 1, 2) == "ey" then return false end
  if #lower >= 20 and lower ~= protocol then return false end
  for _, word in ipairs(SECRET) do
    if string.find(lower, word, 1, true) then return false end
  end
  return true
end

-- Give the protocols without keys: `token, KEY` names one and then has it.
local function without_keys(headers)
  local kept, is_named = {{}}, false
  for index = 0, headers:getNumValues(PROTOCOL) - 1 do
    for protocol in string.gmatch(headers:getAtIndex(PROTOCOL, index), "[^%s,]+") do
      local is_kept = harmless(protocol) and not is_named
      if is_kept then kept[#kept + 1] = protocol end
      is_named = not is_kept and not is_named and string.find(protocol, "^[%a_-]+$") ~= nil
    end
  end
  return kept
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local path, query = string.match(headers:get(":path"), "^([^?]*)%??(.*)$")
  local kept = without(query)
  if ADDED ~= "" then kept = kept == "" and ADDED or kept .. "&" .. ADDED end
  headers:replace(":path", kept == "" and path or path .. "?" .. kept)
  if headers:get(PROTOCOL) == nil or FORWARDS then return end
  local protocols = without_keys(headers)
  headers:remove(PROTOCOL)
  if #protocols > 0 then headers:add(PROTOCOL, table.concat(protocols, ", ")) end
end
"""

# Instructions to a proxy, a cache or a framework in front of us, and the gateway's own marks except those that the hop sets.
# (`x-accel-buffering` is kept: it only disables buffering, as streams need.)
ORDERS = (
    f"x-offload{not_beginning(('-remote', '-served-by'))}",
    "x-envoy-.*",
    f"x-accel-{not_beginning(['buffering'])}",
    "x-(?:sendfile|lighttpd-|litespeed-|lsadc-|reproxy-|middleware-|nextjs-|now-route-|appengine-blob|akamai-).*",
    "x-(?:internal-redirect|matched-path|original-url|rewrite-url|request-uri)",
    "(?:surrogate|edge|akamai|netlify)-.*|cf-edge-cache|xkey",
    "proxy-auth.*",
    ".+-cache-control|(?:.+-)?cache-tags?",
)

# What browsers store, do or report for the whole origin, which is ours and not the remote's.
OF_AN_ORIGIN = (
    "(?:accept|critical)-ch.*|(?:idp-)?(?:login|signin-status)|set-login|set-cookie2",
    "(?:ad-auction|attribution-reporting|origin|secure-session|service-worker)-.*",
    f"sec-{not_beginning(['websocket'])}",
    "(?:integrity-policy|public-key-pins|reporting|report-to).*",
    "activate-storage-access|alt-svc|clear-site-data|connection-allowlist|expect-ct|nel|no-vary-search|observe-browsing-topics",
    "speculation-rules|strict-transport-security|use-as-dictionary",
)
# What concerns the client's own credentials.
OF_CREDENTIALS = ("set-cookie", "www-authenticate", "(?:authentication|authorization)-info")

AWS = "x-amz-"
"""Headers of AWS' own protocols. The signature would vouch for a client's, one of which selects the operation (`x-amz-target`).

Options of Bedrock and SageMaker for a request are called `x-amzn-…`.
"""

QUERY_FILTER = "offload.query"


WITHOUT_QUERY: Message = {
    "typed_per_filter_config": {QUERY_FILTER: typed("envoy.config.route.v3.FilterConfig", disabled=True)}
}
"""Disables the Lua filters on routes whose requests have neither a query nor an upgrade."""


def withheld(remote: RemoteBackend) -> Message:
    """Return the early header mutation that removes what the remote must not see, before anything reads it."""
    steering = sensitive_names.patterns(
        forwards_credentials=remote.forward_client_authorization, selects_model=remote.model_names is not None
    )
    names = "|".join((*PRIVATE, *map(paths.literal, remote.headers_to_remove), *steering))
    signed = (AWS,) if isinstance(remote.auth, AwsSignature) else ()
    prefixes = "|".join((*OURS, *OF_PROXIES, *signed))
    # Two expressions: of a single one the automaton has so many states that a long name fills its memory.
    keys = () if remote.forward_client_authorization else (sensitive_names.KEYS,)
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[
            _matching({"safe_regex": {"regex": f"(?i)(?:{each})"}}) for each in (f"{names}|(?:{prefixes}).*", *keys)
        ],
    )


def filters(remote: RemoteBackend) -> list[Message]:
    """Return the HTTP filters that remove the same from the query, WebSocket protocols and trailers, and hints from responses.

    Configured query parameters are added last, replacing the client's in any spelling.
    """
    added = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in remote.query_to_add)
    program = sensitive_query.is_removed(remote) + REMOVE.format(added=lua.text(added))
    return [lua.filter_of(program, name=QUERY_FILTER), _mutation(remote)]


def _mutation(remote: RemoteBackend) -> Message:
    credentials = () if remote.forward_client_authorization else OF_CREDENTIALS
    orders = _matching({"safe_regex": {"regex": f"(?i)(?:{'|'.join((*ORDERS, *OF_AN_ORIGIN, *credentials))})"}})
    ours = _matching({"prefix": "x-offload", "ignore_case": True})
    return extension(
        "envoy.filters.http.header_mutation",
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={
            # Inference clients send no trailers, and these would bypass everything that is removed above.
            "request_trailers_mutations": [_matching({"safe_regex": {"regex": ".*"}})],
            "response_mutations": [orders],
            "response_trailers_mutations": [orders, ours],
        },
    )


def _matching(matcher: Message) -> Message:
    return {"remove_on_match": {"key_matcher": matcher}}
