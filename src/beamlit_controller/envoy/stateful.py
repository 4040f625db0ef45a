"""Paths that only the model's own servers can answer, or that only their operator may use: local-only by default.

From the route tables of vLLM, SGLang, TGI, Triton and KServe, llama.cpp, Ollama, Ray Serve and LiteLLM, and of the
OpenAI, Anthropic and Gemini APIs that they speak. Each is matched at the root and below `/v1`, `/openai`, `/api`.
"""

import re

from beamlit_controller.envoy import paths
from beamlit_controller.envoy.stateful_proxies import ACCOUNTS, LITELLM
from beamlit_controller.envoy.stateful_servers import (
    LLAMA_CPP,
    OLLAMA,
    OTHERS,
    RAY,
    SGLANG,
    TOKENIZER,
    TRITON,
    VLLM,
)

HEALTH = (
    "metrics",
    "health",
    "healthz",
    "health_generate",
    "ready",
    "readyz",
    "live",
    "livez",
    "ping",
    "version",
    "load",
    "info",
    "healthcheck",
    "status",
    "statusz",
    "stats",
)

# Ray Serve's and the gateway's own, and what a debugger opens.
OPERATOR = (
    "-",
    "admin",
    "actuator",
    "api-doc",
    "debug",
    "docs",
    "openapi.json",
    "pprof",
    "redoc",
    "server_info",
    "get_server_info",
    "shutdown",
    "quitquitquit",
    "stop",
    "restart",
    "reload",
    "drain",
    "log_level",
    "model_info",
    "get_model_info",
)

# Objects that one server keeps: a request about one of them means nothing to another.
OPENAI = (
    "files",
    "uploads",
    "upload",
    "batches",
    "fine_tuning",
    "fine-tunes",
    "assistants",
    "threads",
    "vector_stores",
    "vector_store",
    "indexes",
    "conversations",
    "containers",
    "evals",
    "videos",
    "skills",
    "chatkit",
    "organization",
    "organizations",
    "projects",
    "responses/",
    "interactions/",
    "chat/completions/",
    "messages/batches",
    "messages/count_tokens",
    "realtime/",
    "cachedContents",
    "tunedModels",
    "corpora",
    "fileSearchStores",
)

RESOURCES = (
    *HEALTH,
    *OPERATOR,
    *OPENAI,
    *TOKENIZER,
    *VLLM,
    *SGLANG,
    *TRITON,
    *LLAMA_CPP,
    *OLLAMA,
    *RAY,
    *LITELLM,
    *OTHERS,
    *ACCOUNTS,
)

PATHS = paths.resources(tuple(dict.fromkeys(RESOURCES)))
"""The regular expression of all of them, to be used without case."""


def holds(path: str) -> bool:
    """Return whether this path is one of them, or below one."""
    return re.fullmatch(PATHS, path, re.IGNORECASE) is not None
