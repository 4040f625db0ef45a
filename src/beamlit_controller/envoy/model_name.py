"""The model's name over there, put into the body of requests for the remote; every other byte stays as it was."""

import json

from beamlit_controller.envoy import lua
from beamlit_controller.envoy.messages import Message

JSON = r"(?i)[ \t]*application/json\b.*"

# A scan, not a parser: what a parser writes again has other blanks, another order, and other large numbers.
REPLACE = """
local NAME = {name}
local find, byte, sub = string.find, string.byte, string.sub

local function string_end(text, from)
  while true do
    local at = find(text, '["\\\\]', from)
    if at == nil then return nil end
    if byte(text, at) == 34 then return at end
    from = at + 2
  end
end

local function renamed(text)
  local at = find(text, "^%s*{{")
  if at == nil then return nil end
  local depth, is_key, from = 0, false, 1
  while true do
    local mark = find(text, '[{{}}%[%]",]', from)
    if mark == nil then return nil end
    local kind = byte(text, mark)
    from = mark + 1
    if kind == 34 then
      local last = string_end(text, from)
      if last == nil then return nil end
      from = last + 1
      if depth == 1 and is_key and sub(text, mark, last) == '"model"' then
        local _, opening = find(text, '^%s*:%s*"', from)
        local closing = opening and string_end(text, opening + 1)
        if closing == nil then return nil end
        return sub(text, 1, opening) .. NAME .. sub(text, closing)
      end
      is_key = false
    elseif kind == 123 or kind == 91 then
      depth = depth + 1
      is_key = kind == 123 and depth == 1
    elseif kind == 125 or kind == 93 then
      depth = depth - 1
    else
      is_key = depth == 1
    end
  end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local kind = headers:get("content-type")
  if kind == nil or find(string.lower(kind), "^%s*application/json") == nil then return end
  if headers:get("content-encoding") ~= nil then return end
  local body = handle:body()
  if body == nil or body:length() == 0 then return end
  local text = renamed(body:getBytes(0, body:length()))
  if text ~= nil then
    headers:replace("content-length", tostring(body:setBytes(text)))
  end
end
"""


def filters(name: str | None) -> list[Message]:
    """Give the HTTP filter that replaces the top-level `model` of a JSON object; anything else passes unchanged."""
    if name is None:
        return []
    inside = json.dumps(name, ensure_ascii=False)[1:-1]
    return [lua.filter_of(REPLACE.format(name=lua.text(inside)))]


def too_long(limit: int) -> list[list[Message]]:
    """Give the header matches, any of which tells that a body is too long to be read, or might be."""
    is_json: Message = {"name": "content-type", "string_match": {"safe_regex": {"regex": JSON}}}
    has_body: Message = {"name": ":method", "string_match": {"safe_regex": {"regex": "POST|PUT|PATCH"}}}
    above: Message = {"name": "content-length", "range_match": {"start": limit + 1, "end": 2**63 - 1}}
    untold: Message = {"name": "content-length", "present_match": False}
    return [[is_json, above], [is_json, has_body, untold]]
