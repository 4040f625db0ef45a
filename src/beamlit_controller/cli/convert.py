"""`convert FILE`: print autoscalers and older manifests as ModelDeployments; notes go to standard error."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from beamlit_controller.api import conversion
from beamlit_controller.cli import inputs
from beamlit_controller.core import printable


def convert(file: Path) -> None:
    """Print a HorizontalPodAutoscaler of any version, a ScaledObject (KEDA) or an older manifest as a ModelDeployment.

    Fields without an equivalent are reported on standard error. Exits with 1 if something could not be converted.

    Parameters
    ----------
    file
        The YAML file; it may have several documents.
    """
    sys.exit(_converted(file, inputs.read(file)))


def _converted(path: Path, text: str) -> int:
    """Print the converted documents, and return the exit code: 1 if one could not be converted."""
    made = list(conversion.convert(text))
    for each in made:
        for note in each.notes:
            inputs.say(f"{path}: {note}", file=sys.stderr)
    manifests = [each.manifest for each in made if each.manifest is not None]
    if manifests:
        print(_dumped(manifests), end="")
    if not made:
        inputs.say(
            f"{path}: expected a ModelDeployment, a HorizontalPodAutoscaler or a ScaledObject, got nothing",
            file=sys.stderr,
        )
    return 0 if made and len(manifests) == len(made) else 1


def _dumped(manifests: Sequence[Mapping[str, Any]]) -> str:
    """Return YAML; if it has characters that would control a terminal, all of it in ASCII, where YAML escapes them."""
    text: str = yaml.safe_dump_all(manifests, sort_keys=False, allow_unicode=True, width=1000)
    if text == printable.lines(text):
        return text
    return str(yaml.safe_dump_all(manifests, sort_keys=False, width=1000))
