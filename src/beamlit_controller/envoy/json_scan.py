"""Programs that find the model's name in a request: parts to be put together, in which `{` and `}` are doubled.

`longest` is the length in bytes of the longest name that is looked for.
"""

SCAN = """local find, byte, sub, char, floor = string.find, string.byte, string.sub, string.char, math.floor
local LONGEST = 6 * {longest} + 1
local CONTROLS = {{b = "\\b", f = "\\f", n = "\\n", r = "\\r", t = "\\t"}}

local function utf8(number)
  if number < 128 then return char(number) end
  if number < 2048 then return char(192 + floor(number / 64), 128 + number % 64) end
  return char(224 + floor(number / 4096), 128 + floor(number / 64) % 64, 128 + number % 64)
end

-- Give the text that a JSON string means; of surrogates, something that is no name.
local function meaning(text)
  local from, pieces = 1, {{}}
  while true do
    local at = find(text, "\\\\", from, true)
    if at == nil then break end
    pieces[#pieces + 1] = sub(text, from, at - 1)
    local hex = string.match(text, "^u(%x%x%x%x)", at + 1)
    local escaped = sub(text, at + 1, at + 1)
    pieces[#pieces + 1] = hex and utf8(tonumber(hex, 16)) or CONTROLS[escaped] or escaped
    from = at + (hex and 6 or 2)
  end
  pieces[#pieces + 1] = sub(text, from)
  return table.concat(pieces)
end

-- Some parsers take keys in any case.
local function plain(key)
  return #key <= 180 and string.lower(meaning(key)) or ""
end

-- Most of a body is strings: a plain search passes over them, a pattern would be tried at each byte.
local function string_end(text, from)
  while true do
    local at = find(text, '"', from, true)
    if at == nil then return nil end
    local before = at - 1
    while byte(text, before) == 92 do before = before - 1 end
    if (at - before) % 2 == 1 then return at end
    from = at + 1
  end
end

"""
"""Reads strings of a JSON text: what they mean, and where they end."""

DECODED = """local function decoded(text)
  text = string.gsub(text, "+", " ")
  return (string.gsub(text, "%%(%x%x)", function(hex) return char(tonumber(hex, 16)) end))
end

"""
"""Decodes a parameter of a query."""
