"""Names of headers and query parameters that carry a client's identity, origin and credentials."""

# Headers among proxies: the client's address, and what an authenticating proxy adds.
OURS = ("x-envoy-", "x-offload", "x-forwarded-")
OF_PROXIES = (
    "cf-access-",
    "cf-connecting-ip",
    "cf-ip",
    "cf-pseudo-ip",
    "cf-ray",
    "cf-visitor",
    "cloudfront-",
    "fly-",
    "x-fly-",
    "akamai-",
    "x-akamai-",
    "do-connecting-ip",
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
    "x-nf-",
    "x-oidc-",
    "oidc-",
    "x-okta-",
    "x-original-",
    "x-pomerium-",
    "x-real-",
    "x-remote-",
    "remote-",
    "shib-",
    "x-shib-",
    "x-saml-",
    "x-invoke-",
    "x-istio-",
    "x-middleware-",
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
    "http-x-forwarded-for",
    "x-originating-ip",
    "x-endpoint-api-userinfo",
    "x-host",
    "x-scope-orgid",
    "x-grafana-id",
    # Some servers replace the request's path or method by these, which no rule has checked.
    "x-rewrite-url",
    "x-http-destinationurl",
    "x-override-url",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-matched-path",
    "x-ms-original-url",
    "x-request-uri",
    "x-script-name",
    "x-waws-unencoded-url",
)

# Gateways used as remotes send the request, and the key that came with it, to a host that the client names in these.
DESTINATIONS = (
    (
        "(?:.*-)?(?:api|backend|base|callback|custom|destination|endpoint|forward|proxy|redirect|target|upstream|webhook)"
        "-(?:address|endpoint|host|server|to|uri|url)"
    ),
    "x-(?:backend|destination|endpoint|proxy|seldon-route|target|upstream|webhook)",
    "(?:.*-)?api-base",
    "(?:.*-)?provider",
    "x-portkey-(?:config|forward-headers)",
    "helicone-fallbacks",
)
# Headers that override the model in the body.
MODELS = (
    "(?:.*-)?v?models?(?:-(?:name|id|override|rewrite))?",
    "(?:.*-)?(?:model-group|deployment|deployment-id|inference-component|target-variant)",
    "x-ai-eg-.*",
    "x-litellm-tags",
)

# The client's own credentials for the local side; the spec may let them pass.
CREDENTIALS = (
    "cookie",
    "cookie2",
    "(?:x-)?dpop(?:-nonce)?",
    "(?:x-)?bearer",
    "sec-token-binding",
    "chatgpt-account-id",
    # What one service tells the next about the user.
    "baggage",
    "ot-baggage-.*",
    "uberctx-.*",
    "from",
    "(?:openai|x-goog-user)-project",
    # The user or account of the request: `x-litellm-end-user-id`, `stripe-account`, `kubeflow-userid`, `x-grafana-org-id`.
    (
        "(?:.*-)?(?:account|customer|employee|end-?user|org|organization|team|tenant|user|workspace)"
        "-?(?:alias|email|groups?|id|info|ids|name|roles?)?"
    ),
    "x-(?:auth|user)-(?:id|name|email|user|username|group|groups|role|roles)",
    "(?:x-)?(?:caller|claims|email|eppn|groups?|identity|login|persistent-id|principal|roles?|sub|subject)",
    "x-rh-identity",
    "x-jwt-.*",
    "x-ms-authorization-.*",
    "(?:.*-)?appcheck",
    "(?:.*-)?(?:app|client)-?id",
    "(?:.*-)?service-?account(?:-.*)?",
    "(?:.*-)?(?:access|api|secret)-?key-?id",
    "(?:.*-)?(?:client|peer|ssl|tls|user)-(?:.*-)?(?:cert|certificate|dn)",
    "(?:x-)?(?:2fa|basic|certificate|license|mfa(?:-code)?|nonce|passcode|passkey|pin|sign|totp)",
    "(?:.*-)?(?:php|j)?sess?ionid",
    "signature-input",
)
KEYS_OF = (
    "access|account|admin|anthropic|anyscale|apisix|app|application|assemblyai|auth|aws|azure|baseten|"
    "bearer|billing|cerebras|client|cohere|customer|dashscope|databricks|deepgram|deepinfra|deepseek|"
    "developer|device|e2b|elevenlabs|encryption|fastly|fireworks|functions|gateway|gemini|google|groq|"
    "helicone|hf|huggingface|hyperbolic|ibm|insert|jina|kong|langfuse|langsmith|license|litellm|llm|"
    "master|minimax|mistral|modal|moonshot|ngc|novita|nvidia|openai|openrouter|org|organization|"
    "perplexity|portkey|private|project|provider|proxy|public|qwen|remote|replicate|root|runpod|"
    "sambanova|sas|secret|server|service|session|shared|signing|ssh|stability|subscription|team|tenant|"
    "together|upstream|user|vendor|virtual|voyage|watsonx|xai|zhipu"
)
"""Names of owners or purposes in front of `key`: `x-groq-key`, `gateway_key`."""

# Credentials by the pattern of their names: `x-litellm-api-key`, `helicone-auth`, `ocp-apim-subscription-key`, `x-amz-security-token`.
CREDENTIAL = (
    "(?:.*[-_.])?(?:auth|authn|authz|authorization|authentication|[a-z0-9]*token|jwt|assertion|[a-z0-9]*secret|[a-z0-9]*password"
    "|passwd|passphrase|pass|pwd|pat|otp|ticket|sid|sig|hmac|credentials?|signature(?:-[a-z0-9]+)?|[a-z0-9]*api[-_.]?keys?"
    f"|(?:access|login|security|verification)[-_.]?code|(?:{KEYS_OF})[-_.]?key)"
    "|(?:x-)?key"
)

# Compared by their letters and digits in lower case, like all that follow.
QUERY_DESTINATIONS = ("apibase", "baseurl", "targeturl", "upstream", "upstreamurl")
QUERY = (
    "$userproject",
    "accesskeyid",
    "accountid",
    "appid",
    "assertion",
    "auth",
    "authentication",
    "authkey",
    "authorization",
    "awsaccesskeyid",
    "bearer",
    "clientid",
    "code",
    "cookie",
    "credential",
    "credentials",
    "developerkey",
    "email",
    "googleaccessid",
    "gsessionid",
    "hmac",
    "jsessionid",
    "jwt",
    "key",
    "license",
    "login",
    "masterkey",
    "nonce",
    "oauthconsumerkey",
    "organization",
    "organizationid",
    "orgid",
    "otp",
    "pass",
    "passphrase",
    "passwd",
    "pat",
    "phpsessid",
    "pin",
    "privatekey",
    "projectkey",
    "pwd",
    "quotauser",
    "samlresponse",
    "sas",
    "serviceticket",
    "session",
    "sessionid",
    "sharedkey",
    "sid",
    "sig",
    "subscriptionkey",
    "tenantid",
    "ticket",
    "user",
    "userid",
    "userkey",
    "username",
    "userproject",
    "virtualkey",
)
# Suffixes, because prefixes vary: `openai_api_key`, `X-Amz-Security-Token`.
QUERY_SUFFIXES = (
    *(
        "apikey",
        "apikeys",
        "clientassertion",
        "password",
        "secret",
        "signature",
        "token",
        "xamzcredential",
        "xgoogcredential",
    ),
    *("accesscode", "logincode", "passcode", "securitycode", "verificationcode"),
)
