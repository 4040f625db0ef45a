"""The files of a gateway as one Bootstrap, which `envoy --mode validate` can look into."""

import json

from beamlit_controller.envoy import config


def in_one(files: config.Files) -> dict[str, object]:
    """Return a Bootstrap that holds all files itself: `--mode validate` does not look into others."""
    content = {name: json.loads(text) for name, text in files.items()}
    whole = content["bootstrap.json"]
    del whole["dynamic_resources"]
    whole["static_resources"]["clusters"] += resources(content["cds.json"])
    whole["static_resources"]["listeners"] += resources(content["lds.json"])
    for listener in whole["static_resources"]["listeners"]:
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        if rds := manager.pop("rds", None):
            [manager["route_config"]] = resources(content[f"rds-{rds['route_config_name']}.json"])
        for each in manager.get("http_filters", ()):
            _inline_credential(each["typed_config"].get("credential", {}).get("typed_config", {}))
    credentials = [found for name, found in content.items() if name.startswith("sds-remote_credential")]
    whole["static_resources"]["secrets"] = [each for found in credentials for each in resources(found)]
    for cluster in whole["static_resources"]["clusters"]:
        context = cluster.get("transport_socket", {}).get("typed_config", {}).get("common_tls_context", {})
        if sds := context.pop("validation_context_sds_secret_config", None):
            [secret] = resources(content[f"sds-{sds['name']}.json"])
            context["validation_context"] = secret["validation_context"]
        if shown := context.pop("tls_certificate_sds_secret_configs", ()):
            pairs = [secret for each in shown for secret in resources(content[f"sds-{each['name']}.json"])]
            context["tls_certificates"] = [each["tls_certificate"] for each in pairs]
    return whole


def _inline_credential(credential: dict[str, object]) -> None:
    """Refer to the static Secret of the same name."""
    for reference in (credential.get("credential"), credential.get("client_credentials", {}).get("client_secret")):
        if reference:
            del reference["sds_config"]


def resources(file: dict[str, list[dict[str, object]]]) -> list[dict[str, object]]:
    """Return the resources of one file as they stand in a Bootstrap."""
    return [{key: value for key, value in resource.items() if key != "@type"} for resource in file["resources"]]
