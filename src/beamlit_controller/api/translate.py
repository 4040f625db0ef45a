"""Translates a `ModelDeployment` to a complete and valid `core.spec.OffloadSpec`, or returns all its mistakes.

`read` is the entry point for objects of both modes. A new field is translated here, in the function of its section.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from pydantic import ValidationError

from beamlit_controller.api import (
    defaults,
    metadata,
    notices,
    offloading,
    policy,
    presets,
    problems,
    remote_translation,
    scalars,
    targets,
    v1alpha1,
)
from beamlit_controller.api.metadata import OVERRIDE, OVERRIDE_AUTHOR, OVERRIDE_REASON, OVERRIDE_UNTIL
from beamlit_controller.api.metric_service import MetricServiceRef, MetricTls
from beamlit_controller.api.problems import Notice
from beamlit_controller.api.remote import SecretKeySelector
from beamlit_controller.api.request_rules import LeavingRequests, Requests
from beamlit_controller.api.settings import Settings
from beamlit_controller.api.v1alpha1 import ModelDeployment
from beamlit_controller.core import metric_spec, quantity, spec
from beamlit_controller.core.gateway_spec import GatewaySpec
from beamlit_controller.core.spec import ModelKey, OffloadSpec, Rejected
from beamlit_controller.core.stickiness import CookieStickiness, HeaderStickiness


@dataclass(frozen=True, slots=True)
class Accepted:
    """A valid resource, its notices, and why its override annotations are ignored, if they are."""

    spec: OffloadSpec
    notices: tuple[Notice, ...] = ()
    override_ignored: Rejected | None = None


def read(content: Mapping[str, object], settings: Settings) -> Accepted | tuple[Rejected, ...]:
    """Validate an object parsed from YAML or JSON; return its spec or all its mistakes. `status` is not read."""
    given = {key: value for key, value in content.items() if key != "status"}
    against_settings = tuple(policy.mistakes(given, settings))
    try:
        deployment = ModelDeployment.model_validate(given)
    except ValidationError as error:
        return (*problems.rejected(error.errors(include_url=False)), *against_settings)
    if against_settings:
        return against_settings
    ignored = metadata.mistaken_override(deployment.metadata.annotations)
    found = tuple(notices.of_deployment(deployment, ignored, settings))
    return Accepted(_spec(deployment, settings), found, ignored)


def _spec(deployment: ModelDeployment, settings: Settings) -> OffloadSpec:
    about, given, config = deployment.metadata, deployment.spec, deployment.spec.offloading_config
    model = given.model or about.name
    backends = remote_translation.backends(config, settings.default_remotes, workspace=about.namespace, model=model)
    return OffloadSpec(
        key=ModelKey(about.namespace, about.name),
        model=model,
        metrics=_metrics(config, label=_namespace_label(settings), namespace=about.namespace),
        behavior=_behavior(config.behavior, defaults.mode(config)),
        remote=backends[0] if backends else None,
        next_remotes=backends[1:],
        service=_service(given.service_ref),
        metric_service=_metric_service(given.metric_service_ref),
        source=_source(given.model_source_ref),
        environment=given.environment,
        enabled=given.enabled,
        generation=about.generation,
        routing=spec.RoutingMode(given.routing.mode),
        overflow=_overflow(config.overflow, defaults.on_status(config)),
        on_remote_failure=spec.OnRemoteFailure(config.on_remote_failure),
        keep_local=tuple(map(_requests, config.keep_local)),
        may_leave=tuple(map(_requests, config.may_leave)),
        stickiness=_stickiness(config.stickiness),
        allow_override=config.allow_override,
        gateway=_gateway(given.gateway),
        override=_override(about.annotations),
    )


def _metrics(
    config: offloading.OffloadingConfig, *, label: str | None, namespace: str
) -> tuple[metric_spec.MetricSpec, ...]:
    """Return the metrics as written, then those of the preset, so that indexes in messages refer to the manifest."""
    written = tuple(_narrowed(targets.metric(each), label, namespace) for each in config.metrics)
    return (*written, *presets.metrics(config.preset, written)) if config.preset else written


def _namespace_label(settings: Settings) -> str | None:
    return settings.prometheus.namespace_label if settings.prometheus else None


def _narrowed(metric: metric_spec.MetricSpec, label: str | None, namespace: str) -> metric_spec.MetricSpec:
    """Restrict a Prometheus series to the model's namespace. Matchers are combined with AND, so the author's own can only narrow it further."""
    if label is None or not isinstance(metric, metric_spec.ExternalMetric):
        return metric
    selector = metric.metric.selector
    labels = (*selector.match_labels, (label, namespace))
    return replace(metric, metric=replace(metric.metric, selector=replace(selector, match_labels=labels)))


def _behavior(given: offloading.BehaviorConfig, mode: spec.Mode) -> spec.Behavior:
    return spec.Behavior(
        percentage=given.percentage,
        mode=mode,
        engage=_ramp(given.engage),
        most_rise=given.engage.step_percentage or spec.MOST_RISE,
        release=_ramp(given.release),
        on_metrics_loss=spec.OnMetricsLoss(given.on_metrics_loss),
        metrics_loss=timedelta(seconds=given.metrics_loss_seconds),
        dry_run=given.dry_run,
    )


def _ramp(given: offloading.RampConfig) -> spec.Ramp:
    return spec.Ramp(
        stabilization_window=timedelta(seconds=given.stabilization_window_seconds),
        tolerance=Decimal(f"{quantity.parse(given.tolerance).nano}E-9").normalize(),
        step_percentage=given.step_percentage or 100,
        period=timedelta(seconds=given.period_seconds),
    )


def _service(given: v1alpha1.ServiceRef | None) -> spec.LocalService | None:
    return spec.LocalService(given.name, given.target_port) if given else None


def _metric_service(given: MetricServiceRef | None) -> spec.MetricService | None:
    if given is None:
        return None
    tls = given.tls or MetricTls()
    return spec.MetricService(
        name=given.name,
        target_port=given.target_port,
        path=given.path,
        query=tuple(given.query.items()),
        scheme=spec.Scheme(given.scheme),
        tls=spec.MetricServiceTls(
            ca=_secret(tls.ca_secret_ref) if tls.ca_secret_ref else None,
            server_name=tls.server_name,
            cert=_secret(tls.cert_secret_ref) if tls.cert_secret_ref else None,
            key=_secret(tls.key_secret_ref) if tls.key_secret_ref else None,
        ),
        credential=_credential(given),
    )


def _credential(given: MetricServiceRef) -> spec.SecretKey | spec.BasicCredential | None:
    if given.basic_auth:
        return spec.BasicCredential(given.basic_auth.username, _secret(given.basic_auth.password_secret_ref))
    return _secret(given.bearer_token_secret_ref) if given.bearer_token_secret_ref else None


def _secret(given: SecretKeySelector) -> spec.SecretKey:
    return spec.SecretKey(given.name, given.key)


def _source(given: v1alpha1.ModelSourceRef | None) -> metric_spec.ObjectReference | None:
    return metric_spec.ObjectReference(given.api_version, given.kind, given.name) if given else None


def _overflow(given: offloading.OverflowConfig, on_status: tuple[int, ...]) -> spec.Overflow:
    return spec.Overflow(
        on_status=on_status,
        on_unavailable=given.on_unavailable,
        on_reset=given.on_reset,
        max_in_flight_per_replica=given.max_in_flight_per_replica,
        after=timedelta(seconds=given.after_seconds) if given.after_seconds is not None else None,
        max_request_bytes=given.max_request_bytes,
    )


def _requests(given: Requests) -> spec.RequestMatch:
    if given.path_prefix is not None:
        methods = tuple(given.methods) if isinstance(given, LeavingRequests) else ()
        return spec.PathPrefix(given.path_prefix, methods)
    return spec.HeaderMatch(given.header or "", given.value or "")


def _stickiness(given: offloading.Stickiness | None) -> HeaderStickiness | CookieStickiness | None:
    if given is None:
        return None
    return HeaderStickiness(given.header) if given.header else CookieStickiness(given.cookie or "")


def _gateway(given: v1alpha1.GatewayConfig) -> GatewaySpec:
    amounts = (("requests", given.resources.requests), ("limits", given.resources.limits))
    return GatewaySpec(
        replicas=given.replicas,
        resources=tuple((which, name, amount) for which, of in amounts for name, amount in sorted(of.items())),
        image=given.image,
        image_pull_secrets=tuple(secret.name for secret in given.image_pull_secrets),
        drain=timedelta(seconds=given.drain_seconds),
    )


def _override(annotations: Mapping[str, str]) -> spec.Override | None:
    text, until = annotations.get(OVERRIDE), annotations.get(OVERRIDE_UNTIL)
    if text is None or metadata.mistaken_override(annotations) is not None:
        return None
    return spec.Override(
        metadata.override(text),
        None if until is None else scalars.instant(until),
        author=annotations.get(OVERRIDE_AUTHOR, "")[: metadata.LONGEST_WORD],
        reason=annotations.get(OVERRIDE_REASON, "")[: metadata.LONGEST_WORD],
    )
