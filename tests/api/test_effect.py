"""Nothing is ignored silently: what was set and has no effect is told, with what happens instead."""

from collections.abc import Callable
from typing import Any

import yaml

from beamlit_controller.api import effect, manifests
from beamlit_controller.api.manifests import Parsed
from beamlit_controller.api.settings import Settings

Read = Callable[..., Parsed]
PENDING = "accepted, not in effect yet: "

IN_EFFECT = {
    "remoteBackend": {
        "scheme": "https",
        "host": "api.example.com",
        "pathPrefix": "/$workspace/$model",
        "headersToAdd": {"x-team": "search"},
        "tls": {"caSecretRef": {"name": "ca", "key": "ca.crt"}, "serverName": "api.example.com"},
        "forwardClientAuthorization": True,
        "healthCheck": {"path": "/health", "periodSeconds": 10},
        "maxInFlight": 200,
        "modelName": "llama-over-there",
        "authConfig": {"type": "apiKey", "apiKeyConfig": {"secretRef": {"name": "remote", "key": "apiKey"}}},
    },
    "metrics": [
        {"type": "Pods", "pods": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": 4}}}
    ],
    "behavior": {
        "percentage": 30,
        "mode": "Proportional",
        "engage": {"stabilizationWindowSeconds": 5, "tolerance": "0.1", "stepPercentage": 10, "periodSeconds": 5},
        "release": {"stabilizationWindowSeconds": 5, "tolerance": "0.2", "stepPercentage": 10, "periodSeconds": 5},
        "onMetricsLoss": "Offload",
        "metricsLossSeconds": 10,
        "dryRun": False,
    },
    "overflow": {
        "onStatus": [503],
        "onUnavailable": False,
        "onReset": False,
        "maxInFlightPerReplica": 16,
        "afterSeconds": 5,
        "maxRequestBytes": 3,
    },
    "onRemoteFailure": "Fail",
    "keepLocal": [{"header": "a", "value": "b"}, {"pathPrefix": "/x"}],
    "mayLeave": [{"header": "a", "value": "c"}],
    "stickiness": {"cookie": "sid"},
    "allowOverride": True,
}


def pending(parsed: Parsed) -> list[str]:
    assert parsed.specs, parsed.problems
    return [each.field for each in parsed.notices if each.message.startswith(PENDING)]


def test_says_nothing_of_fields_in_effect_and_of_defaults_written_out(read: Read) -> None:
    spec = {
        "model": "m",
        "enabled": True,
        "serviceRef": {"name": "a", "targetPort": 80},
        "metricServiceRef": {"name": "a", "targetPort": 80, "path": "/m"},
        "routing": {"mode": "Takeover"},
        "gateway": {"replicas": 2, "drainSeconds": 60, "image": "", "imagePullSecrets": [], "resources": {}},
    }

    assert pending(read(IN_EFFECT, spec=spec)) == []


def test_tells_every_field_without_effect_that_was_set(full: dict[str, Any], prometheus: Settings) -> None:
    parsed = manifests.parse(yaml.safe_dump(full), settings=prometheus)

    assert pending(parsed) == [each.field for each in effect.PENDING]


def test_says_what_happens_instead(read: Read) -> None:
    parsed = read(spec={"routing": {"mode": "Service"}})

    assert pending(parsed) == ["spec.routing.mode"]
    assert any("clients use the address that the gateway listens at" in each.message for each in parsed.notices)
