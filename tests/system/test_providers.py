"""The recipes for providers: each reads from the gateway what its public documentation asks for."""

import json
import subprocess
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from beamlit_controller.api import manifests
from beamlit_controller.api.settings import Settings
from beamlit_controller.core.spec import AwsSignature, OffloadSpec, Scheme
from beamlit_controller.envoy import command, config, routes
from beamlit_controller.envoy.gateway_params import GatewayParams
from docs import pages
from docs.pages import ROOT, Block
from fakes import client, one_file, secrets
from fakes.gateway import gateway
from fakes.tls import Authority
from fakes.upstream import Exchange, upstream

pytestmark = pytest.mark.system

PAGE = ROOT / "docs" / "recipes" / "providers.md"
CHAT = "/v1/chat/completions"
AUTHORIZATION = ("authorization", "Bearer the-key")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a provider's documentation asks for: its host, a path with the query, headers, and the model's name in the body."""

    host: str
    path: str
    model: str
    headers: tuple[tuple[str, str], ...] = (AUTHORIZATION,)
    asked: str = CHAT


BELOW_OPENAI = "/openai/v1/chat/completions"
AZURE = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
VERTEX = "/v1/projects/example/locations/us-central1/endpoints/openapi/chat/completions"
BEDROCK = "bedrock-runtime.us-west-2.amazonaws.com"
OPENROUTER = (AUTHORIZATION, ("http-referer", "https://example.com"), ("x-title", "models/llama"))
ANTHROPIC = (("x-api-key", "the-key"), ("anthropic-version", "2023-06-01"))

WANTED = {
    "OpenAI": Wanted("api.openai.com", CHAT, "gpt-4.1-mini"),
    "Azure OpenAI": Wanted("example.openai.azure.com", AZURE, "gpt-4o", (("api-key", "the-key"),)),
    "Azure OpenAI 2": Wanted("example.openai.azure.com", BELOW_OPENAI, "gpt-4o", (("api-key", "the-key"),)),
    "Anthropic": Wanted("api.anthropic.com", "/v1/messages", "claude-sonnet-4-5", ANTHROPIC, asked="/v1/messages"),
    "Anthropic 2": Wanted("api.anthropic.com", CHAT, "claude-sonnet-4-5"),
    "Gemini": Wanted("generativelanguage.googleapis.com", "/v1beta/openai/chat/completions", "gemini-2.5-flash"),
    "Vertex AI": Wanted("us-central1-aiplatform.googleapis.com", VERTEX, "google/gemini-2.5-flash"),
    "Vertex AI 2": Wanted("us-central1-aiplatform.googleapis.com", VERTEX, "google/gemini-2.5-flash"),
    "Amazon Bedrock": Wanted(BEDROCK, BELOW_OPENAI, "openai.gpt-oss-20b-1:0"),
    "Amazon Bedrock 2": Wanted(BEDROCK, BELOW_OPENAI, "openai.gpt-oss-20b-1:0", ()),
    "Mistral": Wanted("api.mistral.ai", CHAT, "mistral-small-latest"),
    "Groq": Wanted("api.groq.com", BELOW_OPENAI, "llama-3.1-8b-instant"),
    "Together": Wanted("api.together.xyz", CHAT, "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
    "Fireworks": Wanted(
        "api.fireworks.ai", "/inference/v1/chat/completions", "accounts/fireworks/models/llama-v3p1-8b-instruct"
    ),
    "DeepSeek": Wanted("api.deepseek.com", "/chat/completions", "deepseek-chat"),
    "OpenRouter": Wanted("openrouter.ai", "/api/v1/chat/completions", "meta-llama/llama-3.1-8b-instruct", OPENROUTER),
    "Another vLLM": Wanted("vllm.example.com:8000", CHAT, "llama"),
    "Another gateway of this kind": Wanted(
        "models.example.com", "/models/llama/v1/chat/completions", "llama", (("x-offload-hops", "1"),)
    ),
    "LiteLLM": Wanted("litellm.example.com", CHAT, "claude-via-litellm"),
    "Envoy AI Gateway": Wanted("ai-gateway.example.com", CHAT, "claude-sonnet-4-5", ()),
}


AWS = "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = secret\n"


async def gives_a_token(exchange: Exchange) -> None:
    await exchange.respond(json.dumps({"access_token": "the-key", "expires_in": 3600}).encode())


def recipes() -> dict[str, Block]:
    """Return the blocks of the page by their heading; of several below one, from the second on with a number."""
    headings = [(number, line[3:]) for number, line in enumerate(PAGE.read_text().splitlines(), 1) if line[:3] == "## "]
    found: dict[str, Block] = {}
    seen: Counter[str] = Counter()
    for block in (each for each in pages.blocks("yaml") if each.page == PAGE):
        heading = [text for number, text in headings if number < block.line][-1]
        seen[heading] += 1
        found[heading if seen[heading] == 1 else f"{heading} {seen[heading]}"] = block
    return found


def spec_of(block: Block) -> OffloadSpec:
    about = {"name": "llama", "namespace": "models"}
    manifest = {"apiVersion": "deployment.beamlit.com/v1alpha1", "kind": "ModelDeployment", "metadata": about}
    whole = manifest | {"spec": {"offloadingConfig": yaml.safe_load(block.text)}}
    (spec,) = manifests.parse(yaml.safe_dump(whole), settings=Settings()).specs
    return spec


def test_each_recipe_of_the_page_is_tried() -> None:
    assert list(recipes()) == list(WANTED)


@pytest.mark.parametrize("name", WANTED)
def test_envoy_takes_what_is_rendered_of_a_recipe(name: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    secrets.put(tmp_path, "remote", apiKey="the-key")
    params = GatewayParams(
        node="models/llama",
        directory=str(tmp_path),
        front="127.0.0.1:8000",
        stats="127.0.0.1:9902",
        admin=f"unix:{tmp_path}/admin.sock",
        shares=f"unix:{tmp_path}/shares.sock",
        secrets=str(tmp_path),
        system_ca=str(authority.cert),
    )
    (tmp_path / "bootstrap.json").write_text(
        json.dumps(one_file.in_one(config.files(spec_of(recipes()[name]), params)))
    )
    words = command.command(tmp_path, concurrency=1, drain=timedelta(seconds=1))

    checked = subprocess.run([*words, "--mode", "validate"], capture_output=True, text=True, check=False)

    assert checked.stdout.strip() == f"configuration '{tmp_path}/bootstrap.json' OK"


@pytest.mark.parametrize("name", WANTED)
async def test_a_provider_reads_what_its_documentation_asks_for(name: str, tmp_path: Path) -> None:
    wanted, spec = WANTED[name], spec_of(recipes()[name])
    assert spec.remote is not None
    body = json.dumps({"model": "llama", "messages": []}).encode()
    secrets.put(tmp_path, "remote", apiKey="the-key", credentials=AWS)

    async def says(exchange: Exchange) -> None:
        await exchange.respond(json.dumps({"id": "1", "model": wanted.model}).encode(), headers=[AS_JSON])

    async with upstream("provider", says) as provider, upstream("metadata", gives_a_token) as metadata:
        here = replace(spec.remote, scheme=Scheme.HTTP, host="127.0.0.1", port=provider.port)
        async with (
            gateway(replace(spec, remote=here), tmp_path, share=100, metadata_server=metadata.address) as gate,
            client.connect(gate.front) as asker,
        ):
            own = ("authorization", "Bearer the-clients-own")
            answer = await asker.post(wanted.asked, body, headers=[AS_JSON, own])

    [seen] = provider.requests
    assert routes.authority(spec.remote) == wanted.host
    assert seen.line == ("POST", wanted.path, "HTTP/1.1")
    assert {(header, seen.header(header)) for header, _ in wanted.headers} == {*wanted.headers}
    assert ("AWS4-HMAC-SHA256" in str(seen.header("authorization"))) == isinstance(spec.remote.auth, AwsSignature)
    assert "the-clients-own" not in str(seen.headers)
    assert json.loads(seen.body.content) == {"model": wanted.model, "messages": []}
    assert json.loads(answer.body.content) == {"id": "1", "model": "llama"}


AS_JSON = ("content-type", "application/json")
