"""Translates `remoteBackend` to `core.spec.RemoteBackend`: host with port, and variables replaced."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

from beamlit_controller.api import addresses, price, remote, remote_path, remotes
from beamlit_controller.api.offloading import OffloadingConfig
from beamlit_controller.api.remote import RemoteBackendConfig
from beamlit_controller.api.remotes import NamedRemote
from beamlit_controller.core import spec
from beamlit_controller.core.named_address import NamedAddress
from beamlit_controller.core.remote_auth import RemoteAuth
from beamlit_controller.core.spec import Scheme


def backends(
    config: OffloadingConfig, defaults: Sequence[RemoteBackendConfig], *, workspace: str, model: str
) -> tuple[spec.RemoteBackend, ...]:
    """Translate a model's remotes, or the default ones of the settings, in order. The only one of `remoteBackend` has no name."""
    own = config.remote_backends if config.remote_backend is None else [config.remote_backend]
    given = defaults if own is None else own
    return tuple(
        replace(backend(each, workspace=workspace, model=model), name=_name(each), weight=_weight(each))
        for each in given
    )


def _weight(given: RemoteBackendConfig) -> int | None:
    return given.weight if isinstance(given, NamedRemote) else None


def _name(given: RemoteBackendConfig) -> str:
    return given.name or remotes.name_of(given.host) if isinstance(given, NamedRemote) else ""


def backend(given: remote.RemoteBackendConfig, *, workspace: str, model: str) -> spec.RemoteBackend:
    """Translate a model's remote. An IPv6 host has no brackets."""
    address = addresses.parse(given.host, default_port=addresses.port_of(given.scheme))
    names = _model_names(given, model=model)
    usual, *others = _named(given, names, {"workspace": workspace, "model": model})
    return spec.RemoteBackend(
        scheme=Scheme(given.scheme),
        host=address.host,
        port=address.port,
        path_prefix=usual.path_prefix,
        replaced_prefix=given.path.replace_prefix.rstrip("/") if given.path else "",
        query_to_add=tuple(sorted(given.query.items())),
        by_model=(usual, *others) if others else (),
        headers_to_add=usual.headers_to_add,
        model_names=names,
        keep_remote_model_name=given.keep_remote_model_name,
        auth=_auth(given.auth_config),
        tls=_tls(given.tls),
        health_check=_health_check(given.health_check),
        max_in_flight=given.max_in_flight,
        forward_client_authorization=given.forward_client_authorization,
        headers_to_remove=tuple(given.headers_to_remove),
        query_to_remove=tuple(given.query_to_remove),
        on_status=spec.REMOTE_FAILURES if given.on_status is None else tuple(given.on_status),
        usage=price.usage_of(given.usage, accounts=given.price is not None or given.budget is not None),
        price=price.price_of(given.price),
        budget=price.budget_of(given.budget, given.price),
    )


def _model_names(given: remote.RemoteBackendConfig, *, model: str) -> tuple[tuple[str, str], ...] | None:
    """Map the names that may leave to those at the remote; the model's own name is unchanged unless it is mapped."""
    if given.model_name is None and not given.model_names:
        return None
    named = {model: given.model_name or model, **given.model_names}
    return tuple((here, there) for here, there in named.items() if there is not None)


def _named(
    given: remote.RemoteBackendConfig, names: tuple[tuple[str, str], ...] | None, values: dict[str, str]
) -> Iterator[NamedAddress]:
    """Yield the address for each model name at the remote, the model's own first; a single one if no address contains the name."""
    model = values["model"]
    pairs = names or ((model, model),)
    usual = dict(pairs).get(model, pairs[0][1])
    prefix = given.path.with_ if given.path else given.path_prefix
    depends = remote_path.depends_on_model((prefix, *given.headers_to_add.values()))
    for name in dict.fromkeys((usual, *(there for _, there in pairs))) if depends else (usual,):
        filled = {**values, "remoteModel": name}
        yield NamedAddress(
            name, remote_path.in_path(prefix, filled), remote_path.in_headers(given.headers_to_add, filled)
        )


def _auth(given: remote.AuthConfig | None) -> RemoteAuth | None:
    if given and given.oauth_config:
        oauth = given.oauth_config
        return spec.OAuth(oauth.client_id, _key(oauth.client_secret_ref), oauth.token_url, tuple(oauth.scopes))
    if given and given.api_key_config:
        key = given.api_key_config
        usual = "Bearer " if key.header.lower() == "authorization" else ""
        return spec.ApiKey(_key(key.secret_ref), key.header, usual if key.prefix is None else key.prefix)
    if given and given.aws_config:
        aws = given.aws_config
        return spec.AwsSignature(_key(aws.credentials_secret_ref), aws.region, aws.service, aws.profile)
    return spec.GoogleToken() if given and given.type == "google" else None


def _key(given: remote.SecretKeySelector) -> spec.SecretKey:
    return spec.SecretKey(given.name, given.key)


def _tls(given: remote.TlsConfig | None) -> spec.RemoteTls:
    if given is None:
        return spec.RemoteTls()
    ca, cert, key = (
        _key(each) if each else None for each in (given.ca_secret_ref, given.cert_secret_ref, given.key_secret_ref)
    )
    return spec.RemoteTls(ca, given.server_name, cert, key)


def _health_check(given: remote.HealthCheckConfig | None) -> spec.HealthCheck | None:
    return spec.HealthCheck(given.path, timedelta(seconds=given.period_seconds)) if given else None
