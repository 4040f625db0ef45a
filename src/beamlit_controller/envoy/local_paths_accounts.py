"""Paths of providers that belong to an account: credentials and administration. The key that the gateway adds is good for all of them.

Providers differ in where they serve these, so credentials and most of the administration are recognized by any segment
of a path, at whatever depth. A model or deployment with such a name stays local, too.
"""

# `auth_tokens` of Gemini, `issueToken` of Azure, `single-use-token` of ElevenLabs, `client_secrets` of OpenAI.
_CREDENTIALS = r"[a-z0-9._-]*(?:tokens?|secrets?|credentials?|passwords?|api[._-]?keys?|(?:virtual|access)[._-]?keys?)"
# Google's custom methods, but not `countTokens`.
_CREDENTIAL_METHODS = (
    r"[^/?]*(?::|%3a)(?:create|exchange|generate|get|issue|mint|sign)[a-z]*(?:token|key|secret|jwt|blob)s?"
)

_CREDENTIAL_WORDS = (
    "auth",
    "authenticate",
    "authorize",
    "get[._-]signed[._-]url",
    "grants?",
    "iam",
    "impersonate",
    "jwt",
    "keys?",
    "login",
    "oauth2?",
    "saml",
    "sso",
    "sts",
)

# Not `accounts`, `orgs` and `deployments`: Cloudflare, GitHub, Azure and others have them in the paths of inference.
_ADMINISTRATION = (
    "admin",
    "audit[._-]logs?",
    "billing",
    "invites?",
    "invitations?",
    "invoices?",
    "members",
    "organizations?",
    "payments?",
    "permissions",
    "projects",
    "service[._-]?accounts?",
    "subscriptions?",
    "usage",
    "users",
    "webhooks?",
    "workspaces?",
)

SEGMENTS = "|".join((_CREDENTIALS, _CREDENTIAL_METHODS, *_CREDENTIAL_WORDS, *_ADMINISTRATION))
"""The regular expression of segments that keep a path, for case-insensitive use."""

# Resources as in `local_paths`: what is stored or created in an account. A prediction of Replicate has to be fetched later, by a GET,
# and may be sent to a webhook; `/predictions/NAME` of TorchServe is inference.
ACCOUNTS = (
    "me",
    "user",
    "account",
    "profile",
    "whoami",
    "register",
    "dashboard",
    "credits",
    "accounts",
    "quotas",
    "rate_limits",
    "teams",
    "groups",
    "roles",
    "customers",
    "integrations",
    "providers",
    "configs",
    "deployments$",
    "predictions$",
    "predictions/*/cancel",
    "models/*/*/predictions",
    "deployments/*/*/predictions",
    "hardware",
    "convai",
    "studio/podcasts",
    "voices/add",
    "service-catalog",
    "audio/voices",
    "audio/voice_consents",
    "datasets",
    "endpoints",
    "connectors",
    "libraries",
    "embed-jobs",
    "finetuning",
    "trainings",
    "operations",
    "tuningJobs",
    "customJobs",
    "batchPredictionJobs",
    "custom-models",
    "model-customization-jobs",
    "model-import-job",
    "model-invocation-job",
    "provisioned-model-throughput",
    "async-invoke",
    "memory",
)
