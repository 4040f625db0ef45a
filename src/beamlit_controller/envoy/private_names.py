"""Names of headers and query parameters by which clients say who they are, where they come from, and what they may."""

# What is said among proxies, of the client's address, and by a proxy that has authenticated the client.
OURS = ("x-envoy-", "x-offload", "x-forwarded-")
OF_PROXIES = (
    "cf-access-",
    "cf-connecting-ip",
    "cf-ip",
    "cf-pseudo-ip",
    "cf-ray",
    "cf-visitor",
    "cloudfront-",
    "fly-client-ip",
    "fly-forwarded-",
    "x-amz-cf-",
    "x-amzn-oidc-",
    "x-amzn-mtls-",
    "x-anonymous-consumer",
    "x-appengine-",
    "x-arr-",
    "x-auth-request-",
    "x-authenticated-",
    "x-authentik-",
    "x-azure-",
    "x-goog-iap-",
    "x-goog-authenticated-user-",
    "x-ms-client-principal",
    "x-ms-token-aad-",
    "x-nf-client-",
    "x-oidc-",
    "oidc-",
    "x-okta-",
    "x-original-",
    "x-pomerium-",
    "x-real-",
    "x-remote-",
    "remote-",
    "x-shib-",
    "x-spiffe-",
    "x-sso-",
    "x-ssl-",
    "ssl-client-",
    "x-client-cert",
    "x-tls-client-",
    "x-userinfo",
    "x-vercel-",
    "x-vouch-",
    "x-webauth-",
    "x-consumer-",
    "x-credential-",
    "impersonate-",
    "tailscale-",
    "wl-proxy-",
)
PRIVATE = (
    "proxy-authorization",
    "forwarded",
    "x-forwarded",
    "x-client-ip",
    "true-client-ip",
    "x-true-client-ip",
    "fastly-client-ip",
    "x-cluster-client-ip",
    "client-cert",
    "client-cert-chain",
    "client-ip",
    "http-client-ip",
    "proxy-client-ip",
    "x-proxyuser-ip",
    "x-originating-ip",
    "x-endpoint-api-userinfo",
    "x-host",
    "x-scope-orgid",
    "x-grafana-id",
    # By these, some servers take a request for one with another path or method, which was not looked at.
    "x-rewrite-url",
    "x-http-destinationurl",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
)

# By these, gateways that are used as remotes send a request, and the key that came with it, to a host of the client's choice.
DESTINATIONS = (
    "(?:.*-)?(?:target|upstream|destination|proxy|base|custom)-(?:url|uri|host|endpoint)",
    "(?:.*-)?api-base",
    "x-portkey-(?:config|provider)",
    "helicone-(?:target-provider|fallbacks)",
)
# Headers that override the model in the body.
MODELS = (
    "(?:.*-)?v?models?(?:-(?:name|id|override|rewrite))?",
    "(?:.*-)?(?:model-group|deployment|deployment-id|inference-component|target-variant)",
    "x-ai-eg-.*",
    "x-litellm-tags",
)

# The client gave them to the local side; the spec may let them pass.
CREDENTIALS = (
    "cookie",
    "cookie2",
    "dpop",
    "bearer",
    "x-bearer",
    "chatgpt-account-id",
    # What a service says of a user to the next one.
    "baggage",
    "ot-baggage-.*",
    "uberctx-.*",
    "from",
    "openai-organization",
    "openai-project",
    "x-goog-user-project",
    "x-openwebui-user-(?:id|name|email|role)",
    "x-(?:auth|user)-(?:id|name|email|user|username|group|groups|role|roles)",
    "x-(?:user|username|email|groups?|roles?|login|principal|subject)",
    "x-jwt-.*",
    "signature-input",
)
# By name, whoever invented it: `x-litellm-api-key`, `helicone-auth`, `ocp-apim-subscription-key`, `x-amz-security-token`.
CREDENTIAL = (
    "(?:.*[-_.])?(?:auth|authn|authz|authorization|authentication|token|accesstoken|idtoken|jwt|assertion|secret|password"
    "|passwd|passphrase|pass|pwd|pat|otp|ticket|sid|sig|hmac|credentials?|signature(?:-[a-z0-9]+)?|[a-z0-9]*api[-_]?key"
    "|(?:access|admin|anthropic|app|application|auth|baseten|client|encryption|functions|license|litellm|llm|master|modal"
    "|openai|org|organization|private|project|provider|public|root|runpod|sas|secret|server|service|signing|ssh"
    "|subscription|team|tenant|user|virtual)[-_]?key)"
    "|(?:x-)?key"
)

# Compared in lower case without `-` and `_`.
QUERY = (
    "accesskeyid",
    "assertion",
    "auth",
    "authkey",
    "authorization",
    "awsaccesskeyid",
    "bearer",
    "code",
    "credential",
    "credentials",
    "googleaccessid",
    "hmac",
    "jwt",
    "key",
    "masterkey",
    "pass",
    "passwd",
    "pat",
    "privatekey",
    "pwd",
    "sessionid",
    "sid",
    "sig",
    "subscriptionkey",
    "ticket",
    "userkey",
    "virtualkey",
)
# Suffixes, because prefixes vary: `openai_api_key`, `X-Amz-Security-Token`.
QUERY_SUFFIXES = (
    "accesskey",
    "apikey",
    "appkey",
    "clientassertion",
    "password",
    "secret",
    "secretkey",
    "signature",
    "subscriptionkey",
    "token",
    "xamzcredential",
    "xgoogcredential",
)
