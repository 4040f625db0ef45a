"""A listener that several models share: a separate Envoy that selects the model and forwards the request to its gateway.

Only that gateway decides whether the request may go to the remote, so its rules can't be bypassed here.
"""

import json
from collections.abc import Iterable

from beamlit_controller.api.settings import SharedListener, SharedRoute
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.envoy import addresses, bootstrap, json_scan, listeners, lua, paths, resources, routes, upstream
from beamlit_controller.envoy.config import CLUSTER, LISTENER, ROUTES, Files
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.envoy.messages import Message, typed

MODEL = "x-offload-model"
"""The internal header that has the model's name for the routes; it is not sent any further."""
LARGEST = 32 * 1024 * 1024
"""Maximum size in bytes of a body that is read for the model's name; a longer one names none."""

CHOOSE = """
local LARGEST = {largest}

-- Give the one name that the text has; nil if it has none, or several, or is nothing that can be read for sure. Of a text that is too
-- much work, the name that was found until then counts.
local function named(text)
  local name = nil
  local is_read = read_names(text, function() return false end, function(found)
    local differs = name ~= nil and name ~= found
    name = found
    return not differs
  end)
  return (is_read or work > MOST_WORK) and name or nil
end

local function asked(path)
  local mark = find(path, "?", 1, true)
  if mark == nil then return nil end
  for piece in string.gmatch(sub(path, mark), "[^?&;]+") do
    local key, value = string.match(piece, "^([^=]*)=?(.*)$")
    if string.lower(decoded(key)) == "model" then return decoded(value) end
  end
  return nil
end

local function in_body(handle, headers)
  if headers:get("upgrade") ~= nil or headers:get("content-encoding") ~= nil then return nil end
  if (tonumber(headers:get("content-length") or "0") or LARGEST + 1) > LARGEST then return nil end
  local body = handle:body()
  if body == nil or body:length() == 0 then return nil end
  return named(body:getBytes(0, body:length()))
end

function envoy_on_request(handle)
  local headers = handle:headers()
  headers:remove("{header}")
  local name = asked(headers:get(":path")) or in_body(handle, headers)
  if name == nil or find(name, "%c") ~= nil then name = "" end
  handle:headers():replace("{header}", name)
  handle:clearRouteCache()
end
"""


def files(name: ModelKey, shared: SharedListener, params: GatewayParams, *, gateways: dict[ModelKey, str]) -> Files:
    """Return name and text of every file of the listener's Envoy; `gateways` are the listen addresses of the models' gateways."""
    spec = OffloadSpec(name, name.name)
    models = sorted({route.to for route in shared.routes}, key=str)
    clusters = [_cluster(model, gateways[model]) for model in models]
    return {
        "bootstrap.json": json.dumps(bootstrap.bootstrap(spec, params), indent=2) + "\n",
        "cds.json": _resources(CLUSTER, clusters),
        "rds-front.json": _resources(ROUTES, [_table(shared, params)]),
        "lds.json": _resources(LISTENER, [listeners.front(spec, params, filters=_filters(shared))]),
    }


def _resources(kind: str, messages: Iterable[Message]) -> str:
    return resources.text([typed(kind, **message) for message in messages])


def _cluster(model: ModelKey, address: str) -> Message:
    host, port = addresses.split(address)
    server = addresses.join(bootstrap.ANYWHERE.get(host, host), port)
    return {
        "name": str(model),
        **upstream.discovery([server]),
        "connect_timeout": "1s",
        "circuit_breakers": upstream.UNLIMITED,
        "typed_extension_protocol_options": upstream.as_the_client(),
        "load_assignment": upstream.load_assignment(str(model), [upstream.server(addresses.message(server))]),
    }


def _filters(shared: SharedListener) -> list[Message]:
    names = [route.model for route in shared.routes if route.model is not None]
    if not names:
        return []
    program = json_scan.SCAN + json_scan.DECODED + CHOOSE
    longest = max(len(name.encode()) for name in names)
    return [lua.filter_of(program.format(longest=longest, largest=LARGEST, header=MODEL))]


def _table(shared: SharedListener, params: GatewayParams) -> Message:
    names = list(dict.fromkeys(route.model for route in shared.routes if route.model is not None))
    host: Message = {
        "name": routes.FRONT,
        "domains": ["*"],
        "request_body_buffer_limit": LARGEST,
        "request_headers_to_remove": [MODEL, routes.PROBE_HEADER, "x-envoy-external-address"],
        "routes": [
            *routes.probed(params.node),
            *_unread(names),
            *map(_route, shared.routes),
            *_list_of(names),
            _nobody(names),
        ],
    }
    return {"name": routes.FRONT, "virtual_hosts": [host]}


def _unread(names: list[str]) -> list[Message]:
    """Return the route of a request whose body has not been read yet: Envoy buffers that much only for a route with a cluster."""
    absent = {"name": MODEL, "present_match": False}
    unread = {"match": {"prefix": "/", "headers": [absent]}, "route": {"cluster": "unread"}}
    return [{"name": "unread", **unread}] if names else []


def _route(route: SharedRoute) -> Message:
    # A restarted gateway is available again within a second.
    again = {"retry_on": "connect-failure", "num_retries": 5, "retry_back_off": {"base_interval": "0.2s"}}
    action: Message = {"cluster": str(route.to), "timeout": "0s", "retry_policy": again}
    if route.path_prefix is not None and route.strip_prefix:
        # The prefix with its slash, and what follows; the prefix alone becomes the root.
        pattern = rf"^{paths.literal(route.path_prefix)}/?"
        action["regex_rewrite"] = {"pattern": {"regex": pattern}, "substitution": "/"}
    path: Message = {"path_separated_prefix": route.path_prefix} if route.path_prefix is not None else {"prefix": "/"}
    return {"name": "shared", "match": {**path, "headers": list(_headers(route))}, "route": action}


def _headers(route: SharedRoute) -> Iterable[Message]:
    if route.model is not None:
        yield {"name": MODEL, "string_match": {"exact": route.model}}
    if route.host is not None:
        host = rf"(?i){paths.literal(addresses.bracketed(route.host))}(?::[0-9]+)?"
        yield {"name": ":authority", "string_match": {"safe_regex": {"regex": host}}}
    if route.header is not None:
        name, value = route.header
        yield {"name": name, "string_match": {"exact": value}}


def _list_of(names: list[str]) -> list[Message]:
    """Answer with the list of models, which clients of OpenAI's API request."""
    if not names:
        return []
    listed = [{"id": name, "object": "model", "created": 0, "owned_by": "local"} for name in names]
    get = {"name": ":method", "string_match": {"exact": "GET"}}
    return [
        {
            "name": "models",
            "match": {"path": "/v1/models", "headers": [get]},
            **_answer(200, {"object": "list", "data": listed}),
        }
    ]


def _nobody(names: list[str]) -> Message:
    known = f"; models: {', '.join(names)}" if names else ""
    message = f"no route of this listener leads from this request to a model{known[:1000]}"
    error = {"message": message, "type": "invalid_request_error", "code": "model_not_found"}
    return {"name": "nobody", "match": {"prefix": "/"}, **_answer(404, {"error": error})}


def _answer(status: int, content: Message) -> Message:
    return {
        "direct_response": {"status": status, "body": {"inline_string": json.dumps(content)}},
        "response_headers_to_add": [
            {
                "header": {"key": "content-type", "value": "application/json"},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
    }
