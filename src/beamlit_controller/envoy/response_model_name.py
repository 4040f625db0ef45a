"""Restores the client's model name in responses of the remote; every other byte is unchanged.

Nothing is buffered: each chunk is scanned as it arrives, and only the parser's state is kept. A response that can't be
parsed, such as a compressed one, passes unchanged.
"""

METADATA = "offload.model"
"""The metadata with which the filter passes the name from the request to the response."""

RESTORE = r"""
-- Events of Anthropic and of OpenAI's Responses have the answer within them.
local INNER = {message = true, response = true}

-- A JSON text that is read piece by piece. `place` is where the next byte stands: between tokens, in a string, in a key that is looked
-- at, or in the name that is left out. Keys are those of the outermost object and, if the text is an event, of the answer within it.
local function json_text(name, is_event)
  return {
    name = name, is_event = is_event, depth = 0, object = false, inner = false, is_key = false, place = "between",
    escaped = false, key = "", meant = nil, awaits = nil, opens = false,
  }
end

local function grown(key, piece)
  return #key + #piece <= 8 and key .. piece or "longer"
end

local function has_keys(text)
  return (text.depth == 1 and text.object) or (text.depth == 2 and text.inner)
end

-- Between tokens: give where to go on, and whether the name begins there; nil if the piece ends.
local function token(text, piece, from)
  if text.awaits ~= nil then
    local at = find(piece, "[^ \t\r\n]", from)
    if at == nil then return nil end
    local kind = byte(piece, at)
    if text.awaits == "colon" and kind == 58 then
      text.awaits = "value"
      return at + 1
    end
    local meant = text.awaits == "value" and text.meant
    text.awaits, text.meant = nil, nil
    text.opens = meant == "inner" and kind == 123
    local begins = meant == "name" and kind == 34
    if begins then text.place = "name" end
    return begins and at + 1 or at, begins
  end
  local at = find(piece, '["{}%[%],]', from)
  if at == nil then return nil end
  local kind = byte(piece, at)
  if kind == 34 then
    text.place = text.is_key and "key" or "string"
    text.key, text.is_key = "", false
  elseif kind == 123 or kind == 91 then
    text.depth = text.depth + 1
    if text.depth == 1 then text.object = kind == 123 end
    if text.depth == 2 then text.inner, text.opens = text.opens, false end
    text.is_key = has_keys(text)
  elseif kind == 44 then
    text.is_key = has_keys(text)
  else
    text.depth = math.max(text.depth - 1, 0)
    text.is_key = false
  end
  return at + 1
end

-- In a string: give where to go on, and whether it ends before; nil if the piece ends.
local function in_string(text, piece, from)
  if text.escaped then
    text.escaped = false
    return from + 1
  end
  local at = find(piece, '["\\]', from)
  if text.place == "key" then text.key = grown(text.key, sub(piece, from, (at or #piece + 1) - 1)) end
  if at == nil then return nil end
  if byte(piece, at) == 92 then
    text.escaped, text.key = true, "longer"
    return at + 1
  end
  if text.place == "key" then
    text.meant = text.key == "model" and "name" or text.is_event and text.depth == 1 and INNER[text.key] and "inner" or nil
    text.awaits = text.meant and "colon"
  end
  return at + 1, true
end

-- Give the piece with the name of each `model` that is looked at replaced.
local function renewed(text, piece)
  local from, kept, pieces = 1, text.place ~= "name" and 1 or nil, {}
  while from <= #piece do
    local nearest, turns
    if text.place == "between" then
      nearest, turns = token(text, piece, from)
      if turns then
        pieces[#pieces + 1] = sub(piece, kept, nearest - 1) .. text.name
        kept = nil
      end
    else
      nearest, turns = in_string(text, piece, from)
      if turns then
        kept = kept or nearest - 1
        text.place = "between"
      end
    end
    if nearest == nil then break end
    from = nearest
  end
  if kept ~= nil then pieces[#pieces + 1] = sub(piece, kept) end
  return table.concat(pieces)
end

-- A stream of JSON texts, each on a line of its own.
local function lines(name)
  return {name = name, json = json_text(name)}
end

local function renewed_lines(stream, piece)
  local from, pieces = 1, {}
  while from <= #piece do
    local ending = find(piece, "\n", from, true)
    pieces[#pieces + 1] = renewed(stream.json, sub(piece, from, (ending or #piece + 1) - 1))
    if ending ~= nil then
      stream.json = json_text(stream.name)
      pieces[#pieces + 1] = "\n"
    end
    from = (ending or #piece) + 1
  end
  return table.concat(pieces)
end

-- A stream of events: each has a JSON text of its own, on one line or on several. `mark` is what the first line may still have of a
-- byte order mark.
local MARK = "\239\187\191"
local function event_stream(name)
  return {name = name, json = json_text(name, true), mark = MARK, line = "begins", field = "", after_return = false}
end

-- Give whether this byte belongs to the mark. What only begins like it is no field.
local function is_mark(stream, letter)
  if letter == byte(stream.mark) then
    stream.mark = sub(stream.mark, 2)
    return true
  end
  if #stream.mark < #MARK then stream.line = "other" end
  stream.mark = ""
  return false
end

local function line_ends(stream, mark)
  if stream.line == "begins" and stream.field == "" then stream.json = json_text(stream.name, true) end
  stream.line, stream.field, stream.after_return = "begins", "", mark == 13
end

local function field_grows(stream, letter)
  stream.field = stream.field .. char(letter)
  if stream.field == "data:" then
    stream.line = "data"
  elseif stream.field ~= sub("data:", 1, #stream.field) then
    stream.line = "other"
  end
end

local function renewed_events(stream, piece)
  local from, pieces = 1, {}
  while from <= #piece do
    local first = byte(piece, from)
    if stream.mark ~= "" and is_mark(stream, first) then
      pieces[#pieces + 1], from = char(first), from + 1
    elseif stream.after_return and first == 10 then
      stream.after_return = false
      pieces[#pieces + 1], from = "\n", from + 1
    elseif stream.line == "begins" and first ~= 10 and first ~= 13 then
      stream.after_return = false
      field_grows(stream, first)
      pieces[#pieces + 1], from = char(first), from + 1
    else
      local ending = find(piece, "[\r\n]", from)
      local rest = sub(piece, from, (ending or #piece + 1) - 1)
      pieces[#pieces + 1] = stream.line == "data" and renewed(stream.json, rest) or rest
      if ending ~= nil then
        line_ends(stream, byte(piece, ending))
        pieces[#pieces + 1] = sub(piece, ending, ending)
      end
      from = (ending or #piece) + 1
    end
  end
  return table.concat(pieces)
end

local ANSWER = {
  ["application/json"] = {begin = json_text, renew = renewed},
  ["text/event-stream"] = {begin = event_stream, renew = renewed_events},
}
for _, kind in ipairs({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}) do
  ANSWER[kind] = {begin = lines, renew = renewed_lines}
end

function envoy_on_response(handle)
  local said = handle:streamInfo():dynamicMetadata():get("offload.model")
  local headers = handle:headers()
  if said == nil or headers:get("content-length") == "0" then return end
  local kind = string.gsub(string.lower(headers:get("content-type") or ""), '[ \t"]', "")
  local answer = ANSWER[(string.gsub(kind, ";charset=utf%-8$", ""))]
  if answer == nil or (headers:get("content-encoding") or "identity") ~= "identity" then return end
  headers:remove("content-length")
  local state, renew = answer.begin(said["name"]), answer.renew
  for chunk in handle:bodyChunks() do
    local piece = chunk:getBytes(0, chunk:length())
    local now = renew(state, piece)
    if now ~= piece then chunk:setBytes(now) end
  end
end
"""
