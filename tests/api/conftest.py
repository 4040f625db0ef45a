"""What the tests of the api share: texts to read, and a way to read them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from beamlit_controller.api import manifests
from beamlit_controller.api import settings as settings_file
from beamlit_controller.api.manifests import Parsed
from beamlit_controller.api.settings import Settings

Read = Callable[..., Parsed]
Mistakes = Callable[..., dict[str, str]]


@pytest.fixture
def data() -> Path:
    return Path(__file__).parent / "data"


@pytest.fixture
def full(data: Path) -> dict[str, Any]:
    """A manifest with every field there is."""
    return yaml.safe_load((data / "full.yaml").read_text())


@pytest.fixture
def prometheus() -> Settings:
    """Settings with a Prometheus and a remote for all."""
    return settings(
        {
            "metricInformer": {"type": "prometheus", "prometheus": {"address": "my-local-prom:9090"}},
            "defaultRemoteBackend": {"host": "default.example.com"},
            "allowedGatewayImages": ["registry.example.com/*"],
        }
    )


@pytest.fixture
def read() -> Read:
    """Read a manifest whose `spec` and `offloadingConfig` are given."""
    return _read


@pytest.fixture
def mistakes() -> Mistakes:
    """Read the same, and give the message of each mistaken field."""

    def found(config: object = None, **rest: Any) -> dict[str, str]:  # noqa: ANN401 - whatever a test writes
        parsed = _read(config, **rest)
        return {problem.field.removeprefix("spec.offloadingConfig."): problem.message for problem in parsed.problems}

    return found


def settings(config: Mapping[str, Any]) -> Settings:
    parsed = settings_file.read({"config": config})
    assert isinstance(parsed, Settings), parsed
    return parsed


def _read(
    config: object = None,
    *,
    spec: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
) -> Parsed:
    given = config or {}
    single = (
        {} if isinstance(given, dict) and "remoteBackends" in given else {"remoteBackend": {"host": "api.example.com"}}
    )
    offloading = {**single, **given} if isinstance(given, dict) else config
    document = {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "llama", "namespace": "models", **(metadata or {})},
        "spec": {"offloadingConfig": offloading, **(spec or {})},
    }
    return manifests.parse(yaml.safe_dump(document, allow_unicode=True), settings=settings or Settings())
