"""Sends no requests to a remote for as long as it asks: by `Retry-After` and similar headers, or by an exhausted quota.

Each worker of a gateway keeps this in memory, so it needs nothing but Envoy, and is forgotten at a restart. While a
remote is paused, its hop answers instead, and the next remote or local gets the request.
"""

from beamlit_controller.core import remote_secrets
from beamlit_controller.core.spec import RemoteBackend
from beamlit_controller.envoy import json_scan, lua, remote_marks
from beamlit_controller.envoy.failover import REMOTE_MARK
from beamlit_controller.envoy.gateway_params import GatewayParams

METADATA = "offload.paused"
"""The metadata by which the access log recognizes a request to a paused remote."""
SENT = "offload.sent"
"""The metadata that tells the response of a request after which pause that was sent."""

FIRST, FIRST_ASKED = 10, 60
"""Longest first pause in seconds: of any remote, and of one that asks for it by `Retry-After`."""

PROGRAM = r"""
-- Seconds: the longest pause, the longest one of a quota, and the pause of a quota of which nobody says when it ends.
local LONGEST_PAUSE, LONGEST_OF_QUOTA, UNTOLD = 600, 86400, 60
local FIRST, FIRST_ASKED = {first}, {first_asked}
local ASKS_TO_WAIT = {["429"] = true, ["503"] = true, ["529"] = true}
local UNITS = {h = 3600, m = 60, s = 1, ms = 0.001}
local QUOTAS = {['"insufficient_quota"'] = true, ['"quota_exceeded"'] = true, ['"billing_hard_limit_reached"'] = true}
local MONTHS = {Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12}

-- The last pause, until a request that was sent after it succeeds: when it ends, its length, and what the next one is doubled from.
local last, looked, pauses = nil, 0, 0

local function credential()
  local read = {}
  for index, name in ipairs(FILES) do
    local file = io.open(name, "r")
    read[index] = file and file:read(65536) or ""
    if file then file:close() end
  end
  return table.concat(read, "\0")
end

-- Nothing that means a time is long, and to look at what is long could take long.
local function short(text)
  return text ~= nil and #text <= 64 and text or ""
end

local function number(text)
  return string.match(short(text), "^%s*%d+%.?%d*%s*$") and tonumber(text) or nil
end

-- Such as 6m0s, 1.5s or 858ms.
local function duration(text)
  local total, rest = 0, short(text)
  if rest == "" then return nil end
  while rest ~= "" do
    local amount, unit, more = string.match(rest, "^(%d+%.?%d*)([hms]+)(.*)$")
    if amount == nil or UNITS[unit] == nil then return nil end
    total, rest = total + tonumber(amount) * UNITS[unit], more
  end
  return total
end

-- A date of HTTP in seconds since 1970, by the days from 0000-03-01.
local function date(text)
  local day, month, year, hour, minute, second = string.match(short(text), "^%a+, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$")
  month = MONTHS[month]
  if month == nil then return nil end
  local years = tonumber(year) - (month < 3 and 1 or 0)
  local days = 365 * years + math.floor(years / 4) - math.floor(years / 100) + math.floor(years / 400)
  days = days + math.floor((153 * ((month + 9) % 12) + 2) / 5) + tonumber(day) - 719469
  return days * 86400 + hour * 3600 + minute * 60 + second
end

-- A limit's reset: a duration, or seconds, or the moment in seconds or milliseconds since 1970.
local function reset(text, now)
  local told = number(text)
  if told == nil then return duration(text) end
  if told > 1e11 then return told / 1000 - now end
  return told > 1e9 and told - now or told
end

-- Of several limits those count of which nothing remains; if that is not said of any, the one that is reset first.
local function resets(headers, now)
  local spent, first = nil, nil
  for _, kind in ipairs({"x-ratelimit-%s", "x-ratelimit-%s-requests", "x-ratelimit-%s-tokens", "ratelimit-%s"}) do
    local told = reset(headers:get(string.format(kind, "reset")), now)
    if told ~= nil then
      first = math.min(first or told, told)
      if number(headers:get(string.format(kind, "remaining"))) == 0 then spent = math.max(spent or told, told) end
    end
  end
  return spent or first
end

-- Give the seconds, and the longest first pause for them.
local function asked(headers, now, status)
  local precise = number(headers:get("retry-after-ms"))
  if precise ~= nil then return precise / 1000, FIRST_ASKED end
  local told = headers:get("retry-after")
  local at = date(told)
  if at ~= nil then return at - (date(headers:get("date")) or now), FIRST_ASKED end
  if number(told) ~= nil then return number(told), FIRST_ASKED end
  return status == "429" and resets(headers, now) or nil, FIRST
end

-- Only by its code or type: a client can influence what else an error says.
local function is_quota(text)
  local _, opening = find(text, "^%s*{")
  local found = false
  local function code(key, after, upto)
    local first, final = value(text, after, upto)
    found = found or ((key == "code" or key == "type") and first ~= nil and QUOTAS[sub(text, first, final)] == true)
    return true
  end
  local function member(key, after, upto)
    local first = value(text, after, upto)
    if key == "error" and first ~= nil and byte(text, first) == 123 then walk(text, first, ANYTHING, code) end
    return true
  end
  work = 0
  if opening ~= nil then walk(text, opening, ANYTHING, member) end
  return found
end

-- When to come again, as an error says in its body.
local function in_words(text)
  local told = string.match(text, '"retryDelay"%s*:%s*"([%d%.]+s)"')
  return duration(told or string.match(string.lower(text), "try again in ([%d%.hms]*[hms])"))
end

-- One client's request may be all that a remote refuses, so the first pause is short. If a request that was sent after the last
-- one is refused, too, the next one is twice as long, up to what the remote asks for.
local function wait(handle, seconds, now, first)
  local sent = handle:streamInfo():dynamicMetadata():get("{sent}")
  local is_refused_again = last ~= nil and sent ~= nil and sent["after"] == last.number
  local most = math.max(first, last and (is_refused_again and 2 * last.length or last.length) or 0)
  local whole = math.min(seconds, most)
  if whole <= 0 or (last ~= nil and now + whole <= last.till) then return end
  pauses = pauses + 1
  last = {
    till = now + whole,
    whole = whole,
    length = (last ~= nil and not is_refused_again) and last.length or whole,
    number = pauses,
    credential = credential(),
  }
end

-- At most one error in a second is read, so a flood of them needs no memory.
local function is_readable(headers, now)
  local kind = string.lower(headers:get("content-type") or "")
  local length = tonumber(headers:get("content-length") or "0")
  local plain = (headers:get("content-encoding") or "identity") == "identity"
  if not plain or length == nil or length > 65536 or not find(kind, "json", 1, true) then return false end
  if math.abs(now - looked) < 1 then return false end
  looked = now
  return true
end

local function wait_as_told(handle, text, asks, now, first)
  local is_quota = is_quota(text)
  local seconds = asks or in_words(text) or (is_quota and UNTOLD or 0)
  wait(handle, math.min(seconds, is_quota and LONGEST_OF_QUOTA or LONGEST_PAUSE), now, first)
end

-- A short error is held back until it is whole. Nobody knows when one without a length ends, so of that only counts what comes
-- before the next server is asked, which is mostly all of it.
local function read_error(handle, headers, asks, now, first)
  if headers:get("content-length") ~= nil then
    local held = handle:body()
    return wait_as_told(handle, held and held:getBytes(0, held:length()) or "", asks, now, first)
  end
  if asks ~= nil then wait_as_told(handle, "", asks, now, first) end
  local text, pieces = "", 0
  for chunk in handle:bodyChunks() do
    text, pieces = text .. chunk:getBytes(0, chunk:length()), pieces + 1
    if #text > 65536 or pieces > 8 then return end
    wait_as_told(handle, text, asks, now, first)
  end
end

function envoy_on_request(handle)
  if last == nil then return end
  local left = last.till - handle:timestamp() / 1000
  if left > 0 then
    -- With another credential it is another account. A clock that was set back must not make a pause longer.
    if left > last.whole or credential() ~= last.credential then
      last = nil
      return
    end
    handle:streamInfo():dynamicMetadata():set("{metadata}", "paused", true)
    return handle:respond({[":status"] = "429", ["retry-after"] = tostring(math.ceil(left))}, "the remote has asked to wait\n")
  end
  handle:streamInfo():dynamicMetadata():set("{sent}", "after", last.number)
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local status = headers:get(":status")
  local mark = headers:get("{mark}") or ""
  -- No status that clients know, or another protocol for a request that asked for none.
  if #status ~= 3 or status > "599" or mark == "101:," then return headers:replace(":status", "502") end
  if last ~= nil and find(mark, "^2%d%d:0?,") then
    local sent = handle:streamInfo():dynamicMetadata():get("{sent}")
    if sent ~= nil and sent["after"] == last.number then last = nil end
  end
  -- What Envoy itself says here has no code in its mark.
  if not ASKS_TO_WAIT[status] or not find(mark, "^%d") then return end
  local now = handle:timestamp() / 1000
  local asks, first = asked(headers, now, status)
  if status == "429" and (asks == nil or asks > LONGEST_PAUSE) and is_readable(headers, now) then
    return read_error(handle, headers, asks, now, first)
  end
  wait(handle, math.min(asks or 0, LONGEST_PAUSE), now, first)
end
"""


def programs(remote: RemoteBackend, params: GatewayParams) -> list[str]:
    """Return the program that pauses a remote; none if its rejections may be about one client's own credential."""
    if not remote_marks.refuses_us(remote):
        return []
    key = remote_secrets.credential(remote)
    files = f"local FILES = {{{lua.text(params.secret(key)) if key else ''}}}\n"
    known = {"metadata": METADATA, "sent": SENT, "mark": REMOTE_MARK, "first": FIRST, "first_asked": FIRST_ASKED}
    program = PROGRAM.strip()
    for name, value in known.items():
        program = program.replace(f"{{{name}}}", str(value))
    return [json_scan.SCAN.format(longest=0) + files + program]
