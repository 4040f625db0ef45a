"""`render`: print Envoy's files or the CRD without running anything."""

import sys
from pathlib import Path

import cyclopts

from beamlit_controller.api import standalone_rules
from beamlit_controller.cli import inputs
from beamlit_controller.cli.inputs import SettingsFile

render = cyclopts.App(name="render", help="Print Envoy's files or the CRD without running anything.")


@render.command
def envoy(manifest: Path, *, settings: SettingsFile = None, name: str | None = None) -> None:
    """Print the Envoy files of a model's gateway.

    Parameters
    ----------
    manifest
        The manifest.
    settings
        The settings file.
    name
        NAMESPACE/NAME; needed if the manifest has several models.
    """
    from beamlit_controller.wiring import standalone_gateways  # noqa: PLC0415 - grpc is slow to import

    chosen = inputs.settings(settings)
    parsed = standalone_rules.parse(inputs.read(manifest), settings=chosen)
    for problem in parsed.problems:
        inputs.say(f"{manifest}: {problem}", file=sys.stderr)
    specs = [spec for spec in parsed.specs if name in {None, str(spec.key), spec.key.name}]
    if parsed.problems or len(specs) != 1:
        known = ", ".join(str(spec.key) for spec in parsed.specs) or "none"
        inputs.fail(f"{manifest}: expected one valid model" + (f" {name}" if name else "") + f"; valid models: {known}")
    for file, text in standalone_gateways.gateway_files(chosen, specs[0], Path("gateway").absolute()).items():
        print(f"--- # {file}\n{text}", end="")


@render.command
def crd() -> None:
    """Print the CustomResourceDefinition of ModelDeployment."""
    from beamlit_controller.api import crd as definition  # noqa: PLC0415 - only this command needs it

    print(definition.render(), end="")
