"""Lua snippets that find the model's name in a request. They are format strings: `{{` and `}}` stand for braces.

`longest` is the length in bytes of the longest name to find. A worker of Envoy does nothing else meanwhile, so the work
for one text is limited, whatever the text is. Strings hardly count: a body may be large because it has images in it.
"""

SCAN = """local find, byte, sub, char, floor = string.find, string.byte, string.sub, string.char, math.floor
local LONGEST = 6 * {longest} + 1
-- A byte outside of strings or an escape before a quote counts 1, a token 4; one takes about 10 ns. No text of 1 MiB that a client
-- has a use for is as much work.
local MOST_WORK = 4000000
local work = 0
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

-- Some parsers take keys in any case; Go's also takes the long s and the sign of kelvin for s and k. Nil if it is too long for a key.
local function plain(key)
  if #key > 180 then return nil end
  -- For some a string ends at a zero.
  local lower = string.lower(string.match(meaning(key), "^[^%z]*"))
  if find(lower, "^[%w_]*$") then return lower end
  return (string.gsub(string.gsub(lower, "\\197\\191", "s"), "\\226\\132\\170", "k"))
end

-- Most of a body is strings: a plain search passes over them, a pattern would be tried at each byte.
local function string_end(text, from)
  while work <= MOST_WORK do
    local at = find(text, '"', from, true)
    if at == nil then return nil end
    local before = at - 1
    while byte(text, before) == 92 do before = before - 1 end
    work = work + at - before
    if (at - before) % 2 == 1 then return at end
    from = at + 1
  end
  return nil
end

-- Between the tokens of JSON: numbers and words. Of zeros of UTF-16, comments, other quotes or none, a lenient parser might make
-- more. The second one is for deeper levels, where a comma means nothing.
local STRICT = {{"^[:%s%d.etrufalsn+%-E]*", "^[:,%s%d.etrufalsn+%-E]*"}}

local ANYTHING = {{'^[^{{}}%[%]",]*', '^[^{{}}%[%]"]*'}}

-- Walk through the object that begins here. Tell `member` the key of each of its members and where it goes on after the key and
-- ends; it gives whether to go on. Give where the object ends; nil if it does not, or if it is too much work.
local function walk(text, from, others, member)
  local depth, is_key, key, after = 0, false, nil, nil
  local quote = from - 1
  while work <= MOST_WORK do
    if from > quote then
      quote = find(text, '"', from, true) or #text + 1
      work = work + quote - from
      if work > MOST_WORK then return nil end
    end
    local _, passed = find(text, others[depth > 1 and 2 or 1], from)
    local mark = passed + 1
    local kind = byte(text, mark)
    from, work = mark + 1, work + 4
    if kind == 34 then
      local last = string_end(text, from)
      if last == nil then return nil end
      from = last + 1
      if is_key then key, after, is_key = sub(text, mark + 1, last - 1), from, false end
    elseif kind == 123 or kind == 91 then
      depth = depth + 1
      is_key = kind == 123 and depth == 1
    elseif kind == 125 or kind == 93 or kind == 44 then
      if depth == 1 then
        if key ~= nil and not member(key, after, mark - 1) then return nil end
        key, is_key = nil, kind == 44
      end
      if kind ~= 44 then depth = depth - 1 end
      if depth == 0 then return mark end
    else
      return nil
    end
  end
  return nil
end

-- Give the places of the first and the last byte of a member's value; nil if there is none.
local function value(text, after, last)
  local _, before = find(text, "^%s*:%s*", after)
  if before == nil or before >= last then return nil end
  while find(text, "^%s", last) do last = last - 1 end
  return before + 1, last
end

-- Tell `found` each name that the outermost object has as `model`, with the places of its quotes. Give whether the text can be read
-- for sure, `is_other` is not true of a key and the places of its value, and `found` accepted all names; one that is longer than any that
-- is looked for is "".
local function read_names(text, is_other, found)
  work = 0
  local _, opening = find(text, "^%s*{{")
  if opening == nil then return false end
  local ending = walk(text, opening, STRICT, function(written, after, last)
    local key = plain(written)
    if key ~= "model" then return not is_other(key, text, after, last) end
    local first, final = value(text, after, last)
    if first == nil or byte(text, first) ~= 34 or string_end(text, first + 1) ~= final then return false end
    local name = final - first <= LONGEST and meaning(sub(text, first + 1, final - 1)) or ""
    return found(name, first, final)
  end)
  return ending ~= nil and find(text, "^%s*$", ending + 1) ~= nil
end

"""
"""Finds the model names in a JSON text, and their positions."""

DECODED = """local function decoded(text)
  text = string.gsub(text, "+", " ")
  return (string.gsub(text, "%%(%x%x)", function(hex) return char(tonumber(hex, 16)) end))
end

"""
"""Decodes a parameter of a query."""
