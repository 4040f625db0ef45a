"""Credentials for the remote. Envoy adds them inside the remote hop, from files that it reads itself."""

from urllib.parse import urlsplit

from beamlit_controller.core.spec import ApiKey, AwsSignature, GoogleToken, OAuth, RemoteBackend, SecretKey
from beamlit_controller.envoy import addresses, google_token, identity, lua, sigv4, tls, upstream
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.envoy.messages import Message, extension

CREDENTIAL = "remote_credential"
TOKEN_SERVER = "token_server"  # noqa: S105 - a name

# Read for every request, so that a late, rotated or deleted key takes effect immediately. (Envoy's SDS keeps the last value and
# does not retry after a first failure.) The key must be non-empty and contain only printable ASCII; whitespace around it, such
# as a trailing newline, is stripped.
KEY = """
local HEADER, PREFIX, FILE, MOST = {header}, {prefix}, {file}, 65536
local function key()
  local file = io.open(FILE, "r")
  if file == nil then return "" end
  local content = file:read(MOST)
  file:close()
  return trimmed(content or "")
end
function envoy_on_request(handle)
  local headers, found = handle:headers(), key()
  headers:remove(HEADER)
  if found == "" or string.find(found, "[%c\\128-\\255]") then
    handle:respond({{[":status"] = "401"}}, "the credential for the remote can't be used\\n")
  else
    headers:add(HEADER, PREFIX .. found)
  end
end
"""

# Send the token only if it is well-formed and the client secret with which it was obtained still exists.
CHECK = """
local PREFIX, FILE = "Bearer ", {file}
local function is_there()
  local file = io.open(FILE, "r")
  if file == nil then return false end
  file:close()
  return true
end
function envoy_on_request(handle)
  local headers = handle:headers()
  local value = headers:get("authorization")
  if value == nil then return end
  local token = trimmed(value, #PREFIX + 1)
  if token == "" or string.find(token, "[%c\\128-\\255]") or not is_there() then
    headers:remove("authorization")
    handle:respond({{[":status"] = "401"}}, "the credential for the remote can't be used\\n")
  end
end
"""


def filters(backend: RemoteBackend, params: GatewayParams) -> list[Message]:
    """Return the HTTP filters that add the credential; without a usable one, the hop answers instead."""
    match backend.auth:
        case None:
            return []
        case ApiKey(secret=secret, header=header, prefix=prefix):
            written = {"header": lua.text(header.lower()), "prefix": lua.text(prefix)}
            return [lua.filter_of((lua.TRIMMED + KEY).format(**written, file=lua.text(params.secret(secret))))]
        case OAuth() as oauth:
            check = (lua.TRIMMED + CHECK).format(file=lua.text(params.secret(oauth.client_secret)))
            return [_injector(_token(oauth, backend, params)), lua.filter_of(check)]
        case AwsSignature() as aws:
            return [sigv4.in_hop(aws, params)]
        case GoogleToken():
            return [google_token.in_hop(backend)]


def upstream_filters(backend: RemoteBackend, params: GatewayParams) -> Message:
    """Return the field of HttpProtocolOptions with the filters that need the final request to the remote, such as a signature."""
    if not isinstance(backend.auth, AwsSignature):
        return {}
    return {"http_filters": sigv4.behind_router(backend.auth, params)}


def secrets(backend: RemoteBackend, params: GatewayParams) -> dict[str, Message]:
    """Return the SDS resources by file name. They reference secret files, and never contain secrets."""
    if not isinstance(backend.auth, OAuth):
        return {}
    source: Message = {"filename": params.secret(backend.auth.client_secret)}
    name = identity.named(CREDENTIAL, backend)
    found: dict[str, Message] = {tls.file_of(name): {"name": name, "generic_secret": {"secret": source}}}
    if _secured(backend.auth):
        host = _token_host(backend.auth)
        trust = identity.named(tls.TOKEN_TRUST, backend)
        found[tls.file_of(trust)] = tls.trust_in(host, backend, params, trust=trust)
    return found


def clusters(backend: RemoteBackend, params: GatewayParams) -> list[Message]:
    """Return the clusters of the token endpoints."""
    if isinstance(backend.auth, GoogleToken):
        return [google_token.cluster(backend, params)]
    if not isinstance(backend.auth, OAuth):
        return []
    host = _token_host(backend.auth)
    server = addresses.join(host, _token_port(backend.auth))
    secured: Message = (
        {"transport_socket": tls.transport_socket(host, backend, params, trust=tls.TOKEN_TRUST)}
        if _secured(backend.auth)
        else {}
    )
    name = identity.named(TOKEN_SERVER, backend)
    return [
        {
            "name": name,
            "alt_stat_name": identity.stat_name(TOKEN_SERVER, backend),
            **upstream.discovery([server], respect_dns_ttl=True, dns_lookup_family="ALL", **upstream.absolute(host)),
            "connect_timeout": "2s",
            **secured,
            "load_assignment": upstream.load_assignment(name, [upstream.server(addresses.message(server))]),
        }
    ]


def _secured(oauth: OAuth) -> bool:
    return urlsplit(oauth.token_url).scheme == "https"


def _token_host(oauth: OAuth) -> str:
    return str(urlsplit(oauth.token_url).hostname)


def _token_port(oauth: OAuth) -> int:
    return urlsplit(oauth.token_url).port or (443 if _secured(oauth) else 80)


def _injector(credential: Message) -> Message:
    return extension(
        "envoy.filters.http.credential_injector",
        "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
        overwrite=True,
        credential=credential,
    )


def _token(oauth: OAuth, backend: RemoteBackend, params: GatewayParams) -> Message:
    return extension(
        "envoy.http.injected_credentials.oauth2",
        "envoy.extensions.http.injected_credentials.oauth2.v3.OAuth2",
        token_endpoint={"uri": oauth.token_url, "cluster": identity.named(TOKEN_SERVER, backend), "timeout": "5s"},
        scopes=list(oauth.scopes),
        token_fetch_retry_interval="2s",  # noqa: S106 - a duration
        client_credentials={
            "client_id": oauth.client_id,
            "client_secret": _reference(oauth.client_secret, backend, params),
            "auth_type": "URL_ENCODED_BODY",
        },
    )


def _reference(key: SecretKey, backend: RemoteBackend, params: GatewayParams) -> Message:
    name = identity.named(CREDENTIAL, backend)
    return {"name": name, "sds_config": params.watched_with(tls.file_of(name), key)}
