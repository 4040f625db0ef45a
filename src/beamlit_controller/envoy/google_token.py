"""Google access tokens for a remote, from the metadata server of the machine or pod that the gateway runs on.

This is how Google's own libraries get the tokens of a machine's service account, and of workload identity in GKE. Each
worker requests a new token a minute before the old one expires, and after a response of 401.
"""

from beamlit_controller.core.spec import RemoteBackend
from beamlit_controller.envoy import identity, lua, upstream
from beamlit_controller.envoy.addresses import message
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.envoy.messages import Message

METADATA_SERVER = "metadata_server"

PROGRAM = r"""
local token, till = nil, 0

local function fetched(handle, now)
  local _, body = handle:httpCall("{cluster}", {
    [":method"] = "GET",
    [":path"] = "/computeMetadata/v1/instance/service-accounts/default/token",
    [":authority"] = "metadata.google.internal",
    ["metadata-flavor"] = "Google",
  }, nil, 3000)
  local found = string.match(body or "", '"access_token"%s*:%s*"([%w._~+/=-]+)"')
  local lifetime = tonumber(string.match(body or "", '"expires_in"%s*:%s*(%d+)') or "0")
  if found ~= nil then token, till = found, now + lifetime - 60 end
  return found
end

function envoy_on_request(handle)
  local shown, now = token, handle:timestamp() / 1000
  if shown == nil or now >= till then shown = fetched(handle, now) end
  if shown == nil then
    return handle:respond({[":status"] = "401"}, "there is no token for the remote\n")
  end
  handle:headers():replace("authorization", "Bearer " .. shown)
end

function envoy_on_response(handle)
  if handle:headers():get(":status") == "401" then token = nil end
end
"""


def in_hop(backend: RemoteBackend) -> Message:
    """Return the HTTP filter that adds the token; if there is none, it answers instead."""
    return lua.filter_of(PROGRAM.replace("{cluster}", identity.named(METADATA_SERVER, backend)))


def cluster(backend: RemoteBackend, params: GatewayParams) -> Message:
    """Return the cluster of the metadata server, by IP address, so that no other host can answer for its name."""
    name = identity.named(METADATA_SERVER, backend)
    server = upstream.server(message(params.metadata_server))
    return {
        "name": name,
        "alt_stat_name": identity.stat_name(METADATA_SERVER, backend),
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": upstream.load_assignment(name, [server]),
    }
