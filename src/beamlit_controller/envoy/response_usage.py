"""Reads the token usage from responses of the remote, and sets it as metadata for the stats access logger.

Responses are not buffered: only the parser's state is kept, a few kilobytes at most. A response without readable usage
is counted as such. Nothing is removed, except the usage event of a stream in which the gateway itself requested it.
"""

METADATA = "offload.usage"
"""The metadata with the result: `input` and `output`, `answer` (see `COUNTED`), and `drops` if the gateway requested the event."""
COUNTED = ("read", "unread", "gone")
"""Requests that count, by their `answer`: its usage was read or not, or the client left before it."""

READ = r"""
local find, byte, sub = string.find, string.byte, string.sub
local MOST_HELD = 4096
-- Lines of JSON, as Ollama streams them, are read like one text.
local ANSWER = {["application/json"] = "json", ["application/x-ndjson"] = "json", ["text/event-stream"] = "events"}
local USAGE = {usage = "usage", usageMetadata = "usage"}
local OUTERMOST = {
  usage = "usage", usageMetadata = "usage", message = "within", response = "within", choices = "choices",
  prompt_eval_count = "input", eval_count = "output",
}
local COUNTS = {input = true, output = true, thoughts = true}
local NUMBERS = {
  prompt_tokens = "input", input_tokens = "input", promptTokenCount = "input", inputTokens = "input",
  completion_tokens = "output", output_tokens = "output", candidatesTokenCount = "output", outputTokens = "output",
  thoughtsTokenCount = "thoughts",
}

-- A JSON text that is read piece by piece. `top`, `within` and `usage` are the depths of the objects whose keys mean something:
-- the outermost one, one that may have the usage in it, and the usage itself.
local function json_text()
  return {depth = 0, place = "between", is_key = false, escaped = false, key = "", digits = ""}
end

local function keys_of(text)
  if text.depth == text.usage then return NUMBERS end
  if text.depth == text.within then return USAGE end
  return text.depth == text.top and OUTERMOST or nil
end

local function open(text, kind)
  text.depth = text.depth + 1
  -- Some stream a list of objects.
  local outermost = text.depth == 1 or (text.depth == 2 and text.listed)
  if outermost and kind == 123 then text.top = text.depth end
  if text.depth == 1 then text.listed = kind == 91 end
  if text.meant and kind == 123 then text[text.meant] = text.depth end
  text.opened = text.meant == "choices" and kind == 91
  text.meant = nil
  text.is_key = kind == 123 and keys_of(text) ~= nil
end

local function close(text, kind)
  if text.opened and kind == 93 then text.no_choices = true end
  if text.depth == text.usage then text.usage = nil end
  if text.depth == text.within then text.within = nil end
  text.depth = math.max(text.depth - 1, 0)
  text.is_key = false
end

local function counted(text, counts, following)
  text.place = "between"
  local number = #text.digits <= 9 and not find(following, "[%.eE]") and tonumber(text.digits)
  if number then counts[text.number] = math.max(counts[text.number] or 0, number) end
end

local PLACES = {}

function PLACES.between(text, piece, from)
  local at = find(piece, keys_of(text) and '["{}%[%],]' or '["{}%[%]]', from)
  if at == nil then return nil end
  local kind = byte(piece, at)
  if kind == 34 then
    text.place, text.key = text.is_key and "key" or "string", ""
    text.is_key, text.opened = false, false
  elseif kind == 123 or kind == 91 then
    open(text, kind)
  elseif kind == 44 then
    text.is_key = text.depth == text.top or text.depth == text.within or text.depth == text.usage
    text.opened = false
  else
    close(text, kind)
    text.opened = false
  end
  return at + 1
end

function PLACES.string(text, piece, from)
  if text.escaped then
    text.escaped = false
    return from + 1
  end
  local at = find(piece, '["\\]', from)
  if text.place == "key" and #text.key < 32 then text.key = text.key .. sub(piece, from, math.min(at or #piece + 1, from + 32) - 1) end
  if at == nil then return nil end
  if byte(piece, at) == 92 then
    text.escaped, text.key = true, "an escaped key, which is none of those that are looked for"
    return at + 1
  end
  local meant = text.place == "key" and keys_of(text)
  text.meant = meant and meant[text.key] or nil
  text.place = text.meant and "colon" or "between"
  return at + 1
end
PLACES.key = PLACES.string

function PLACES.colon(text, piece, from)
  local at = find(piece, "[^ \t\r\n]", from)
  if at == nil then return nil end
  if byte(piece, at) == 58 then
    text.place = "value"
    return at + 1
  end
  text.place, text.meant = "between", nil
  return at
end

function PLACES.value(text, piece, from)
  local at = find(piece, "[^ \t\r\n]", from)
  if at == nil then return nil end
  local kind = byte(piece, at)
  local digit = kind >= 48 and kind <= 57
  if digit and COUNTS[text.meant] then
    text.place, text.digits, text.number, text.meant = "digits", "", text.meant, nil
    return at
  end
  if kind ~= 123 and kind ~= 91 then text.meant = nil end
  text.place = "between"
  return at
end

function PLACES.digits(text, piece, from, counts)
  local at = find(piece, "[^0-9]", from)
  text.digits = text.digits .. sub(piece, from, math.min(at or #piece + 1, from + 10) - 1)
  if #text.digits > 10 then text.digits = sub(text.digits, 1, 10) end
  if at == nil then return nil end
  counted(text, counts, sub(piece, at, at))
  return at
end

local function read(text, piece, counts)
  local from = 1
  while from ~= nil and from <= #piece do from = PLACES[text.place](text, piece, from, counts) end
end

-- Events: whole lines are looked at if they may have numbers; of a long one its beginning is not kept.
local function event_stream(drops)
  return {held = "", drops = drops, counts = {}}
end

local function read_data(stream, data)
  if stream.json == nil and not find(data, '"usage', 1, true) and find(data, "[}%]]%s*$") then return end
  stream.json = stream.json or json_text()
  read(stream.json, data, stream.counts)
end

-- Give whether this whole line is the event that was asked for here.
local function line_ends(stream, line)
  if line == "" then
    stream.json = nil
    local follows = stream.dropped
    stream.dropped = nil
    return follows
  end
  stream.dropped = nil
  if sub(line, 1, 5) ~= "data:" then return false end
  local counts = stream.counts
  stream.counts = {}
  read_data(stream, sub(line, 6))
  local has_usage = stream.counts.output ~= nil
  for name, number in pairs(stream.counts) do counts[name] = math.max(counts[name] or 0, number) end
  stream.counts = counts
  stream.dropped = stream.drops and has_usage and stream.json ~= nil and stream.json.no_choices
  return stream.dropped
end

local function may_be_ours(held)
  local begin = sub(held, 1, 7)
  return begin == sub("data: {", 1, #begin) or sub(held, 1, 6) == "data:{"
end

-- The rest of a line passes as it comes.
local function becomes_long(stream)
  stream.long, stream.data = true, sub(stream.held, 1, 5) == "data:"
  if stream.data then
    stream.json = stream.json or json_text()
    read(stream.json, sub(stream.held, 6), stream.counts)
  end
  local held = stream.held
  stream.held = ""
  return held
end

local function line_goes_on(stream, part)
  if stream.long then
    if stream.data then read(stream.json, part, stream.counts) end
    return part
  end
  stream.held = stream.held .. part
  if stream.drops and may_be_ours(stream.held) and #stream.held <= MOST_HELD then return "" end
  if not stream.drops and #stream.held <= MOST_HELD then return part end
  local held = becomes_long(stream)
  return stream.drops and held or part
end

local function line_is_whole(stream, part, mark)
  stream.after_return = mark == "\r"
  if stream.long then
    part = line_goes_on(stream, part)
    stream.long, stream.silent = nil, false
    return part .. mark
  end
  local line = stream.held .. part
  stream.held = ""
  stream.silent = line_ends(stream, line)
  if stream.silent then return "" end
  return (stream.drops and line or part) .. mark
end

-- Give the length of the whole events, at the beginning of the piece, that can't have numbers: most of a stream.
local function without_usage(stream, piece)
  if stream.held ~= "" or stream.long or stream.json or stream.dropped or stream.after_return then return 0 end
  local at = find(piece, '"usage', 1, true)
  local _, ended = find(at and sub(piece, 1, at - 1) or piece, "^.*\n\r?\n")
  return ended or 0
end

-- Give what of the piece may pass now.
local function read_events(stream, piece)
  local out = {sub(piece, 1, without_usage(stream, piece))}
  local from = #out[1] + 1
  while from <= #piece do
    local ending = find(piece, "[\r\n]", from)
    local part = sub(piece, from, (ending or #piece + 1) - 1)
    local mark = ending and sub(piece, ending, ending)
    if stream.after_return and mark == "\n" and part == "" and stream.held == "" and not stream.long then
      out[#out + 1] = stream.silent and "" or mark
      stream.after_return = false
    elseif mark then
      out[#out + 1] = line_is_whole(stream, part, mark)
    else
      out[#out + 1] = line_goes_on(stream, part)
    end
    from = (ending or #piece) + 1
  end
  return table.concat(out)
end

local function read_document(stream, piece)
  read(stream.json, piece, stream.counts)
  return piece
end

local function told(handle, counts)
  local metadata = handle:streamInfo():dynamicMetadata()
  metadata:set("offload.usage", "input", counts.input or 0)
  metadata:set("offload.usage", "output", (counts.output or 0) + (counts.thoughts or 0))
  metadata:set("offload.usage", "answer", "read")
end

local function sum(counts)
  return (counts.input or 0) + (counts.output or 0) + (counts.thoughts or 0)
end

function envoy_on_response(handle)
  local metadata = handle:streamInfo():dynamicMetadata()
  local asked = metadata:get("offload.usage")
  local headers = handle:headers()
  if asked == nil or sub(headers:get(":status"), 1, 1) ~= "2" then return end
  -- To a gRPC call, Envoy's own error has the status 200, too.
  if headers:get("x-offload-served-by") == "none" then return metadata:set("offload.usage", "answer", "none") end
  metadata:set("offload.usage", "answer", "unread")
  metadata:set("offload.usage", "input", 0)
  metadata:set("offload.usage", "output", 0)
  local said = string.gsub(string.lower(headers:get("content-type") or ""), '[ \t"]', "")
  local kind = ANSWER[(string.gsub(said, ";charset=utf%-8$", ""))]
  if not kind or (headers:get("content-encoding") or "identity") ~= "identity" then return end
  local drops = asked["drops"] == true and kind == "events"
  if drops then headers:remove("content-length") end
  local stream = kind == "events" and event_stream(drops) or {json = json_text(), counts = {}, held = ""}
  local pass = kind == "events" and read_events or read_document
  local known, last = nil, nil
  for chunk in handle:bodyChunks() do
    last = chunk
    local piece, held = chunk:getBytes(0, chunk:length()), drops and stream.held or ""
    local is_read, now = pcall(pass, stream, piece)
    if drops and now ~= piece then chunk:setBytes(is_read and now or held .. piece) end
    if not is_read then return end
    local total = next(stream.counts) and sum(stream.counts) or nil
    if total ~= known then
      known = total
      told(handle, stream.counts)
    end
  end
  -- What has no line end at the end of all.
  if drops and last ~= nil and stream.held ~= "" then
    pcall(function() last:setBytes(last:getBytes(0, last:length()) .. stream.held) end)
  end
end
"""
