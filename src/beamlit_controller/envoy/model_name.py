"""Replaces the model's name in the body of requests to the remote; every other byte is unchanged."""

import json
import re
from collections.abc import Iterable
from urllib.parse import quote

from beamlit_controller.core.spec import RemoteBackend
from beamlit_controller.envoy import json_scan, lua, paths, response_model_name
from beamlit_controller.envoy.messages import Message

JSON = r"(?i)[ \t]*application/json[ \t]*(?:;[ \t]*charset=\"?(?:utf-?8|us-ascii)\"?[ \t]*)?"

KSERVE = r"/v[12]/models/(?:{names})(?::[a-z]+|(?:/versions/[0-9]+)?/[a-z_]+)(?:\?\C*)?"
"""Paths of KServe and Triton that name a model."""

# A scan, not a parser: re-serialized JSON would have different whitespace, a different order, and different large numbers.
NAMES = """
-- By the name in a request: the name at the remote as it stands in JSON and in a query, its number where routes ask for it,
-- and the name in the request as it stands in JSON where answers shall have it again.
local NAMES = {{{names}}}
"""

CHOICES = (
    *("model_id", "model_name", "model_uri", "target_model", "deployment", "deployment_id", "deployment_name"),
    *("engine", "engine_id", "engine_name", "adapter", "adapter_id", "lora", "lora_id", "lora_name", "lora_path"),
    *("lora_request", "inference_profile", "inference_profile_arn", "checkpoint", "peft"),
)
"""Keys and parameters by which some servers and providers select another model or adapter than the one in `model`."""

ORDERS = (
    *("models", "fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "context_window_fallback_dict"),
    *("user_config", "model_list", "extra_body", "custom_llm_provider", "api_base", "base_url", "preset"),
    *("providers", "route", "router", "routing", "agent", "agent_id", "assistant_id", "bot_id"),
)
"""Keys by which proxies and aggregators use other models, or send the request elsewhere."""

PARTS = ("model", "%f[%a]lora", "adapter", "fallback", "router_", "override")
"""Parts of keys that do the same, whatever else is in them: `fallback_models`, `modelVersion`, `router_settings_override`. Lua patterns."""

HARMLESS = ("disable_fallbacks",)
"""Keys with such a part that select nothing."""

OF_PROVIDER = ("order", "only", "allow_fallbacks")
"""Keys of an object `provider` that say who serves the model; others, such as `data_collection`, only say how."""

CONTAINERS = ("tools", "session", "parameters", "plugins")
"""Keys whose value, or each object in its list, may select a model for a part of the work: the `model` of a tool that makes images."""

RENAME = """local OTHERS, PARTS, CONTAINERS = {{{others}}}, {{{parts}}}, {{{containers}}}
local HARMLESS, OF_PROVIDER = {{{harmless}}}, {{{of_provider}}}

-- An object within another may say anything of a model, but for these keys; a null says nothing. The engine of a tool is no model.
local function selects(text, opening, also)
  return walk(text, opening, STRICT, function(written, after, last)
    local key = plain(written)
    if key == nil then return false end
    if key == "engine" or key ~= "model" and not OTHERS[key] and not also[key] then return true end
    local at, final = value(text, after, last)
    return at ~= nil and sub(text, at, final) == "null"
  end)
end

-- Give whether there is an object that selects a model, or something that can't be read. `also` has further keys that do.
local function has_model(text, after, last, also)
  local at, final = value(text, after, last)
  if at == nil then return true end
  if byte(text, at) == 123 then return selects(text, at, also) == nil end
  if byte(text, at) ~= 91 then return false end
  while work <= MOST_WORK do
    local _, before = find(text, "^[%s,]*", at + 1)
    local kind = byte(text, before + 1)
    work = work + 4
    if kind == 123 then
      at = selects(text, before + 1, also)
    elseif kind == 34 then
      at = string_end(text, before + 2)
    elseif before + 1 == final then
      return false
    else
      _, at = find(text, "^[%w.+%-]+", before + 1)
    end
    if at == nil then return true end
  end
  return true
end

local function is_other(key, text, after, last)
  if key == nil or OTHERS[key] then return true end
  if key == "provider" then
    local at = value(text, after, last)
    return at == nil or byte(text, at) == 34 or has_model(text, after, last, OF_PROVIDER)
  end
  for _, part in ipairs(PARTS) do
    if find(key, part) then return not HARMLESS[key] end
  end
  return CONTAINERS[key] ~= nil and has_model(text, after, last, {{}})
end

-- Give the text with another name and what is known of the last one, which counts as parsers have it; or nil if it names
-- another model or is nothing that can be read for sure.
local function renamed(text)
  local kept, pieces, last_name = 1, {{}}, nil
  local is_read = read_names(text, is_other, function(found, opening, closing)
    last_name = NAMES[found]
    if last_name == nil then return false end
    pieces[#pieces + 1] = sub(text, kept, opening) .. last_name.json
    kept = closing
    return true
  end)
  if not is_read then return nil end
  pieces[#pieces + 1] = sub(text, kept)
  return table.concat(pieces), last_name
end

"""

ACT = """-- By their letters; `model[]` and the like are read as `model`.
local OTHER_PARAMETERS = {{{parameters}}}

-- The same of a path with a query, as the WebSockets of some interfaces have it.
local function redirected(path)
  local mark = find(path, "?", 1, true)
  local last_name = nil
  local pieces = {{sub(path, 1, mark - 1)}}
  for before, piece in string.gmatch(sub(path, mark), "([?&;])([^?&;]*)") do
    local key, value = string.match(piece, "^([^=]*)=?(.*)$")
    local plain_key = string.lower(decoded(key))
    if plain_key ~= "model" and OTHER_PARAMETERS[string.gsub(plain_key, "[^%w]", "")] then return nil end
    if plain_key == "model" then
      local name = NAMES[decoded(value)]
      if name == nil then return nil end
      last_name = name
      piece = key .. "=" .. name.query
    end
    pieces[#pieces + 1] = before .. piece
  end
  return table.concat(pieces), last_name
end

local function decline(handle)
  handle:streamInfo():dynamicMetadata():set("{declined}", "declined", true)
  handle:respond({{[":status"] = "{unreadable}"}}, "the model's name can't be replaced\\n")
end

-- Where the address depends on the model, the route is chosen once more. Answers with another name must not be compressed.
local function use(handle, name, upgrade)
  if name == nil then return end
  local headers = handle:headers()
  if name.number ~= nil then
    headers:replace("{number}", name.number)
    handle:clearRouteCache()
  end
  if name.here ~= nil and upgrade == nil and headers:get(":method") ~= "HEAD" then
    headers:replace("accept-encoding", "identity")
    handle:streamInfo():dynamicMetadata():set("{metadata}", "name", name.here)
  end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local path, upgrade = headers:get(":path"), headers:get("upgrade")
  -- Envoy lets requests pass in which a program fails.
  local is_read, text, name
  if find(path, "?", 1, true) then
    is_read, text, name = pcall(redirected, path)
    if not is_read or text == nil then return decline(handle) end
    if text ~= path then headers:replace(":path", text) end
    use(handle, name, upgrade)
  end
  -- What follows an upgrade is no body, and does not end.
  if upgrade ~= nil then return end
  local body = handle:body()
  if body == nil or body:length() == 0 then return end
  is_read, text, name = pcall(renamed, body:getBytes(0, body:length()))
  if not is_read or text == nil then return decline(handle) end
  -- Headers that were taken before the body came are no longer valid. The length is set by Envoy.
  use(handle, name, nil)
  body:setBytes(text)
end
"""


NUMBER = "x-offload-model"
"""The internal header with the number of the model that a request names; clients can't send it, and it is not sent to the remote."""

UNREADABLE = 421
"""The internal status of a request that the hop declines because its model name can't be replaced."""


DECLINED = "offload.declined"
"""The metadata by which the access log distinguishes a declined request from one without a credential."""


def filters(remote: RemoteBackend) -> list[Message]:
    """Return the HTTP filter that replaces every top-level `model` of a JSON object, and declines other names and non-objects.

    In responses it restores the name that the request had.
    """
    if remote.model_names is None:
        return []
    listed = ", ".join(f"[{lua.text(here)}] = {_name(remote, here, there)}" for here, there in remote.model_names)
    longest = max((len(here.encode()) for here, _ in remote.model_names), default=0)
    known = {
        "longest": longest,
        "unreadable": UNREADABLE,
        "number": NUMBER,
        "metadata": response_model_name.METADATA,
        "declined": DECLINED,
        "others": lua.keys(each for name in (*CHOICES, *ORDERS) for each in _spellings(name)),
        "parts": ", ".join(map(lua.text, PARTS)),
        "harmless": lua.keys(each for name in HARMLESS for each in _spellings(name)),
        "of_provider": lua.keys(each for name in OF_PROVIDER for each in _spellings(name)),
        "containers": lua.keys(CONTAINERS),
        "parameters": lua.keys(name.replace("_", "") for name in ("model", *CHOICES)),
    }
    program = NAMES + json_scan.SCAN + RENAME + json_scan.DECODED + ACT
    restored = "" if remote.keep_remote_model_name else response_model_name.RESTORE
    return [lua.filter_of(program.format(names=listed, **known) + restored)]


def _spellings(key: str) -> tuple[str, ...]:
    return key, key.replace("_", ""), key.replace("_", "-")


def numbers(remote: RemoteBackend) -> dict[str, int]:
    """Return a number for each of the remote's model names that has an address of its own."""
    return {address.name: number for number, address in enumerate(remote.by_model)}


def _name(remote: RemoteBackend, here: str, there: str) -> str:
    number = numbers(remote).get(there)
    said = {
        "json": _in_json(there),
        "query": quote(there, safe=""),
        **({} if number is None else {"number": str(number)}),
        **({} if here == there or remote.keep_remote_model_name else {"here": _in_json(here)}),
    }
    return f"{{{', '.join(f'{name} = {lua.text(text)}' for name, text in said.items())}}}"


def _in_json(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)[1:-1]


def unmapped(limit: int, unchanged: Iterable[str]) -> list[list[Message]]:
    """Return the header matches of requests whose model name can't be replaced, or might not be; any one suffices.

    The names that are `unchanged` are the same at every remote.
    """
    is_json: Message = {"name": "content-type", "string_match": {"safe_regex": {"regex": JSON}}}
    not_json: Message = {**is_json, "invert_match": True, "treat_missing_header_as_empty": True}
    packed: Message = {"name": "content-encoding", "present_match": True}
    empty: Message = {"name": "content-length", "string_match": {"exact": "0"}, "invert_match": True}
    return [[not_json, empty], *unheld(limit), [packed], _named_by_path(unchanged)]


def unheld(limit: int) -> list[list[Message]]:
    """Return the header matches of requests whose body may be too long to be buffered; any one suffices."""
    length: Message = {"name": "content-length", "range_match": {"start": 0, "end": limit + 1}}
    too_long: Message = {**length, "invert_match": True}
    untold: Message = {"name": "content-length", "present_match": False}
    has_body: Message = {"name": ":method", "string_match": {"safe_regex": {"regex": "POST|PUT|PATCH"}}}
    return [[too_long], [has_body, untold]]


def _named_by_path(unchanged: Iterable[str]) -> list[Message]:
    """Match paths that name a model, except those of KServe and Triton with one of these names."""
    names = "|".join(paths.literal(name) for name in sorted(unchanged) if re.fullmatch(r"[\w.-]+", name, re.ASCII))
    named: Message = {"name": ":path", "string_match": {"safe_regex": {"regex": paths.NAMES_A_MODEL}}}
    same = {
        "name": ":path",
        "string_match": {"safe_regex": {"regex": KSERVE.format(names=names)}},
        "invert_match": True,
    }
    return [named, same] if names else [named]
