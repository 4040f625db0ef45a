"""Paths that only the model's own servers can answer, or that only their operator may use: local-only by default.

They come from the route tables of vLLM, SGLang, TGI, Triton and KServe, llama.cpp, Ollama, Ray Serve and LiteLLM, and
from the OpenAI, Anthropic and Gemini APIs that these servers implement. Each is matched at the root and below `/v1`,
`/openai`, `/api`; what names credentials is matched anywhere in a path.
"""

import re
import string

from beamlit_controller.envoy import negation, paths
from beamlit_controller.envoy.local_paths_accounts import ACCOUNTS, SEGMENTS
from beamlit_controller.envoy.local_paths_proxies import LITELLM
from beamlit_controller.envoy.local_paths_servers import (
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

# Those of Ray Serve, of the gateway itself, and of debuggers.
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
    "flush",
    "administration",
    "manage",
    "rpc",
    "log_level",
    "model_info",
    "get_model_info",
)

# Objects stored by one server, which no other server knows.
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

# How the custom methods of inference begin: those of Google's APIs (`:streamGenerateContent`, `:rawPredict`), KServe and TensorFlow
# Serving. All others manage something, such as `:unload`.
METHODS_OF_INFERENCE = (
    *("predict", "rawpredict", "raw", "direct", "stream", "serverstream", "infer", "generate", "embed", "batchembed"),
    *("explain", "classif", "regress", "count", "compute", "chat", "complet", "converse", "invoke", "rank", "rerank"),
    *("score", "recognize", "synthesize", "transcribe", "translate", "detect", "annotate", "batchannotate", "analyze"),
    *("query", "answer", "ask", "process", "search"),
)
# The result of the last one has to be fetched from where it was started.
OTHER_METHODS = f"{negation.not_beginning(METHODS_OF_INFERENCE, letters=string.ascii_lowercase)}|predictlongrunning"

PATHS = "|".join(
    (
        paths.resources(tuple(dict.fromkeys(RESOURCES))),
        paths.with_segment(SEGMENTS),
        paths.with_method(OTHER_METHODS),
    )
)
"""The regular expression of all of them, for case-insensitive use."""


def holds(path: str) -> bool:
    """Return whether the path is one of these, or below one."""
    return re.fullmatch(PATHS, path, re.IGNORECASE) is not None
