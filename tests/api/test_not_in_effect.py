"""Nothing is ignored silently: what was set and has no effect is told, with what happens instead."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from beamlit_controller.api import manifests, not_in_effect, standalone_rules
from beamlit_controller.api.manifests import Parsed
from beamlit_controller.api.settings import Settings
from beamlit_controller.api.settings import parse as parse_settings

Read = Callable[..., Parsed]
EXAMPLES = Path(__file__).parents[2] / "examples"
PENDING = "has no effect without a cluster: "

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
    told = [each for spec in parsed.specs for each in not_in_effect.not_in_effect(spec)]
    assert all(each.message.startswith(PENDING) for each in told)
    return [each.field for each in told]


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

    assert pending(parsed) == [each.field for each in not_in_effect.PENDING]


def test_says_what_happens_instead_without_a_cluster_and_nothing_in_one() -> None:
    example = yaml.safe_load((EXAMPLES / "prometheus.yaml").read_text())
    example["spec"]["routing"] = {"mode": "Service"}
    settings = parse_settings((EXAMPLES / "settings-prometheus.yaml").read_text())
    assert isinstance(settings, Settings)
    text = yaml.safe_dump(example)

    without, within = standalone_rules.parse(text, settings=settings), manifests.parse(text, settings=settings)

    (notice,) = without.notices
    assert str(notice).startswith(f"default/llama: spec.routing.mode: {PENDING}there are no Services")
    assert "clients use the address that the gateway listens on" in notice.message
    assert within.notices == ()
