"""Paths that only the model's own servers can answer, or only their operator may ask: they stay by default.

From the route tables of vLLM, SGLang, TGI, Triton and KServe, llama.cpp, Ollama, Ray Serve and LiteLLM, and of the
OpenAI, Anthropic and Gemini APIs that they speak. Each is matched at the root and below `/v1`, `/openai`, `/api`.
"""

import re

from beamlit_controller.envoy import paths

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
)

# Ray Serve's and the gateway's own, and what a debugger opens.
OPERATOR = ("-", "debug", "docs", "openapi.json", "server_info", "get_server_info", "model_info", "get_model_info")

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

TOKENIZER = ("tokenize", "detokenize", "chat_tokenize", "apply-template", "tokenizer_info")

VLLM = (
    "load_lora_adapter",
    "unload_lora_adapter",
    "load_lora_adapter_from_tensors",
    "sleep",
    "wake_up",
    "is_sleeping",
    "pause",
    "resume",
    "is_paused",
    "reset_prefix_cache",
    "reset_mm_cache",
    "reset_encoder_cache",
    "collective_rpc",
    "start_profile",
    "stop_profile",
    "scale_elastic_ep",
    "is_scaling_elastic_ep",
    "abort_requests",
    "init_weight_transfer_engine",
    "update_weights",
    "start_weight_update",
    "start_draft_weight_update",
    "finish_weight_update",
    "get_world_size",
)

SGLANG = (
    "get_load",
    "loads",
    "flush_cache",
    "clear_hicache_storage_backend",
    "hicache",
    "set_internal_state",
    "get_internal_state",
    "set_trace_level",
    "freeze_gc",
    "start_expert_distribution_record",
    "stop_expert_distribution_record",
    "dump_expert_distribution_record",
    "update_weights_from_disk",
    "update_weights_from_tensor",
    "update_weights_from_distributed",
    "update_weights_from_ipc",
    "update_weight_version",
    "init_weights_update_group",
    "destroy_weights_update_group",
    "init_weights_send_group_for_remote_instance",
    "send_weights_to_remote_instance",
    "remote_instance_transfer_engine_info",
    "get_weights_by_name",
    "weights_checker",
    "check_weights",
    "release_memory_occupation",
    "resume_memory_occupation",
    "slow_down",
    "open_session",
    "close_session",
    "configure_logging",
    "abort_request",
    "pause_generation",
    "continue_generation",
    "dumper",
)

TRITON = (
    "repository",
    "systemsharedmemory",
    "cudasharedmemory",
    "tpusharedmemory",
    "xlasharedmemory",
    "trace",
    "logging",
    "models/stats",
    "models/*/stats",
    "models/*/config",
    "models/*/ready",
    "models/*/trace",
    "models/*/versions/*/stats",
    "models/*/versions/*/config",
    "models/*/versions/*/ready",
    "models/*/versions/*/trace",
    "models/*/load",
    "models/*/unload",
    *(
        f"inference.GRPCInferenceService/{method}"
        for method in (
            "ServerLive",
            "ServerReady",
            "ServerMetadata",
            "ModelReady",
            "ModelMetadata",
            "ModelConfig",
            "ModelStatistics",
            "RepositoryIndex",
            "RepositoryModelLoad",
            "RepositoryModelUnload",
            "SystemSharedMemoryStatus",
            "SystemSharedMemoryRegister",
            "SystemSharedMemoryUnregister",
            "CudaSharedMemoryStatus",
            "CudaSharedMemoryRegister",
            "CudaSharedMemoryUnregister",
            "TraceSetting",
            "LogSettings",
        )
    ),
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)

LLAMA_CPP = (
    "slots",
    "props",
    "lora-adapters",
    "lora-adapters-list",
    "models/load",
    "models/unload",
    "models/download",
    "cors-proxy",
    "tools",
)

OLLAMA = tuple(
    f"api/{name}"
    for name in (
        "pull",
        "push",
        "create",
        "copy",
        "delete",
        "show",
        "blobs",
        "ps",
        "tags",
        "me",
        "signout",
        "experimental",
    )
)

RAY = ("api/jobs", "api/serve", "api/cluster_status")

# Where the first word is one that others may use, the second tells.
LITELLM = (
    "model/new",
    "model/update",
    "model/delete",
    "model/info",
    "model/settings",
    "model/cost_map",
    "model/metrics",
    "model/*/update",
    "tag/new",
    "tag/update",
    "tag/delete",
    "tag/info",
    "tag/list",
    "project/new",
    "project/update",
    "project/delete",
    "add/allowed_ip",
    "delete/allowed_ip",
    "update/internal_user_settings",
    "update/default_team_settings",
    "update/sso_settings",
    "update/ui_settings",
    "update/ui_theme_settings",
    "update/mcp_semantic_filter_settings",
    "utils/token_counter",
    "utils/transform_request",
    "utils/test_policies_and_guardrails",
    "reload/model_cost_map",
    "schedule/model_cost_map_reload",
    "cost/estimate",
    "router/settings",
    "email/event_settings",
    "key",
    "user",
    "team",
    "customer",
    "end_user",
    "budget",
    "model_group",
    "model_access_group",
    "access_group",
    "credentials",
    "config",
    "config_overrides",
    "cache",
    "spend",
    "global",
    "sso",
    "login",
    "logout",
    "onboarding",
    "invitation",
    "scim",
    "audit",
    "guardrails",
    "policies",
    "policy",
    "prompts",
    "mcp",
    "mcp-rest",
    "search_tools",
    "callbacks",
    "block",
    "unblock",
    "settings",
    "alerting",
    "event_logging",
    "ui",
    "rag",
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
)

PATHS = paths.resources(tuple(dict.fromkeys(RESOURCES)))
"""The regular expression of all of them, to be used without case."""


def holds(path: str) -> bool:
    """Tell whether this path is one of them, or below one."""
    return re.fullmatch(PATHS, path, re.IGNORECASE) is not None
