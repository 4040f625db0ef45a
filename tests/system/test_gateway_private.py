"""What a client says that is not the remote's business: it stays here, wherever it stands in the request."""

from pathlib import Path

import pytest

import builders
from fakes import client
from fakes.gateway import gateway, to
from fakes.upstream import Exchange, upstream

pytestmark = pytest.mark.system

SECRETS = (
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "api-key",
    "apikey",
    "x-goog-api-key",
    "x-goog-iap-jwt-assertion",
    "x-goog-authenticated-user-email",
    "x-amz-security-token",
    "x-amzn-oidc-accesstoken",
    "x-amzn-oidc-data",
    "ocp-apim-subscription-key",
    "x-functions-key",
    "x-auth-token",
    "x-access-token",
    "x-id-token",
    "private-token",
    "cf-access-jwt-assertion",
    "cf-access-client-secret",
    "cf-aig-authorization",
    "cf-connecting-ip",
    "x-auth-request-access-token",
    "x-auth-request-email",
    "x-ms-token-aad-access-token",
    "x-ms-client-principal",
    "x-litellm-api-key",
    "helicone-auth",
    "x-portkey-virtual-key",
    "dpop",
    "openai-organization",
    "openai-project",
    "x-forwarded-access-token",
    "x-forwarded-client-cert",
    "X-Some-New-Vendor-Api-Key",
    "signature",
    "x-litellm-key",
    "x-rapidapi-key",
    "X-OpenAI-Key",
    "x-app-key",
    "x-consumer-username",
    "client-ip",
    "x-remote-addr",
    "x-original-url",
    "x-http-method-override",
    "x-groq-key",
    "fastly-key",
    "x-session-key",
    "x.api.key",
    "x-verification-code",
    "dashscope-key",
    "clientsecret",
    "apitoken",
    "x-sessiontoken",
    "x-portkey-aws-access-key-id",
    "x-ms-authorization-auxiliary",
    "x-firebase-appcheck",
    "x-goog-vertex-service-account-json",
    "x-ssl-client-verify-cert",
    "client-certificate",
    "x-dpop",
    "sec-token-binding",
    "x-2fa",
    "x-passcode",
    "x-nonce",
    "jsessionid",
    "http-x-forwarded-for",
    # Keys of anybody: only some are harmless.
    "x-internal-key",
    "x-supabase-key",
    "acme.dev-key",
    "x-never-heard-of-key",
    "x-mycache-secret-key",
    "unlisted.key",
    "x-shopify-hmac-sha256",
    "x-hmac-sha512",
    "x-cookie",
    "x-auth-cookie",
    "x-auth-data",
    "x-authz-anything-else",
    "x-acme-oauth-state",
    "x-csrf",
    "x-ak",
)
WHO = (
    "x-openwebui-user-email",
    "x-user-id",
    "x-auth-groups",
    "x-userinfo",
    "x-authentik-username",
    "remote-email",
    "x-remote-extra-scopes",
    "tailscale-user-login",
    "impersonate-user",
    "oidc-claim-sub",
    "x-jwt-claims",
    "chatgpt-account-id",
    "cf-ipcountry",
    "cloudfront-viewer-address",
    "fly-client-ip",
    "x-vercel-ip-city",
    "x-azure-socketip",
    "x-arr-clientcert",
    "x-client-cert-subject",
    "x-spiffe-id",
    "x-appengine-user-ip",
    "wl-proxy-client-ip",
    "x-true-client-ip",
    "x-real-port",
    "x-original-host",
    "x-forwarded",
    "x-host",
    "cookie2",
    "bearer",
    "x-key",
    "x-signature-ed25519",
    "langfuse-public-key",
    "modal-key",
    "x-admin-key",
    "x-otp",
    "x-authz",
    "from",
    "baggage",
    "uberctx-user",
    "x-user",
    "x-email",
    "x-groups",
    "x-ticket",
    "x-sig",
    "sid",
    "x-litellm-end-user-id",
    "stripe-account",
    "kubeflow-userid",
    "x-grafana-org-id",
    "anthropic-organization-id",
    "x-tenant-id",
    "x-workspace",
    "x-customer-email",
    "x-rh-identity",
    "x-sub",
    "x-claims",
    "eppn",
    "shib-session-id",
    "x-saml-user",
    "x-ibm-client-id",
    "x-app-id",
    "do-connecting-ip",
    "x-akamai-edgescape",
    "fly-region",
    "x-istio-attributes",
    "x-user-claims",
    "x-user-favourite-colour",
    "x-developer-email",
    "x-member-id",
    "x-staff",
    "x-upn",
    "x-ntuser",
    "acme-enduser-ref",
    "x-on-behalf-of",
    "acme-act-as",
    "x-proxiedentitieschain",
    "x-mtls-subject",
    "x-clientcert",
    "acme-certificate-issuer",
    "x-source-ip",
    "x-peer-ip",
    "ip",
)
ELSEWHERE = (
    "x-portkey-custom-host",
    "x-portkey-config",
    "helicone-target-url",
    "helicone-openai-api-base",
    "x-gateway-destination-endpoint",
    "x-upstream-url",
    "x-proxy-to",
    "x-target",
    "x-backend-host",
    "x-webhook-url",
    "x-override-url",
    "x-http-host-override",
    "x-matched-path",
    "x-script-name",
    "x-middleware-rewrite",
    "x-ai-gateway-provider",
    "x-portkey-forward-headers",
)
HARMLESS = (
    ("anthropic-version", "2023-06-01"),
    ("anthropic-beta", "a"),
    ("openai-beta", "b"),
    ("api-version", "1"),
    ("idempotency-key", "one"),
    ("x-session-id", "s"),
    ("x-max-tokens", "5"),
    ("x-request-id", "r"),
    ("authority-of", "x"),
    ("prompt-cache-key", "k"),
    ("cf-aig-cache-key", "k"),
    ("x-partition-key", "p"),
    ("x-monkey", "m"),
    ("x-authority", "a"),
    ("x-iphone", "i"),
    ("x-tokens-used", "t"),
    ("x-certainty", "c"),
    ("x-ms-client-request-id", "r"),
    ("x-amz-user-agent", "aws-sdk-js"),
    ("x-goog-request-params", "model=gemini"),
    ("x-amzn-bedrock-trace", "ENABLED"),
    ("x-stainless-lang", "python"),
    ("x-user-agent", "grpc"),
    ("x-goog-api-client", "gl-python"),
    ("x-amz-bedrock-kb", "k"),
    ("http-referer", "https://a.test"),
    ("x-title", "t"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
)


@pytest.mark.parametrize("names", [SECRETS, WHO, ELSEWHERE])
async def test_credentials_and_where_else_to_send_them_stay_whatever_they_are_called(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    async with (
        upstream("local") as local,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=100) as gate,
    ):
        # Envoy takes 100 headers.
        for some in (names[::2], names[1::2]):
            await client.ask(gate.front, headers=(*((name, "hush") for name in some), *HARMLESS))

    assert len(remote.requests) == 2
    for seen in remote.requests:
        assert "hush" not in str(seen.headers)
        assert set(HARMLESS) <= set(seen.headers)


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        ("/v1/chat?api-version=1&key=hush", "/v1/chat?api-version=1"),
        ("/v1/chat?key=hush", "/v1/chat"),
        ("/v1/chat?API_KEY=hush&a=1", "/v1/chat?a=1"),
        ("/v1/chat?a=1;b=%20&api-key=hush;c=2", "/v1/chat?a=1;b=%20;c=2"),
        ("/v1/chat?%6bey=hush&x=%2f", "/v1/chat?x=%2f"),
        ("/v1/chat?openai_api_key=hush&max_tokens=3&client%5Fassertion=hush", "/v1/chat?max_tokens=3"),
        ("/v1/chat?access_token=hush&X-Amz-Signature=hush&sig=hush", "/v1/chat"),
        ("/v1/chat?monkey=1&keys=2&a=key=3&", "/v1/chat?monkey=1&keys=2&a=key=3&"),
        ("/v1/chat?sid=hush&session_id=hush&wsToken=hush&x=1", "/v1/chat?x=1"),
        ("/v1/chat?", "/v1/chat"),
        ("/v1/chat?key&key[]=hush&b", "/v1/chat?b"),
        ("/v1/chat?userId=hush&%24userProject=hush&client_id=hush&state=1", "/v1/chat?state=1"),
        ("/v1/chat?groq-key=hush&passphrase=hush&PHPSESSID=hush&base_url=hush&x=1", "/v1/chat?x=1"),
        ("/v1/chat?a=1?key=hush&b=c?d", "/v1/chat?a=1&b=c?d"),
        ("/v1/chat?api.key=hush&api_key[0]=hush&key%00=hush&deepgram-key=hush&max_tokens=1", "/v1/chat?max_tokens=1"),
        (
            "/v1/chat?apiKeys=hush&cookie=hush&accessCode=hush&hotkey=1&turkey=2&a[1]=3",
            "/v1/chat?hotkey=1&turkey=2&a[1]=3",
        ),
        (
            "/v1/chat?OSSAccessKeyId=hush&q-ak=hush&ak=hush&sk=hush&secret_id=hush&dev_key=hush&psw=hush&usr=hush&uid=hush&x=1",
            "/v1/chat?x=1",
        ),
        (
            "/v1/chat?mail=hush&client_ip=hush&x-forwarded-for=hush&remote_user=hush&SAMLart=hush&endUserRef=hush&x=1",
            "/v1/chat?x=1",
        ),
        ("/v1/chat?callback_url=a&webhookUrl=b&endpoint=c&proxy=e&my_target_host=f&x=1", "/v1/chat?x=1"),
        ("/v1/chat?target=http%3a%2f%2fa&backend=a.example&x=1", "/v1/chat?x=1"),
        ("/v1/chat?target=de&backend=vllm", "/v1/chat?target=de&backend=vllm"),
        ("/v1/chat?someonesKey=hush&never-heard-of-key=hush&aUth=hush&hmac_sha256=hush&userClaims=hush", "/v1/chat"),
        (
            "/translate?api-version=3.0&from=en&to=de&cache_key=1&promptCacheKey=2&user_agent=u&tokens=3&author=4&ip4=5",
            "/translate?api-version=3.0&from=en&to=de&cache_key=1&promptCacheKey=2&user_agent=u&tokens=3&author=4&ip4=5",
        ),
        (
            "/v1/listen?keyterm=a&encoding=b&sample_rate=1&alt=sse",
            "/v1/listen?keyterm=a&encoding=b&sample_rate=1&alt=sse",
        ),
    ],
)
async def test_credentials_in_the_query_stay_and_the_rest_is_untouched(tmp_path: Path, sent: str, arrives: str) -> None:
    async with (
        upstream("local") as local,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=100) as gate,
    ):
        await client.ask(gate.front, sent)
        await gate.offload(0)
        await client.ask(gate.front, sent)

    assert [request.line[1] for request in remote.requests] == [arrives]
    assert [request.line[1] for request in local.requests] == [sent]


async def test_a_user_adds_headers_and_parameters_to_the_list(tmp_path: Path) -> None:
    async with upstream("local") as local, upstream("remote") as remote:
        target = to(remote, headers_to_remove=("X-Team",), query_to_remove=("user-id",))
        async with gateway(builders.spec(remote=target), tmp_path, local=[local], share=100) as gate:
            await client.ask(
                gate.front, "/?user_id=hush&a=1&key=hush", headers=(("x-team", "hush"), ("x-api-key", "hush"))
            )

    [seen] = remote.requests
    assert seen.line[1] == "/?a=1"
    assert "hush" not in str(seen.headers)


async def test_what_is_forwarded_by_choice_passes_but_for_what_proxies_and_the_user_say(tmp_path: Path) -> None:
    async with upstream("local") as local, upstream("remote") as remote:
        target = to(remote, forward_client_authorization=True, headers_to_remove=("x-team",))
        async with gateway(builders.spec(remote=target), tmp_path, local=[local], share=100) as gate:
            names = (
                "authorization",
                "x-api-key",
                "cookie",
                "x-goog-api-key",
                "x-team",
                "x-forwarded-for",
                "cf-access-token",
            )
            await client.ask(gate.front, "/?key=mine", headers=[(name, "a=b") for name in names])

    [seen] = remote.requests
    passed = {name for name, value in seen.headers if value == "a=b"}
    assert passed == {"authorization", "x-api-key", "cookie", "x-goog-api-key"}
    assert seen.line[1] == "/?key=mine"


PROTOCOLS = {
    "realtime, openai-insecure-api-key.hush, openai-beta.realtime-v1, openai-organization.hush": (
        "realtime, openai-beta.realtime-v1"
    ),
    # What follows the name of a key is the key.
    "token, hush": None,
    "realtime, Bearer, hush, graphql-transport-ws": "realtime, graphql-transport-ws",
    "access_token,auth-hush,json": "json",
    "base64url.bearer.authorization.k8s.io.hush, v5.channel.k8s.io": "v5.channel.k8s.io",
    "chat, 9f86d081884c7d659a2feaa0hush": "chat",
    "chat, AbCdEfGhIjKlMnOpQrStUhush": "chat",
    "mqttv3.1, v12.stomp, graphql-ws": "mqttv3.1, v12.stomp, graphql-ws",
}


async def test_keys_in_websocket_protocols_stay(tmp_path: Path) -> None:
    upgrade = (
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "x"),
        ("sec-websocket-version", "13"),
    )
    async with (
        upstream("local") as local,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=100) as gate,
    ):
        for protocols in PROTOCOLS:
            await client.get(gate.front, "/v1/realtime", headers=(*upgrade, ("sec-websocket-protocol", protocols)))

    assert [seen.header("sec-websocket-protocol") for seen in remote.requests] == [*PROTOCOLS.values()]
    assert {seen.header("sec-websocket-key") for seen in remote.requests} == {"x"}


TO_PROXIES = (
    *(
        "x-accel-redirect",
        "x-accel-anything",
        "x-envoy-ratelimited",
        "x-envoy-immediate-health-check-fail",
        "x-sendfile",
    ),
    *(
        "x-sendfile-type",
        "x-litespeed-location",
        "surrogate-control",
        "surrogate-key",
        "edge-cache-tag",
        "cf-edge-cache",
    ),
    *(
        "cdn-cache-control",
        "akamai-cache-control",
        "gcdn-cache-control",
        "unheard-of-cache-control",
        "vercel-cache-tag",
    ),
    *("netlify-vary", "x-middleware-rewrite", "x-middleware-set-cookie", "x-matched-path", "x-appengine-blobkey"),
    *("proxy-authenticate", "x-offload", "x-offload-hops", "x-offload-session", "x-offload-anything"),
)
TO_BROWSERS = (
    *("clear-site-data", "nel", "report-to", "reporting-endpoints", "accept-ch", "accept-ch-lifetime", "critical-ch"),
    *("set-cookie", "set-cookie2", "alt-svc", "speculation-rules", "origin-agent-cluster", "origin-trial"),
    *("secure-session-registration", "sec-session-registration", "sec-session-challenge", "sec-anything"),
    *("use-as-dictionary", "attribution-reporting-register-source", "attribution-reporting-register-trigger"),
    *("observe-browsing-topics", "strict-transport-security", "service-worker-allowed", "www-authenticate"),
    *("authentication-info", "integrity-policy-report-only", "public-key-pins-report-only", "set-login"),
)
ABOUT_A_RESPONSE = (
    *("cache-control", "x-accel-buffering", "x-request-id", "openai-processing-ms", "x-ratelimit-remaining-requests"),
    *(
        "anthropic-ratelimit-requests-limit",
        "retry-after-ms",
        "content-language",
        "access-control-allow-origin",
        "link",
    ),
    *("cf-cache-status", "cache-status", "x-cache", "content-security-policy", "vary", "etag", "x-reporting", "secret"),
    *("sec-websocket-accept", "sec-websocket-protocol"),
)


async def _orders(exchange: Exchange) -> None:
    told = [(name, "/secret") for name in (*TO_PROXIES, *TO_BROWSERS)]
    marks = (("x-offload-local", "unavailable"), ("x-offload-served-by", "local"), ("x-offload-remote", "failed"))
    await exchange.respond(b"remote", headers=(*told, *marks, *((name, "harmless") for name in ABOUT_A_RESPONSE)))


async def test_the_remote_gives_no_orders(tmp_path: Path) -> None:
    async with (
        upstream("local") as local,
        upstream("remote", _orders) as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=100) as gate,
    ):
        answer = await client.ask(gate.front)

    assert answer.body.content == b"remote"
    assert not local.requests
    assert answer.header("x-offload-served-by") == "remote"
    assert "/secret" not in str(answer.headers)
    assert {name for name, value in answer.headers if value == "harmless"} == {*ABOUT_A_RESPONSE}


async def test_what_a_remote_says_of_a_clients_own_credentials_passes_with_them(tmp_path: Path) -> None:
    async with upstream("remote", _orders) as remote:
        spec = builders.spec(remote=to(remote, forward_client_authorization=True))
        async with gateway(spec, tmp_path, share=100) as gate:
            answer = await client.ask(gate.front)

    passed = {name for name, value in answer.headers if value == "/secret"}
    assert passed == {"set-cookie", "www-authenticate", "authentication-info"}


@pytest.mark.parametrize("header", [(), (("x-envoy-ratelimited", "true"),)])
async def test_a_remote_that_limits_us_is_replaced_by_local_whatever_it_says_beside(
    tmp_path: Path, header: tuple[tuple[str, str], ...]
) -> None:
    async def limited(exchange: Exchange) -> None:
        await exchange.respond(b"", status="429 Too Many Requests", headers=header)

    async with (
        upstream("local") as local,
        upstream("remote", limited) as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=100) as gate,
    ):
        answer = await client.ask(gate.front)

    assert answer.body.content == b"local"
    assert remote.requests
