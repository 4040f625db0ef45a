"""Requests token usage from the remote, reads it from responses, and counts it by the remote's name.

The number is set as metadata of the request, which the stats access logger adds to a counter. So nothing is counted
twice, and a request that the client aborts counts as far as the remote had reported; as `gone` if the client left
after it was sent and before the response.
"""

from beamlit_controller.core.price import UsageMode
from beamlit_controller.core.spec import RemoteBackend
from beamlit_controller.envoy import json_scan, lua, response_usage
from beamlit_controller.envoy.messages import Message, extension

FILTER = "offload.usage"

SENT = """
-- Count this request from now on, even if its client leaves before the response.
local function sent(handle)
  local metadata = handle:streamInfo():dynamicMetadata()
  metadata:set("offload.usage", "answer", "gone")
  metadata:set("offload.usage", "input", 0)
  metadata:set("offload.usage", "output", 0)
end

-- The same once its body is there; each piece of it passes as it comes.
local function sent_whole(handle)
  handle:streamInfo():dynamicMetadata():set("offload.usage", "asked", true)
  for _ in handle:bodyChunks() do end
  sent(handle)
end
"""

# `include_usage` is inserted into the request; every other byte is unchanged.
ASKED = """
local ASKS = '"include_usage":true'

-- Put into `edits` what makes this value of `stream_options` ask for the usage.
local function ask(text, first, last, edits)
  if byte(text, first) ~= 123 then
    edits[#edits + 1] = {{first, last, "{{" .. ASKS .. "}}"}}
    return
  end
  local is_there = false
  walk(text, first, ANYTHING, function(key, after, upto)
    if meaning(key) ~= "include_usage" then return true end
    is_there = true
    local from, to = value(text, after, upto)
    if from ~= nil and sub(text, from, to) ~= "true" then edits[#edits + 1] = {{from, to, "true"}} end
    return true
  end)
  if not is_there then
    local comma = find(text, "^%s*}}", first + 1) and "" or ","
    edits[#edits + 1] = {{first + 1, first, ASKS .. comma}}
  end
end

local function edited(text, edits)
  local kept, pieces = 1, {{}}
  for _, edit in ipairs(edits) do
    pieces[#pieces + 1] = sub(text, kept, edit[1] - 1) .. edit[3]
    kept = edit[2] + 1
  end
  pieces[#pieces + 1] = sub(text, kept)
  return table.concat(pieces)
end

-- Give the text that asks for the event with the usage; nil if it is asked for, if no stream is, or if it can't be read. Keys count
-- as they are written, and each of them, because of several with the same name a parser may take any.
local function asking(text)
  work = 0
  local _, opening = find(text, "^%s*{{")
  if opening == nil then return nil end
  local streams, has_options, edits = false, false, {{}}
  local ending = walk(text, opening, ANYTHING, function(key, after, last)
    local name = #key <= 180 and meaning(key)
    local first, final = value(text, after, last)
    if first == nil then return true end
    if name == "stream" and sub(text, first, final) == "true" then streams = true end
    if name == "stream_options" then
      has_options = true
      ask(text, first, final, edits)
    end
    return true
  end)
  if ending == nil or not streams then return nil end
  if not has_options then edits[1] = {{opening + 1, opening, '"stream_options":{{' .. ASKS .. "}},"}} end
  return #edits > 0 and edited(text, edits) or nil
end

local function may_ask(headers)
  local length = tonumber(headers:get("content-length") or "")
  local path = string.match(headers:get(":path"), "^[^?]*")
  return length ~= nil and length > 0 and length <= {limit} and headers:get("content-encoding") == nil
    and find(path, "/completions/*$") ~= nil and find(string.lower(headers:get("content-type") or ""), "json", 1, true) ~= nil
end

function envoy_on_request(handle)
  local headers = handle:headers()
  if headers:get(":method") ~= "POST" or headers:get("upgrade") ~= nil then return end
  -- A compressed answer can't be read.
  headers:replace("accept-encoding", "identity")
  if not may_ask(headers) then return sent_whole(handle) end
  handle:streamInfo():dynamicMetadata():set("offload.usage", "asked", true)
  local body = handle:body()
  sent(handle)
  if body == nil then return end
  local is_read, text = pcall(asking, body:getBytes(0, body:length()))
  if not is_read or text == nil then return end
  handle:headers():replace("content-length", tostring(body:setBytes(text)))
  handle:streamInfo():dynamicMetadata():set("offload.usage", "drops", true)
end
"""

# If nothing depends on the numbers, the request is not changed.
NOT_ASKED = """
function envoy_on_request(handle)
  local headers = handle:headers()
  if headers:get(":method") ~= "POST" or headers:get("upgrade") ~= nil then return end
  sent_whole(handle)
end
"""


def programs(remote: RemoteBackend) -> list[str]:
    """Return the program that only reads usage from responses; its position among the filters doesn't matter."""
    return [SENT + NOT_ASKED + response_usage.READ] if remote.usage is UsageMode.READ else []


def filters(remote: RemoteBackend, *, max_request_bytes: int) -> list[Message]:
    """Return the HTTP filter that also requests usage, with `usage: Ask`; it must be the last one before the remote."""
    if remote.usage is not UsageMode.ASK:
        return []
    program = (json_scan.SCAN + ASKED).format(longest=32, limit=max_request_bytes)
    return [lua.filter_of(SENT + program + response_usage.READ, name=FILTER)]


def counters(remote: RemoteBackend) -> list[Message]:
    """Return the access log that counts tokens, and responses by whether their usage could be read."""
    if remote.usage is UsageMode.IGNORE:
        return []
    named = [{"name": "remote", "value_format": remote.name}] if remote.name else []
    tokens = [
        {
            "stat": {
                "name": "remote_tokens",
                "tags": [{"name": "direction", "value_format": direction}, *named],
            },
            "value_format": f"%DYNAMIC_METADATA({response_usage.METADATA}:{direction})%",
        }
        for direction in ("input", "output")
    ]
    read = {"name": "usage", "value_format": f"%DYNAMIC_METADATA({response_usage.METADATA}:answer)%"}
    answers = {"stat": {"name": "remote_answers", "tags": [read, *named]}, "value_fixed": 1}
    log = extension(
        "envoy.access_loggers.stats",
        "envoy.extensions.access_loggers.stats.v3.Config",
        stats_scope={"prefix": "offload"},
        counters=[*tokens, answers],
    )
    return [{**log, "filter": COUNTED}]


_SENT: Message = {
    "metadata_filter": {
        "matcher": {
            "filter": response_usage.METADATA,
            "path": [{"key": "answer"}],
            "value": {"string_match": {"safe_regex": {"regex": "|".join(response_usage.COUNTED)}}},
        },
        "match_if_key_not_found": False,
    }
}
# Or no status at all, because the client left before it.
_BELOW_300: Message = {
    "status_code_filter": {
        "comparison": {"op": "LE", "value": {"runtime_key": "offload.none", "default_value": 299}},
    }
}
COUNTED: Message = {"and_filter": {"filters": [_SENT, _BELOW_300]}}
