"""Files of Envoy's resources: their content, and the version that Envoy reports once they are in force."""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Final

from beamlit_controller.envoy.messages import Message

_BEGINNING: Final = re.compile(r'\s*\{\s*"version_info"\s*:\s*"([0-9a-f]{16})"')
"""Of a file of ours, so that its version is known without reading all of it."""


def text(resources: Sequence[Message]) -> str:
    """Return the text of a file with these resources, typed, each on a line. Equal resources give equal text."""
    # Without `indent`, which would leave the encoder that is written in C.
    lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in resources)
    version = hashlib.sha256(lines.encode()).hexdigest()[:16]
    return f'{{"version_info": "{version}", "resources": [\n{lines}\n]}}\n'


def version(file: str) -> str:
    """Return the version of a file's resources, or nothing. Raises ValueError for what is no JSON object."""
    found = _BEGINNING.match(file)
    return found[1] if found else _version_anywhere(file)


def read(file: str) -> list[Message]:
    """Return the resources of a file. Raises ValueError for anything but a file of resources that have names."""
    try:
        found = json.loads(file)["resources"]
        if all(isinstance(each["name"], str) for each in found):
            return list(found)
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"expected a file of Envoy's resources: {error!r}") from error
    raise ValueError("expected resources with names")


def _version_anywhere(file: str) -> str:
    content = json.loads(file)
    return str(content.get("version_info", "")) if isinstance(content, dict) else ""
