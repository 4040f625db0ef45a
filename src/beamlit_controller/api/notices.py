"""What `check` and `status` point out in a valid `ModelDeployment`: fields that have no effect, or an unintended one.

A notice is not a mistake: the deployment is used as it is. A new notice is a function here, or in the module of its
field.
"""

from collections.abc import Iterator, Mapping

from beamlit_controller.api import (
    defaults,
    metadata,
    offloading,
    presets,
    problems,
    queue_metrics,
    remotes,
    series_remarks,
    targets,
)
from beamlit_controller.api.metadata import ANNOTATIONS, OVERRIDE, OVERRIDE_UNTIL
from beamlit_controller.api.metrics import PodsMetricIdentifier
from beamlit_controller.api.problems import Notice
from beamlit_controller.api.remote import RemoteBackendConfig
from beamlit_controller.api.settings import Settings
from beamlit_controller.api.v1alpha1 import ModelDeployment
from beamlit_controller.core import quantity
from beamlit_controller.core.spec import Rejected


def of_deployment(
    deployment: ModelDeployment, override_ignored: Rejected | None, settings: Settings
) -> Iterator[Notice]:
    """Yield the notices about a valid deployment; `override_ignored` is why its override annotations have no effect."""
    yield from _of_config(deployment.spec.offloading_config, override_ignored)
    yield from _names(deployment)
    yield from _in_the_clear(deployment.spec.offloading_config)
    yield from _annotations(deployment.metadata.annotations)
    yield from _aggregations(deployment)
    yield from _queries(deployment, settings)


def _of_config(config: offloading.OffloadingConfig, override_ignored: Rejected | None) -> Iterator[Notice]:
    if override_ignored is not None:
        yield Notice(override_ignored.field, f"the override is ignored: {override_ignored.message}")
    for index, metric in enumerate(config.metrics):
        yield from targets.notices(metric, f"spec.offloadingConfig.metrics[{index}]")
    limited = config.overflow.max_in_flight_per_replica is not None
    if not config.metrics and not limited and config.preset in {None, *presets.WITHOUT_METRICS}:
        yield Notice("spec.offloadingConfig.metrics", "no metric is given, so the percentage stays at 0")
    if quantity.parse(config.behavior.release.tolerance).milli >= 1000:  # noqa: PLR2004 - thousandths
        field = "spec.offloadingConfig.behavior.release.tolerance"
        yield Notice(field, "with 1 or more, hardly any demand is low enough to release")
    for path, remote in _remotes(config):
        yield from _credentials_in_headers(remote, path)
    yield from defaults.notices(config)
    yield from queue_metrics.notices(config)
    yield from _hidden(config)


def _remotes(config: offloading.OffloadingConfig) -> Iterator[tuple[str, RemoteBackendConfig]]:
    return remotes.written(config.remote_backend, config.remote_backends)


def _credentials_in_headers(remote: RemoteBackendConfig, path: str) -> Iterator[Notice]:
    for name in remote.headers_to_add:
        if name.lower() in _CREDENTIALS:
            message = "looks like a credential, which everyone who may read this resource can read"
            yield Notice(f"{path}.headersToAdd.{name}", message)


def _names(deployment: ModelDeployment) -> Iterator[Notice]:
    """Point out which requests are offloaded if the name that clients use is not configured."""
    for path, remote in _remotes(deployment.spec.offloading_config):
        if remote.model_name and not remote.model_names and deployment.spec.model is None:
            name = problems.came(deployment.metadata.name)
            message = f"only requests for the model {name} go to the remote; spec.model is the name that clients use, and modelNames adds others"
            yield Notice(f"{path}.modelName", message)


def _aggregations(deployment: ModelDeployment) -> Iterator[Notice]:
    """Point out aggregations without effect, and summed metrics whose names look like fractions."""
    straight = deployment.spec.metric_service_ref is not None
    for index, metric in enumerate(deployment.spec.offloading_config.metrics):
        identifier = metric.pods.metric if metric.pods else None
        field = f"spec.offloadingConfig.metrics[{index}].pods.metric.aggregation"
        if identifier and identifier.aggregation and not straight:
            yield Notice(field, "no effect without spec.metricServiceRef: the adapter gives one value for each pod")
        elif identifier and straight and _adds_up_a_fraction(identifier):
            yield Notice(
                field, "the series of one server are summed, but its name says that this is a fraction: set Mean or Max"
            )


def _adds_up_a_fraction(identifier: PodsMetricIdentifier) -> bool:
    chosen = identifier.aggregation is not None or identifier.histogram is not None
    return not chosen and presets.is_added_up_fraction(identifier.name)


def _queries(deployment: ModelDeployment, settings: Settings) -> Iterator[Notice]:
    """Point out surprising results of PromQL queries, counters that are read directly, and targets that do not suit a metric."""
    straight = deployment.spec.metric_service_ref is not None
    for index, metric in enumerate(deployment.spec.offloading_config.metrics):
        field = f"spec.offloadingConfig.metrics[{index}]"
        if metric.external and settings.prometheus:
            name, by_value = metric.external.metric.name, metric.external.chosen_target.type == "Value"
            for remark in series_remarks.of_name(name, by_value=by_value):
                yield Notice(f"{field}.external.metric.name", remark)
        if metric.pods and straight and not metric.pods.metric.histogram:
            for remark in series_remarks.of_counter(metric.pods.metric.name):
                yield Notice(f"{field}.pods.metric.name", remark)
        for remark in series_remarks.of_target(targets.metric(metric)):
            yield Notice(f"{field}.{targets.field(metric)}", remark)


def _hidden(config: offloading.OffloadingConfig) -> Iterator[Notice]:
    """Point out that header rules can be bypassed: HTTP drops a header that the client lists in `Connection`."""
    listed = {rule.header.lower() for rule in config.may_leave if rule.header}
    for index, rule in enumerate(config.keep_local):
        if rule.header and rule.header.lower() not in listed:
            yield Notice(
                f"spec.offloadingConfig.keepLocal[{index}].header",
                "a hostile client can hide a header; if that matters, list the permitted values in mayLeave",
            )


def _in_the_clear(config: offloading.OffloadingConfig) -> Iterator[Notice]:
    for path, remote in _remotes(config):
        if remote.auth_config and remote.auth_config.type != "none" and remote.scheme == "http":
            yield Notice(f"{path}.scheme", "with http, the credential is sent unencrypted")
        oauth = remote.auth_config.oauth_config if remote.auth_config else None
        if oauth and oauth.token_url.startswith("http://"):
            field = f"{path}.authConfig.oauthConfig.tokenUrl"
            yield Notice(field, "with http, the client secret is sent unencrypted")


_CREDENTIALS = frozenset({"x-api-key", "api-key", "cookie", "x-auth-token"})


def _annotations(annotations: Mapping[str, str]) -> Iterator[Notice]:
    """Point out annotations without effect. They are not mistakes: otherwise a leftover annotation would block changes of the spec."""
    for name in annotations:
        if name.startswith(ANNOTATIONS) and name not in metadata.OVERRIDES:
            hint = problems.nearest(name, metadata.OVERRIDES)
            yield Notice(problems.path(("metadata", "annotations", name)), f"no effect: unknown annotation, {hint}")
    if OVERRIDE_UNTIL in annotations and OVERRIDE not in annotations:
        yield Notice(problems.path(("metadata", "annotations", OVERRIDE_UNTIL)), f"no effect without {OVERRIDE}")
