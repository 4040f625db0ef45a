"""Requests that must stay: at a share of 100 %, however they are spelled, and when no local server can take them."""

from pathlib import Path

import pytest

import builders
from beamlit_controller.core.spec import HeaderMatch, PathPrefix
from fakes import client
from fakes.gateway import Gateway, gateway, to
from fakes.trouble import closes
from fakes.upstream import upstream

pytestmark = pytest.mark.system

STAYS = (
    "/metrics",
    "/metrics/",
    "/metrics/of/this",
    "/metrics?x=1",
    "/METRICS",
    "//metrics",
    "/a/../metrics",
    "/./metrics",
    "/%6detrics",
    "/%2e/metrics",
    "/%2Fmetrics",
    "/metrics%2fof",
    "/metrics;of=this",
    "/a%2f..%2fmetrics",
    "/a%5C..%5Cmetrics",
    # A dot segment beside an encoded slash or a parameter: servers resolve it in different ways.
    "/x/..%2fmetrics",
    "/..%2fmetrics",
    "/.%2fmetrics",
    "/x/..%5cmetrics",
    "/v1/x/..%2ffiles/a",
    "/v1/chat/..;/files",
    "/v1/chat/..%3b/files",
    # What is encoded twice may be decoded twice.
    "/%256detrics",
    "/v1/chat%252f..%252ffiles",
    "/v1;a=b/files",
    "/v1/files%3ba=b",
    "/v1/files",
    "/v1//files/file-1/content",
    "/v1%2Ffiles",
    "/health",
    "/healthz",
    "/ready",
    "/v1/metrics",
    # Objects, weights, sessions and accounts of one server.
    "/v1/batches",
    "/openai/v1/batches/batch-1/cancel",
    "/v1/responses/resp-1/cancel",
    "/v1/messages/batches",
    "/v1/load_lora_adapter",
    "/update_weights_from_disk",
    "/flush_cache",
    "/open_session",
    "/get_weight_version",
    "/add_external_corpus",
    "/fault_tolerance/apply",
    "/add_worker",
    "/v1/workers",
    "/v1/audio/voices",
    "/api/v1/keys",
    "/jwt/key/mapping/new",
    "/v1/tool/policy",
    "/memory-usage-in-mem-cache",
    # A proxy's passage to another provider.
    "/anthropic/v1/messages/batches",
    "/gemini/v1beta/files",
    "/azure/openai/v1/files",
    "/vllm/v1/load_lora_adapter",
    "/openai_passthrough/v1/batches",
    "/sleep",
    "/v2/repository/models/llama/load",
    "/v2/models/llama/config",
    "/v2/models/llama/versions/1/trace/setting",
    "/inference.GRPCInferenceService/RepositoryModelLoad",
    "/slots/0?action=save",
    "/models/load",
    "/api/pull",
    "/api/blobs/sha256:0",
    "/-/routes",
    "/key/generate",
    "/user/new",
    "/tokenize",
    "/v1/models",
    "/models/",
    "/v1/models;a=b",
    "/v1/chat/completions;jsessionid=a",
    "/v1/chat%0a/completions",
    "/v1/chat%ff",
    "/x/%E0%80%AE%E0%80%AE/metrics",
    "/v1.0/files",
    "/v1-beta/files",
    "/v1/chat%3Bkey=a/completions",
    "/v1/model/load",
    "/v1/lora/unload",
    "/v1/internal/model/load",
    "/load_model",
    "/workflow/register",
    "/v1/completions/render",
    "/separate_reasoning",
    "/clear_kv_blocks",
    "/release_memory",
    "/admin",
    "/v1/admin/users",
    "/actuator/shutdown",
    "/shutdown",
    "/v1/datasets",
    "/v1/accounts/a/models",
    "/v1beta/tuningJobs",
    "/async-invoke",
    # Where providers give out credentials, and where an account is administered.
    "/v1alpha/auth_tokens",
    "/v1/auth/grant",
    "/v1/single-use-token/realtime_scribe",
    "/v3/token",
    "/v1/tokens",
    "/sts/v1.0/issueToken",
    "/cognitive/sts/v1.0/ISSUETOKEN?a=b",
    "/v1/realtime/client_secrets",
    "/v1/anything/client%5Fsecrets",
    "/v1/anything%2Fapi-keys",
    "/v1/x/access_tokens;a=b",
    "/v1/serviceAccounts/a:generateAccessToken",
    "/v1/serviceAccounts/a%3AsignJwt",
    "/some/depth/oauth2/token/",
    "/oauth/authorize",
    "/v1/organizations/o/users",
    "/manage/v1/projects/p/keys",
    "/v1/billing/x",
    "/foo/Invites",
    "/v1/webhooks",
    "/v1/webhooks/default/secret",
    "/v1/deployments",
    "/openai/deployments/",
    "/v1/predictions",
    "/v1/predictions/p/cancel",
    "/v1/models/owner/name/predictions",
    "/v1/deployments/owner/name/predictions",
    "/v1/convai/agents/create",
    # Blanks of any kind at the edges of a segment.
    "/metrics%20",
    "/metrics%c2%85",
    "/metrics%E2%80%83",
    "/metrics%e3%80%80",
    "/metrics%ef%bb%bf",
    "/%20metrics",
    "/%c2%a0metrics",
    "/%ef%bb%bfmetrics",
    "/v1/%20files",
    "/v1%20/files",
    "/v1/%e2%80%8bfiles",
    "/v1%2f%e1%9a%80files/a",
    "/v1/chat/%e2%81%a0completions",
    # Keys of any kind, other credentials, and administration.
    "/v1/provisioning_keys",
    "/v1/management-keys/k/rotate",
    "/v1/never-heard-of.keys",
    "/x/y/some-key",
    "/v1/passkeys",
    "/v1/certificates",
    "/v1/client-certificate",
    "/v1/device_code",
    "/v1/x/sessions",
    "/v1/checkout",
    "/v1/variables",
    "/v1/pods",
    "/v1/instances/i/start",
    "/graphql",
    "/api/v1/graphql",
    "/console",
    "/wp-admin",
    # Methods and forms of what stays.
    "/v1/files:list",
    "/v1/files%3alist",
    "/v1/files.json",
    "/metrics.txt",
    "/metrics:",
    "/v1/users.json",
    "/v1/api-keys:rotate",
    # Methods that are no inference.
    "/v1/models/llama:unload",
    "/v1/models/llama%3Aunload/",
    "/v1/models/llama/versions/1:delete",
    "/v1/models/llama:frobnicate?a=b",
    "/v1/publishers/google/models/veo:predictLongRunning",
)
LEAVES = (
    "/",
    "/metricsfoo",
    "/v1/filesystem",
    "/healthzz",
    "/v1/models/org%2Fmodel",
    "/v1/modelsmith",
    "/api/v0/chat/completions",
    "/model/claude/invoke",
    "/v1/fim/completions",
    "/..a",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/embeddings",
    "/v1/audio/transcriptions",
    "/v1/images/generations",
    "/v1/rerank",
    "/v1/keyswords",
    "/anthropic/v1/messages",
    "/gemini/v1beta/models/gemini:generateContent",
    "/v1/models/llama:predict",
    "/v2/models/llama/infer",
    "/v2/models/llama/versions/1/generate_stream",
    "/inference.GRPCInferenceService/ModelInfer",
    "/v1beta/models/gemini:generateContent",
    "/openai/deployments/gpt/chat/completions?api-version=1",
    "/api/chat",
    "/api/generate",
    "/generate",
    "/completion",
    "/invocations",
    # Names of credentials within other words, and of accounts above a model.
    "/v1/token-classification",
    "/v1/tokenizers",
    "/v1/secretary",
    "/v1/authors",
    "/v1beta/models/gemini:countTokens",
    "/v1/deploymentsfoo",
    "/predictions/resnet",
    "/model/anthropic.claude-v2:1/converse-stream",
    "/client/v4/accounts/a/ai/run/@cf/llama",
    "/orgs/o/inference/chat/completions",
    "/ml/v1/deployments/d/text/generation",
    "/serving-endpoints/llama/invocations",
    "/v1/listen",
    "/v1/text-to-speech/voice",
    "/v2/transcript",
    "/v2/chat",
    "/v1/realtime",
    # Blanks, keys, methods and forms within other words.
    "/v1/chat%20of/completions",
    "/v1/models/%e6%97%a5%e6%9c%ac",
    "/v1/models/na%c3%afve:predict",
    "/events",
    "/v1/keyboards",
    "/v1/monkeys",
    "/v1/consoles",
    "/v1/filesystem.json",
    "/v1/chat/completions.json",
    "/v1/pods-like",
    "/v1/models/gemini:streamGenerateContent?alt=sse",
    "/v1/models/gemini%3AgenerateContent",
    "/v1beta/models/text-embedding:embedContent",
    "/v1beta/models/text-embedding:batchEmbedContents",
    "/v1/publishers/anthropic/models/claude:rawPredict",
    "/v1/publishers/anthropic/models/claude:streamRawPredict",
    "/v1/models/resnet:classify",
    "/v1/models/resnet:regress",
    "/v1/models/llama:explain",
    "/v1/models/llama:infer",
    "/v2/models/llama3:latest/infer",
    "/v1/models/llama3:8b",
)
METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "PURGE")

KEPT = (
    (("x-data-class", "restricted"),),
    (("X-Data-Class", "RESTRICTED"),),
    (("x-data-class", "  Restricted  "),),
    (("x-data-class", "public, restricted"),),
    (("x-data-class", "restricted,public"),),
    (("x-data-class", "public,\trestricted ,internal"),),
    (("x-data-class", "public"), ("x-data-class", "restricted")),
    (("x-data-class", "restricted"), ("x-data-class", "public")),
    (("x-data-class", "public"), ("X-DATA-CLASS", "a, Restricted")),
    # Readable by nobody for sure.
    (("x-data-class", ""),),
    (("x-data-class", " , "),),
    (("x-data-class", '"restricted"'),),
    (("x-data-class", "public"), ("x-data-class", "\xffrestricted")),
    (("x-data-class", "r\xe9stricted"),),
    # The other rule, whose value means itself.
    (("x-tenant", "a.b*"),),
)
SENT_AWAY = (
    (),
    (("x-data-class", "public"),),
    (("x-data-class", "restricted-not"),),
    (("x-tenant", "aXb"),),
    (("x-other", "restricted"),),
)


async def test_paths_of_the_servers_themselves_stay(tmp_path: Path) -> None:
    async with (
        upstream("local") as local,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=100) as gate,
    ):
        sides = {path: await _side(gate, path) for path in (*STAYS, *LEAVES)}
        # In HTTP/1.1 a target may also be a whole URL.
        whole = await _side(gate, "http://model.test/metrics")

    assert sides == dict.fromkeys(STAYS, "local") | dict.fromkeys(LEAVES, "remote")
    assert whole == "local"


@pytest.mark.parametrize("method", METHODS)
async def test_every_method_but_post_stays(tmp_path: Path, method: str) -> None:
    async with (
        upstream("local") as local,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=100) as gate,
        client.connect(gate.front) as asker,
    ):
        await asker.send_head(f"{method} /v1/chat/completions HTTP/1.1", ())
        answer = await asker.head()

    assert answer.header("x-offload-served-by") == "local"
    assert remote.connections == 0


async def test_rules_of_the_user_add_to_the_defaults(tmp_path: Path) -> None:
    rules = (HeaderMatch("X-Data-Class", "Restricted"), HeaderMatch("x-tenant", "a.b*"), PathPrefix("/internal/"))
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), keep_local=rules)
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            kept = [await _side(gate, "/", *headers) for headers in KEPT]
            sent_away = [await _side(gate, "/", *headers) for headers in SENT_AWAY]
            paths = [await _side(gate, path) for path in ("/internal", "/internal/x", "/internals", "/metrics")]

    assert kept == ["local"] * len(KEPT)
    assert sent_away == ["remote"] * len(SENT_AWAY)
    assert paths == ["local", "local", "remote", "local"]


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("/v1/models/private:predict", "/v1/models/private%3Apredict"),
        ("/v1/models/private:predict", "/v1/models/private%3apredict/x"),
        ("/a(b)", "/a%28b%29"),
        ("/a@b,c;d+e&f=g!$*'", "/a%40b%2Cc%3Bd%2Be%26f%3Dg%21%24%2A%27"),
        ("/a|b^{c}", "/a|b^{c}"),
        ("/a|b^{c}", "/a%7Cb%5E%7Bc%7D"),
        ("/a%20b", "/A%20B"),
        ("/a/*", "/a/%2A"),
    ],
)
async def test_a_path_stays_in_every_encoding_of_it(tmp_path: Path, rule: str, path: str) -> None:
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), keep_local=(PathPrefix(rule),))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            side = await _side(gate, path)
            other = await _side(gate, "/a/b")

    assert side == "local"
    assert other == "remote"


async def test_a_header_with_an_underscore_is_refused(tmp_path: Path) -> None:
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), keep_local=(HeaderMatch("x-data-class", "restricted"),))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            answer = await client.ask(gate.front, headers=(("x_data_class", "restricted"),))

    assert answer.line[1] == "400"
    assert not local.requests
    assert not remote.requests


async def test_a_rule_lets_other_methods_and_a_path_that_stays_by_default_leave(tmp_path: Path) -> None:
    rules = (PathPrefix("/v1/models", ("GET",)), PathPrefix("/v1/files", ("GET", "POST")), PathPrefix("/v1"))
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), may_leave=rules)
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            named = [await _side(gate, path) for path in ("/v1/chat", "/v1/files/a")]
            got = [
                (await client.get(gate.front, path)).header("x-offload-served-by")
                for path in ("/v1/models", "/v1/files")
            ]
            keys = await _side(gate, "/v1/files/api-keys"), await _side(gate, "/v1/chat/tokens")
            unnamed = [await _side(gate, path) for path in ("/v1/batches", "/v2/x", "/v1/chat/..%2f..%2fx")]
            other = (await client.get(gate.front, "/v1/chat")).header("x-offload-served-by")

    assert named == got == ["remote", "remote"]
    # Named is `/v1/files`, with all that is below it, and not everything below `/v1`.
    assert keys == ("remote", "local")
    assert [*unnamed, other] == ["local"] * 4


async def test_a_rule_for_the_root_keeps_everything(tmp_path: Path) -> None:
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), keep_local=(PathPrefix("/"),))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            sides = {await _side(gate, path) for path in ("/", "/v1/chat", "/a?b")}

    assert sides == {"local"}
    assert remote.connections == 0


async def test_a_request_that_must_stay_is_refused_rather_than_sent_away(tmp_path: Path) -> None:
    async with (
        upstream("local") as local,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=100) as gate,
    ):
        await local.stop()
        answers = [(await client.ask(gate.front, "/metrics")).line[1] for _ in range(10)]
        nowhere = await _side(gate, "/v1/chat")

    assert set(answers) == {"503"}
    assert nowhere == "remote"
    assert len(remote.requests) == 1


async def test_a_request_that_must_stay_tries_another_local_server(tmp_path: Path) -> None:
    async with (
        upstream("bad", closes) as bad,
        upstream("good") as good,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[bad, good], share=100) as gate,
    ):
        answers = [(await client.ask(gate.front, "/metrics")).line[1] for _ in range(50)]
        counted = await gate.requests()

    assert set(answers) == {"200"}
    assert bad.requests
    assert remote.connections == 0
    assert counted == {("local", "keep", "200"): 50}


async def _side(gate: Gateway, path: str, *headers: tuple[str, str]) -> str | None:
    return (await client.ask(gate.front, path, headers=headers)).header("x-offload-served-by")
