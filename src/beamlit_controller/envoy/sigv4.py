"""Signs requests for a remote with AWS Signature Version 4, https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html.

In the hop, a first filter checks that there are credentials, and computes the digest of the body. A second one, behind
the hop's router, signs the path and headers that the remote will see. The file with the credentials is read for each
request.
"""

from beamlit_controller.core.remote_auth import AwsSignature
from beamlit_controller.envoy import lua
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.envoy.messages import Message, extension

# Parse one profile of a file in the format of AWS' own tools. Nothing in it may break out of a header.
ACCOUNT = r"""
local FILE, PROFILE, REGION, SERVICE = {file}, {profile}, {region}, {service}

local function account()
  local file = io.open(FILE, "r")
  if file == nil then return nil end
  local content = file:read(65536) or ""
  file:close()
  local found, section = {}, nil
  for line in string.gmatch(content, "[^\r\n]+") do
    local inner = string.match(trimmed(line), "^%[(.*)%]$")
    section = inner and trimmed(inner) or section
    local name, value = string.match(line, "^%s*([%w_]+)%s*=%s*(%S+)%s*$")
    if section == PROFILE and name ~= nil then found[string.lower(name)] = value end
  end
  local id, secret, token = found.aws_access_key_id, found.aws_secret_access_key, found.aws_session_token
  if id == nil or secret == nil or string.find(id .. secret .. (token or ""), "[^!-~]") then return nil end
  return {id = id, secret = secret, token = token}
end
"""

# FIPS 180-4. The constants are the beginnings of the fractions of roots of the first primes.
SHA256 = r"""
local bit = require("bit")
local band, bnot, bor, bxor, ror, lshift, rshift, tobit = bit.band, bit.bnot, bit.bor, bit.bxor, bit.ror, bit.lshift, bit.rshift, bit.tobit

local function primes()
  local found, number = {}, 2
  while #found < 64 do
    local is_prime = true
    for _, each in ipairs(found) do is_prime = is_prime and number % each ~= 0 end
    if is_prime then found[#found + 1] = number end
    number = number + 1
  end
  return found
end

local function fractions(count, power)
  local found = {}
  for index, prime in ipairs(primes()) do
    if index <= count then found[index] = tobit(math.floor(prime ^ power % 1 * 2 ^ 32)) end
  end
  return found
end

local START, ROUND = fractions(8, 1 / 2), fractions(64, 1 / 3)

local function in_bytes(number)
  return string.char(band(rshift(number, 24), 255), band(rshift(number, 16), 255), band(rshift(number, 8), 255), band(number, 255))
end

local function block(state, words, text, at)
  for index = 1, 16 do
    local first, second, third, fourth = string.byte(text, at + index * 4 - 4, at + index * 4 - 1)
    words[index] = bor(lshift(first, 24), lshift(second, 16), lshift(third, 8), fourth)
  end
  for index = 17, 64 do
    local early, late = words[index - 15], words[index - 2]
    words[index] = tobit(words[index - 16] + bxor(ror(early, 7), ror(early, 18), rshift(early, 3))
      + words[index - 7] + bxor(ror(late, 17), ror(late, 19), rshift(late, 10)))
  end
  local a, b, c, d, e, f, g, h = state[1], state[2], state[3], state[4], state[5], state[6], state[7], state[8]
  for index = 1, 64 do
    local first = h + bxor(ror(e, 6), ror(e, 11), ror(e, 25)) + bxor(band(e, f), band(bnot(e), g)) + ROUND[index] + words[index]
    local second = bxor(ror(a, 2), ror(a, 13), ror(a, 22)) + bxor(band(a, b), band(a, c), band(b, c))
    h, g, f, e, d, c, b, a = g, f, e, tobit(d + first), c, b, a, tobit(first + second)
  end
  state[1], state[2], state[3], state[4] = tobit(state[1] + a), tobit(state[2] + b), tobit(state[3] + c), tobit(state[4] + d)
  state[5], state[6], state[7], state[8] = tobit(state[5] + e), tobit(state[6] + f), tobit(state[7] + g), tobit(state[8] + h)
end

-- The digest as bytes.
local function sha256(text)
  local state, words, length = {unpack(START)}, {}, #text
  local whole = length - length % 64
  for at = 1, whole, 64 do block(state, words, text, at) end
  local rest = string.sub(text, whole + 1) .. "\128" .. string.rep("\0", (55 - length) % 64)
  rest = rest .. in_bytes(math.floor(length / 2 ^ 29)) .. in_bytes(tobit(length * 8))
  for at = 1, #rest, 64 do block(state, words, rest, at) end
  for index = 1, 8 do state[index] = in_bytes(state[index]) end
  return table.concat(state)
end

local function in_hex(bytes)
  return (string.gsub(bytes, ".", function(each) return string.format("%02x", string.byte(each)) end))
end
"""

HASH = r"""
function envoy_on_request(handle)
  local headers = handle:headers()
  if account() == nil then
    return handle:respond({[":status"] = "401"}, "the credential for the remote can't be used\n")
  end
  -- What follows an upgrade is no body, and does not end.
  local body = headers:get("upgrade") == nil and handle:body() or nil
  local digest = sha256(body and body:getBytes(0, body:length()) or "")
  handle:headers():replace("x-amz-content-sha256", in_hex(digest))
end
"""

SIGN = r"""
local function keyed(key, text)
  if #key > 64 then key = sha256(key) end
  key = key .. string.rep("\0", 64 - #key)
  local function mixed(with)
    return (string.gsub(key, ".", function(each) return string.char(bxor(string.byte(each), with)) end))
  end
  return sha256(mixed(92) .. sha256(mixed(54) .. text))
end

local function encoded(text, kept)
  return (string.gsub(text, "[^%w_.~" .. kept .. "-]", function(each) return string.format("%%%02X", string.byte(each)) end))
end

local function decoded(text)
  return (string.gsub(text, "%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- By merging: there is no order of a client's choice in which it takes long, as there is for table.sort.
local function sorted(items, is_before)
  local width = 1
  while width < #items do
    local merged = {}
    for first = 1, #items, 2 * width do
      local left, right = first, first + width
      local middle, last = math.min(right, #items + 1), math.min(right + width, #items + 1)
      while left < middle or right < last do
        if right >= last or (left < middle and not is_before(items[right], items[left])) then
          merged[#merged + 1], left = items[left], left + 1
        else
          merged[#merged + 1], right = items[right], right + 1
        end
      end
    end
    items, width = merged, 2 * width
  end
  return items
end

-- Of a query, each part encoded anew and in order.
local function in_order(query)
  local parts = {}
  for part in string.gmatch(query, "[^&]+") do
    local name, value = string.match(part, "^([^=]*)=?(.*)$")
    parts[#parts + 1] = {encoded(decoded(name), ""), encoded(decoded(value), "")}
  end
  parts = sorted(parts, function(one, other) return one[1] < other[1] or one[1] == other[1] and one[2] < other[2] end)
  for index, part in ipairs(parts) do parts[index] = part[1] .. "=" .. part[2] end
  return table.concat(parts, "&")
end

-- The names of what is signed, and their lines: the host, the type, and all that is AWS' own.
local function signed(headers)
  local values = {host = headers:get(":authority")}
  for name, value in pairs(headers) do
    if name == "content-type" or string.sub(name, 1, 6) == "x-amz-" then
      value = string.gsub(trimmed(value), "%s+", " ")
      values[name] = values[name] and values[name] .. "," .. value or value
    end
  end
  local names, lines = {}, {}
  for name in pairs(values) do names[#names + 1] = name end
  table.sort(names)
  for index, name in ipairs(names) do lines[index] = name .. ":" .. values[name] .. "\n" end
  return table.concat(names, ";"), table.concat(lines)
end

local last = {}

local function key_of(secret, day)
  if last.secret ~= secret or last.day ~= day then
    local key = keyed("AWS4" .. secret, day)
    for _, each in ipairs({REGION, SERVICE, "aws4_request"}) do key = keyed(key, each) end
    last = {secret = secret, day = day, key = key}
  end
  return last.key
end

function envoy_on_request(handle)
  local headers, found = handle:headers(), account()
  -- The first program's digest. If that failed, nothing may leave unsigned.
  if found == nil or headers:get("x-amz-content-sha256") == nil then
    return handle:respond({[":status"] = "401"}, "the credential for the remote can't be used\n")
  end
  local moment = os.date("!%Y%m%dT%H%M%SZ", math.floor(handle:timestamp() / 1000))
  local day = string.sub(moment, 1, 8)
  headers:replace("x-amz-date", moment)
  headers:remove("x-amz-security-token")
  if found.token ~= nil then headers:add("x-amz-security-token", found.token) end
  local path, query = string.match(headers:get(":path"), "^([^?]*)%??(.*)$")
  local names, lines = signed(headers)
  local whole = {headers:get(":method"), encoded(path, "/"), in_order(query), lines, names, headers:get("x-amz-content-sha256")}
  local scope = table.concat({day, REGION, SERVICE, "aws4_request"}, "/")
  local text = table.concat({"AWS4-HMAC-SHA256", moment, scope, in_hex(sha256(table.concat(whole, "\n")))}, "\n")
  local signature = in_hex(keyed(key_of(found.secret, day), text))
  headers:replace("authorization", "AWS4-HMAC-SHA256 Credential=" .. found.id .. "/" .. scope
    .. ", SignedHeaders=" .. names .. ", Signature=" .. signature)
end
"""


def in_hop(auth: AwsSignature, params: GatewayParams) -> Message:
    """Return the HTTP filter that computes the body's digest, and answers if there are no usable credentials."""
    return lua.filter_of(_account(auth, params) + SHA256 + HASH)


def behind_router(auth: AwsSignature, params: GatewayParams) -> list[Message]:
    """Return the upstream HTTP filters that sign each attempt."""
    codec = extension(
        "envoy.filters.http.upstream_codec",
        "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
    )
    return [lua.filter_of(_account(auth, params) + SHA256 + SIGN), codec]


def _account(auth: AwsSignature, params: GatewayParams) -> str:
    known = {
        "file": params.secret(auth.credentials),
        "profile": auth.profile,
        "region": auth.region,
        "service": auth.service,
    }
    program = lua.TRIMMED + ACCOUNT
    for name, value in known.items():
        program = program.replace(f"{{{name}}}", lua.text(value))
    return program
