"""Names of headers and query parameters that carry a client's identity, origin and credentials.

Where a word is enough to tell, any name with it counts, so that names that nobody has listed are found. A `-` within a
word is a separator that may also be another one, or missing: `access-key-id`, `accessKeyId`.
"""

from collections.abc import Iterable

from beamlit_controller.envoy.negation import not_beginning, not_ending

# Headers among proxies: the client's address, and what an authenticating proxy adds.
OURS = ("x-envoy-", "x-offload", "x-forwarded-")
OF_PROXIES = (
    *("cf-access-", "cf-connecting-ip", "cf-ip", "cf-pseudo-ip", "cf-ray", "cf-visitor", "cloudfront-", "fly-"),
    *("x-fly-", "akamai-", "x-akamai-", "do-connecting-ip", "x-amz-cf-", "x-amzn-oidc-", "x-amzn-mtls-"),
    *("x-anonymous-consumer", "x-appengine-", "x-arr-", "x-auth-request-", "x-authenticated-", "x-authentik-"),
    *("x-azure-", "x-goog-iap-", "x-goog-authenticated-user-", "x-ms-client-principal", "x-ms-token-aad-"),
    *("x-nf-", "x-oidc-", "oidc-", "x-okta-", "x-original-", "x-pomerium-", "x-real-", "x-remote-", "remote-"),
    *("shib-", "x-shib-", "x-saml-", "x-invoke-", "x-istio-", "x-middleware-", "x-spiffe-", "x-sso-", "x-ssl-"),
    *("ssl-client-", "x-client-cert", "x-tls-", "x-mtls-", "x-userinfo", "x-vercel-", "x-vouch-", "x-webauth-"),
    *("x-consumer-", "x-credential-", "impersonate-", "tailscale-"),
    *("wl-proxy-", "x-proxied-entities", "x-proxiedentities", "l5d-client-", "x-oauth2-proxy-", "x-authelia-"),
)
PRIVATE = (
    *("proxy-authorization", "forwarded", "x-forwarded", "x-client-ip", "true-client-ip", "x-true-client-ip"),
    *("fastly-client-ip", "x-cluster-client-ip", "client-cert", "client-cert-chain", "client-ip", "http-client-ip"),
    *("proxy-client-ip", "x-proxyuser-ip", "http-x-forwarded-for", "x-originating-ip", "x-endpoint-api-userinfo"),
    *("x-host", "x-scope-orgid", "x-grafana-id", "x-ssl", "x-tls", "x-mtls"),
    # Some servers replace the request's path or method by these, which no rule has checked.
    *("x-rewrite-url", "x-http-destinationurl", "x-override-url", "x-http-host-override", "x-http-method"),
    *("x-http-method-override", "x-method-override", "x-matched-path", "x-ms-original-url", "x-request-uri"),
    *("x-script-name", "x-waws-unencoded-url"),
)

# Gateways used as remotes send the request, and the key that came with it, to a host that the client names in these:
# `x-portkey-custom-host`, `callback_url`.
DESTINATION_OF = (
    *("api", "backend", "base", "callback", "custom", "destination", "endpoint", "forward", "proxy", "redirect"),
    *("target", "upstream", "webhook"),
)
DESTINATION_AS = ("address", "endpoint", "host", "server", "to", "uri", "url")
DESTINATION = ("backend", "destination", "endpoint", "proxy", "seldon-route", "target", "upstream", "webhook")
# At the end of a name.
DESTINATION_ENDS = ("api-base", "provider")
ONLY_DESTINATION_HEADERS = ("x-portkey-(?:config|forward-headers)", "helicone-fallbacks")

# Headers that override the model in the body: any with a model or an adapter in it, and some others.
MODELS = (
    "(?:.*[-_.])?[a-z]?(?:models?|loras?|adapters?|modelversion)(?:[-_.].*)?",
    "(?:.*-)?(?:model-group|deployment|deployment-id|inference-component|target-variant)",
    "x-(?:engine|engine-id|variant|fallbacks?|predictor|router|routing)",
    "x-ai-eg-.*",
    "x-litellm-tags",
)

# Credentials, and what one service tells the next about the user, wherever these words are in a name.
ANYWHERE = (
    *("auth", "authn", "authz", "authctx", "authorization", "authentication", "oauth", "oauth2", "saml", "sso", "oidc"),
    *("cookie", "cookies", "cookie2", "claim", "claims", "jwt", "bearer", "dpop", "appcheck", "upn", "ip", "ldap"),
    *("ntlm", "email", "phone"),
    *("kerberos", "krb5", "spnego", "signature", "hmac", "cert", "certs", "certificate", "clientcert"),
    *("clientcertificate", "credential", "credentials"),
)
# At the end of a word that is the last one of a name: `clientsecret`, `x-sessiontoken`, `openai_api_key`.
ENDINGS = ("token", "secret", "password", "assertion", "apikey", "apikeys", "signature", "jwt")
# At the end of a name.
LAST = (
    *("passwd", "passphrase", "pass", "pwd", "psw", "pat", "otp", "ticket", "sid", "sig", "ak", "sk"),
    *("cred", "creds", "sign", "csrf", "xsrf", "api-key", "api-keys", "access-code", "login-code", "security-code"),
    *("verification-code", "app-id", "client-id", "secret-id", "access-key-id", "api-key-id", "secret-key-id"),
    *("service-account", "service-account-json", "on-behalf-of", "behalf-of", "act-as", "run-as"),
    *("jsessionid", "phpsessid", "remote-addr"),
)
# Whole names, also behind `x-`. No server needs to know them.
WHOLE = (
    *("caller", "mail", "eppn", "group", "groups", "identity", "login", "logon", "persistent-id", "principal", "role"),
    *("roles", "sub", "subject", "uid", "usr", "oid", "tid", "azp", "aud", "iss", "acl", "permissions", "scopes"),
    *("2fa", "basic", "license", "mfa", "mfa-code", "nonce", "passcode", "passkey", "pin", "totp", "client-dn"),
    "impersonate",
)
# The user or account of the request, and whatever is said about it: `x-litellm-end-user-id`, `x-developer-email`, `kubeflow-userid`.
PEOPLE = (
    *("account", "customer", "developer", "employee", "member", "org", "organization", "staff", "team", "tenant"),
    *("user", "workspace"),
)
ATTRIBUTES = ("alias", "data", "email", "group", "groups", "id", "ids", "info", "key", "name", "role", "roles")
# Only headers have these.
ONLY_HEADERS = (
    *("sec-token-binding", "chatgpt-account-id", "baggage", "ot-baggage-.*", "uberctx-.*", "from"),
    *("(?:openai|x-goog-user)-project", "x-rh-identity", "x-ms-authorization-.*"),
    "(?:.*-)?(?:client|peer|ssl|tls|user)-(?:.*-)?dn",
    "(?:.*-)?service-?account(?:-.*)?",
    "(?:.*-)?(?:php|j)?sess?ionid",
)
# Only queries have these; compared by their letters and digits.
ONLY_QUERY = (
    *("$userproject", "userproject", "quotauser", "code", "sas", "session", "sessionid", "gsessionid"),
    *("googleaccessid", "oauthconsumerkey", "samlart", "samlrequest", "samlresponse", "serviceticket", "relaystate"),
)

# What may be in front of `key`, at the end of a name: all other keys are credentials. `sec-websocket-key` is part of the protocol.
HARMLESS_KEYS = (
    *("affinity", "cache", "dedup", "dedupe", "deduplication", "field", "foreign", "group", "hash", "idempotency"),
    *(
        "index",
        "isolation",
        "label",
        "lookup",
        "object",
        "partition",
        "primary",
        "routing",
        "row",
        "shard",
        "sort",
        "websocket",
    ),
)
# Words that are no keys.
NO_KEYS = ("monkey", "turkey", "hotkey", "donkey", "whiskey", "hockey", "jockey")


def patterns(*, forwards_credentials: bool, selects_model: bool) -> list[str]:
    """Return regular expressions of the headers to remove besides `KEYS`, for case-insensitive use."""
    who = [] if forwards_credentials else [*_credentials(), *ONLY_HEADERS]
    return [*_destinations(), *(MODELS if selects_model else ()), *who]


def _destinations() -> tuple[str, ...]:
    of, how = "|".join(DESTINATION_OF), "|".join(DESTINATION_AS)
    return (
        f"(?:.*-)?(?:{of})-(?:{how})|(?:.*-)?(?:{_any_of(DESTINATION_ENDS)})",
        f"x-(?:{_any_of(DESTINATION)})",
        *ONLY_DESTINATION_HEADERS,
    )


def _credentials() -> tuple[str, ...]:
    ending, last = "|".join(ENDINGS), _any_of(LAST)
    people = (
        rf"(?:{'|'.join(PEOPLE)}|[a-z0-9]*user)(?:{'|'.join(ATTRIBUTES)})?(?:{_SEPARATOR}{not_beginning(['agent'])})?"
    )
    return (
        rf"(?:.*{_SEPARATOR})?(?:(?:{_any_of(ANYWHERE)})(?:{_SEPARATOR}.*)?|[a-z0-9]*(?:{ending})|{last}|{people})",
        f"(?:x-)?(?:{_any_of(WHOLE)})",
    )


_SEPARATOR = "[-_.]"


def _any_of(names: Iterable[str]) -> str:
    return "|".join(name.replace("-", f"{_SEPARATOR}?") for name in names)


_NOT_BEFORE_KEY = (*HARMLESS_KEYS, *(f"-{word.removesuffix('key')}" for word in NO_KEYS), *"-_.")
KEYS = f"(?:{not_ending(HARMLESS_KEYS)}{_SEPARATOR}|{not_ending(_NOT_BEFORE_KEY)})key"
"""The regular expression of headers with keys."""
