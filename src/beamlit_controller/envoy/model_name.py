"""The model's name over there, put into the body of requests for the remote; every other byte stays as it was."""

import json

from beamlit_controller.envoy import lua
from beamlit_controller.envoy.messages import Message

JSON = r"(?i)[ \t]*application/json[ \t]*(?:;[ \t]*charset=\"?(?:utf-?8|us-ascii)\"?[ \t]*)?"

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

-- Some parsers take keys in any case.
local function is_model(key)
  key = string.gsub(key, "\\\\u00(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
  return string.lower(key) == "model"
end

-- Give the text with another name, or nil if it is nothing that can be read for sure.
local function renamed(text)
  if find(text, "^%s*{{") == nil then return nil end
  local depth, is_key, from, kept, pieces = 0, false, 1, 1, {{}}
  while true do
    local mark = find(text, '[{{}}%[%]",]', from)
    if mark == nil then break end
    local kind = byte(text, mark)
    from = mark + 1
    if kind == 34 then
      local last = string_end(text, from)
      if last == nil then return nil end
      from = last + 1
      if depth == 1 and is_key and is_model(sub(text, mark + 1, last - 1)) then
        local _, opening = find(text, '^%s*:%s*"', from)
        local closing = opening and string_end(text, opening + 1)
        if closing == nil then return nil end
        pieces[#pieces + 1] = sub(text, kept, opening) .. NAME
        kept, from = closing, closing + 1
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
  if depth ~= 0 then return nil end
  pieces[#pieces + 1] = sub(text, kept)
  return table.concat(pieces)
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local body = handle:body()
  if body == nil or body:length() == 0 then return end
  local text = renamed(body:getBytes(0, body:length()))
  if text == nil then
    handle:respond({{[":status"] = "{unreadable}"}}, "the model's name can't be replaced\\n")
  else
    headers:replace("content-length", tostring(body:setBytes(text)))
  end
end
"""


UNREADABLE = 421
"""The status by which the hop tells itself that it declines the request."""


def filters(name: str | None) -> list[Message]:
    """Give the HTTP filter that replaces every top-level `model` of a JSON object, and declines what is none."""
    if name is None:
        return []
    inside = json.dumps(name, ensure_ascii=False)[1:-1]
    return [lua.filter_of(REPLACE.format(name=lua.text(inside), unreadable=UNREADABLE))]


def unmapped(limit: int) -> list[list[Message]]:
    """Give the header matches, any of which tells that the name in a request can't be replaced, or might not be."""
    is_json: Message = {"name": "content-type", "string_match": {"safe_regex": {"regex": JSON}}}
    not_json: Message = {**is_json, "invert_match": True, "treat_missing_header_as_empty": True}
    length: Message = {"name": "content-length", "range_match": {"start": 0, "end": limit + 1}}
    too_long: Message = {**length, "invert_match": True}
    untold: Message = {"name": "content-length", "present_match": False}
    has_body: Message = {"name": ":method", "string_match": {"safe_regex": {"regex": "POST|PUT|PATCH"}}}
    packed: Message = {"name": "content-encoding", "present_match": True}
    empty: Message = {"name": "content-length", "string_match": {"exact": "0"}, "invert_match": True}
    return [[not_json, empty], [too_long], [has_body, untold], [packed]]
