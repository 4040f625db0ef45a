"""Tells which query parameters the remote must not see: the same names as of headers, in the spellings of queries."""

import re

from beamlit_controller.core.spec import RemoteBackend
from beamlit_controller.envoy import lua
from beamlit_controller.envoy import sensitive_names as names

# What is no destination if it is a plain word.
WORDS = ("backend", "target")

# `forwards` is whether the client's own credentials pass.
IS_REMOVED = """
local function set(words, into)
  into = into or {{}}
  for word in string.gmatch(words, "%S+") do into[word] = true end
  return into
end

local function pairs_of(first, second)
  local both = {{}}
  for one in pairs(first) do
    for other in pairs(second) do both[one .. other] = true end
  end
  return both
end

local REMOVED = set("{removed}", {{{own}}})
local PLACES, BEGINNINGS = set("{places}"), set("{beginnings}")
local DESTINATIONS = set("{destination_ends}", pairs_of(set("{destination_of}"), set("{destination_as}")))
local ANYWHERE, LAST, WHOLE = set("{anywhere}"), set("{last}"), set("{whole}")
local PEOPLE = set("{people}", pairs_of(set("{people}"), set("{attributes}")))
local ENDINGS = {{{endings}}}
local HARMLESS_KEYS, LONGEST, NO_KEYS = set("{harmless}"), {longest}, set("{no_keys}")
local FORWARDS = {forwards}

-- Give the words of a name in lower case; those of `apiKey`, `api_key[0]` and `api%2Dkey` are the same.
local function words_of(name)
  if string.find(name, "[%%%[]") then
    name = string.gsub(name, "%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
    name = string.gsub(name, "%[%d*%]", "")
  end
  if string.find(name, "%u") then
    name = string.gsub(string.gsub(name, "(%l)(%u)", "%1-%2"), "(%u)(%u%l)", "%1-%2")
  end
  local words = {{}}
  for word in string.gmatch(string.lower(name), "[%w$]+") do words[#words + 1] = word end
  return words
end

local function begins(words)
  local beginning = ""
  for place = 1, math.min(#words - 1, 4) do
    beginning = beginning .. words[place]
    if BEGINNINGS[beginning] then return true end
  end
  return false
end

local function ends(words, endings)
  local ending = ""
  for place = #words, math.max(#words - 2, 1), -1 do
    ending = words[place] .. ending
    if endings[ending] then return true end
  end
  return false
end

local function is_about_somebody(word, following)
  if not PEOPLE[word] and string.sub(word, -4) ~= "user" then return false end
  return following == nil or string.sub(following, 1, 5) ~= "agent"
end

local function is_key(name, last)
  if string.sub(name, -3) ~= "key" or NO_KEYS[last] then return false end
  for length = 1, LONGEST do
    if HARMLESS_KEYS[string.sub(name, -3 - length, -4)] then return false end
  end
  return true
end

local function is_removed(words, parameter)
  local name = table.concat(words)
  -- `target=de` is a language, `backend=vllm` a word: no address is without one of these.
  if PLACES[name] and string.find(parameter, "=[^/:.%%]*$") then return false end
  if REMOVED[name] or PLACES[name] or begins(words) or ends(words, DESTINATIONS) then return true end
  if FORWARDS then return false end
  local named = words[1] == "x" and string.sub(name, 2) or name
  -- The words of a name may be told apart by nothing at all.
  if WHOLE[named] or ANYWHERE[named] or LAST[named] or PEOPLE[named] then return true end
  if ends(words, LAST) or is_key(name, words[#words]) then return true end
  for _, ending in ipairs(ENDINGS) do
    if string.sub(name, -#ending) == ending then return true end
  end
  for place, word in ipairs(words) do
    if ANYWHERE[word] or is_about_somebody(word, words[place + 1]) then return true end
  end
  return false
end
"""


def is_removed(remote: RemoteBackend) -> str:
    """Return the Lua functions `words_of` and `is_removed` for this remote."""
    own = (*remote.query_to_remove, *(name for name, _ in remote.query_to_add))
    headers = (*names.OURS, *names.OF_PROXIES)
    listed = {
        "removed": (*names.PRIVATE, *headers, *(name for name in names.DESTINATION if name not in WORDS)),
        "places": WORDS,
        "beginnings": headers,
        "destination_of": names.DESTINATION_OF,
        "destination_as": names.DESTINATION_AS,
        "destination_ends": names.DESTINATION_ENDS,
        "anywhere": names.ANYWHERE,
        "last": names.LAST,
        "whole": (*names.WHOLE, *names.ONLY_QUERY),
        "people": names.PEOPLE,
        "attributes": names.ATTRIBUTES,
        "harmless": names.HARMLESS_KEYS,
        "no_keys": names.NO_KEYS,
    }
    return IS_REMOVED.format(
        **{name: " ".join(map(plain, each)) for name, each in listed.items()},
        own=lua.keys(map(plain, own)),
        endings=", ".join(map(lua.text, names.ENDINGS)),
        longest=max(map(len, names.HARMLESS_KEYS)),
        forwards="true" if remote.forward_client_authorization else "false",
    )


def plain(name: str) -> str:
    """Return a name as parameters are compared: by its letters and digits in lower case."""
    return re.sub(r"[^a-z0-9$]", "", re.sub(r"\[[0-9]*\]", "", name.lower()))
