"""Sends no requests to a remote for as long as it asks: by `Retry-After` and similar headers, or by an exhausted quota.

Each worker of a gateway keeps this in memory, so it needs nothing but Envoy, and is forgotten at a restart. While a
remote is paused, its hop answers instead, and the next remote or local gets the request.
"""

from beamlit_controller.core import remote_secrets
from beamlit_controller.core.spec import RemoteBackend
from beamlit_controller.envoy import lua, remote_marks
from beamlit_controller.envoy.failover import REMOTE_MARK
from beamlit_controller.envoy.gateway_params import GatewayParams

METADATA = "offload.paused"
"""The metadata by which the access log recognizes a request to a paused remote."""

PROGRAM = r"""
-- Seconds: the longest pause, the longest one of a quota, and the pause of a quota of which nobody says when it ends.
local LONGEST, LONGEST_OF_QUOTA, UNTOLD = 600, 86400, 60
local ASKS_TO_WAIT = {["429"] = true, ["503"] = true, ["529"] = true}
local UNITS = {h = 3600, m = 60, s = 1, ms = 0.001}
local QUOTAS = {"insufficient_quota", "perday", "per[%s_-]day", "%(tpd%)", "%(rpd%)", "daily"}
local MONTHS = {Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12}

local pause, looked = nil, 0

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

local function asked(headers, now, status)
  local precise = number(headers:get("retry-after-ms"))
  if precise ~= nil then return precise / 1000 end
  local told = headers:get("retry-after")
  local at = date(told)
  if at ~= nil then return at - (date(headers:get("date")) or now) end
  return number(told) or (status == "429" and resets(headers, now) or nil)
end

-- What an error says of itself: when to come again, and whether it is a quota that is spent.
local function in_words(text)
  local lower = string.lower(text)
  local told = string.match(text, '"retryDelay"%s*:%s*"([%d%.]+s)"') or string.match(lower, "try again in ([%d%.hms]*[hms])")
  for _, words in ipairs(QUOTAS) do
    if string.find(lower, words) then return duration(told), true end
  end
  return duration(told), false
end

-- At most one body in a second is held back for this, so a flood of them needs no memory.
local function body(handle, headers, now)
  local length = tonumber(headers:get("content-length") or "0")
  local kind = string.lower(headers:get("content-type") or "")
  local plain = (headers:get("content-encoding") or "identity") == "identity"
  if length == nil or length > 65536 or not plain or not string.find(kind, "json", 1, true) then return "" end
  if math.abs(now - looked) < 1 then return "" end
  looked = now
  local held = handle:body()
  return held and held:getBytes(0, math.min(held:length(), 65536)) or ""
end

function envoy_on_request(handle)
  if pause == nil then return end
  local left = pause.till - handle:timestamp() / 1000
  -- With another credential it is another account. A clock that was set back must not make a pause longer.
  if left <= 0 or left > pause.whole or credential() ~= pause.credential then
    pause = nil
    return
  end
  handle:streamInfo():dynamicMetadata():set("{metadata}", "paused", true)
  handle:respond({[":status"] = "429", ["retry-after"] = tostring(math.ceil(left))}, "the remote has asked to wait\n")
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local status = headers:get(":status")
  local mark = headers:get("{mark}") or ""
  -- No status that clients know, or another protocol for a request that asked for none.
  if #status ~= 3 or status > "599" or mark == "101:," then return headers:replace(":status", "502") end
  -- What Envoy itself says here has no code in its mark.
  if not ASKS_TO_WAIT[status] or not string.find(mark, "^%d") then return end
  local now = handle:timestamp() / 1000
  local wait, is_quota = asked(headers, now, status), false
  if status == "429" and (wait == nil or wait > LONGEST) then
    local told
    told, is_quota = in_words(body(handle, headers, now))
    wait = wait or told or (is_quota and UNTOLD or nil)
  end
  if wait == nil or wait <= 0 then return end
  wait = math.min(wait, is_quota and LONGEST_OF_QUOTA or LONGEST)
  if pause == nil or now + wait > pause.till then
    pause = {till = now + wait, whole = wait, credential = credential()}
  end
end
"""


def programs(remote: RemoteBackend, params: GatewayParams) -> list[str]:
    """Return the program that pauses a remote; none if its rejections may be about one client's own credential."""
    if not remote_marks.refuses_us(remote):
        return []
    key = remote_secrets.credential(remote)
    files = f"local FILES = {{{lua.text(params.secret(key)) if key else ''}}}\n"
    program = PROGRAM.strip().replace("{metadata}", METADATA).replace("{mark}", REMOTE_MARK)
    return [files + program]
