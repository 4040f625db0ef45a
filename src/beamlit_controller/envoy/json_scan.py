"""Lua snippets that find the model's name in a request. They are format strings: `{{` and `}}` stand for braces.

`longest` is the length in bytes of the longest name to find.
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

-- Some parsers take keys in any case; Go's also takes the long s and the sign of kelvin for s and k.
local function plain(key)
  if #key > 180 then return "" end
  -- For some a string ends at a zero.
  local lower = string.lower(string.match(meaning(key), "^[^%z]*"))
  if find(lower, "^[%w_]*$") then return lower end
  return (string.gsub(string.gsub(lower, "\\197\\191", "s"), "\\226\\132\\170", "k"))
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

-- Tell `found` each name that the outermost object has as `model`, with the places of its quotes. Give whether the text can be read
-- for sure, has none of the other keys, and `found` accepted all names; one that is longer than any that is looked for is "".
local function read_names(text, others, found)
  if find(text, "^%s*{{") == nil then return false end
  local depth, is_key, from = 0, false, 1
  while true do
    -- Numbers and words; of zeros of UTF-16, comments, other quotes or none, a lenient parser might make more.
    local _, passed = find(text, '^[%s:%d.+%-eEtrufalsn]*', from)
    local mark = passed + 1
    local kind = byte(text, mark)
    if kind == nil then break end
    from = mark + 1
    if kind == 34 then
      local last = string_end(text, from)
      if last == nil then return false end
      from = last + 1
      local key = depth == 1 and is_key and plain(sub(text, mark + 1, last - 1))
      if others[key] then return false end
      if key == "model" then
        local _, opening = find(text, '^%s*:%s*"', from)
        local closing = opening and string_end(text, opening + 1)
        if closing == nil then return false end
        local name = closing - opening <= LONGEST and meaning(sub(text, opening + 1, closing - 1)) or ""
        if not found(name, opening, closing) then return false end
        from = closing + 1
      end
      is_key = false
    elseif kind == 123 or kind == 91 then
      depth = depth + 1
      is_key = kind == 123 and depth == 1
    elseif kind == 125 or kind == 93 then
      depth = depth - 1
      if depth < 0 then return false end
    elseif kind == 44 then
      is_key = depth == 1
    else
      return false
    end
  end
  return depth == 0
end

"""
"""Finds the model names in a JSON text, and their positions."""

DECODED = """local function decoded(text)
  text = string.gsub(text, "+", " ")
  return (string.gsub(text, "%%(%x%x)", function(hex) return char(tonumber(hex, 16)) end))
end

"""
"""Decodes a parameter of a query."""
