"""Requests token usage from the remote, reads it from responses, and counts it by the remote's name.

The number is set as metadata of the request, which the stats access logger adds to a counter. So nothing is counted
twice, and a request that the client aborts counts as far as the remote had reported.
"""

from beamlit_controller.core.price import UsageMode
from beamlit_controller.core.spec import RemoteBackend
from beamlit_controller.envoy import json_scan, lua, response_usage
from beamlit_controller.envoy.messages import Message, extension

FILTER = "offload.usage"

# `include_usage` is inserted into the request; every other byte is unchanged.
ASKED = """
-- Give the text that asks for the event with the usage; nil if it is asked for, if no stream is, or if it can't be read for sure.
local function asking(text)
  local _, opening = find(text, "^%s*{{")
  if opening == nil then return nil end
  local depth, is_key, from, streams, options, option = 0, false, 1, false, nil, nil
  local in_options = false
  while true do
    local _, passed = find(text, '^[^{{}}%[%]",]*', from)
    local mark = passed + 1
    local kind = byte(text, mark)
    if kind == nil then break end
    from = mark + 1
    if kind == 34 then
      local last = string_end(text, from)
      if last == nil then return nil end
      from = last + 1
      local _, before = find(text, "^%s*:%s*", from)
      local key = is_key and before and plain(sub(text, mark + 1, last - 1))
      if depth == 1 and key == "stream" then streams = sub(text, before + 1, before + 4) == "true" end
      if depth == 1 and key == "stream_options" then
        options, option, in_options = before + 1, nil, byte(text, before + 1) == 123
      end
      if depth == 2 and key == "include_usage" then option = before + 1 end
      is_key = false
    elseif kind == 123 or kind == 91 then
      depth = depth + 1
      is_key = kind == 123 and (depth == 1 or (depth == 2 and in_options))
    elseif kind == 125 or kind == 93 then
      depth = depth - 1
      if depth == 1 then in_options = false end
    else
      is_key = depth == 1 or (depth == 2 and in_options)
    end
  end
  if depth ~= 0 or not streams then return nil end
  if options == nil then return sub(text, 1, opening) .. '"stream_options":{{"include_usage":true}},' .. sub(text, opening + 1) end
  if sub(text, options, options + 3) == "null" then
    return sub(text, 1, options - 1) .. '{{"include_usage":true}}' .. sub(text, options + 4)
  end
  if byte(text, options) ~= 123 then return nil end
  if option == nil then
    local comma = find(text, "^%s*}}", options + 1) and "" or ","
    return sub(text, 1, options) .. '"include_usage":true' .. comma .. sub(text, options + 1)
  end
  local length = sub(text, option, option + 4) == "false" and 5 or sub(text, option, option + 3) == "null" and 4
  return length and sub(text, 1, option - 1) .. "true" .. sub(text, option + length) or nil
end

local function may_ask(headers)
  local length = tonumber(headers:get("content-length") or "")
  local path = string.match(headers:get(":path"), "^[^?]*")
  return length ~= nil and length > 0 and length <= {limit} and headers:get("content-encoding") == nil
    and find(path, "/completions$") ~= nil and find(string.lower(headers:get("content-type") or ""), "json", 1, true) ~= nil
end

function envoy_on_request(handle)
  local headers = handle:headers()
  if headers:get(":method") ~= "POST" or headers:get("upgrade") ~= nil then return end
  handle:streamInfo():dynamicMetadata():set("offload.usage", "asked", true)
  -- A compressed answer can't be read.
  headers:replace("accept-encoding", "identity")
  if not may_ask(headers) then return end
  local body = handle:body()
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
  handle:streamInfo():dynamicMetadata():set("offload.usage", "asked", true)
end
"""


def programs(remote: RemoteBackend) -> list[str]:
    """Return the program that only reads usage from responses; its position among the filters doesn't matter."""
    return [NOT_ASKED + response_usage.READ] if remote.usage is UsageMode.READ else []


def filters(remote: RemoteBackend, *, max_request_bytes: int) -> list[Message]:
    """Return the HTTP filter that also requests usage, with `usage: Ask`; it must be the last one before the remote."""
    if remote.usage is not UsageMode.ASK:
        return []
    program = (json_scan.SCAN + ASKED).format(longest=32, limit=max_request_bytes)
    return [lua.filter_of(program + response_usage.READ, name=FILTER)]


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
    return [{**log, "filter": ANSWERED}]


ANSWERED: Message = {
    "metadata_filter": {
        "matcher": {
            "filter": response_usage.METADATA,
            "path": [{"key": "answer"}],
            "value": {"present_match": True},
        },
        "match_if_key_not_found": False,
    }
}
