"""`convert FILE`: autoscalers and older manifests as ModelDeployments on standard output, notes on standard error."""

import sys
from pathlib import Path

import yaml

from beamlit_controller.api import conversion


def convert(path: Path, text: str) -> int:
    """Print what the documents became, and give the exit code: 1 if one of them became nothing."""
    made = list(conversion.convert(text))
    for each in made:
        for note in each.notes:
            print(f"{path}: {note}", file=sys.stderr)
    manifests = [each.manifest for each in made if each.manifest is not None]
    if manifests:
        print(yaml.safe_dump_all(manifests, sort_keys=False, allow_unicode=True, width=1000), end="")
    if not made:
        print(
            f"{path}: expected a ModelDeployment, a HorizontalPodAutoscaler or a ScaledObject, got nothing",
            file=sys.stderr,
        )
    return 0 if made and len(manifests) == len(made) else 1
