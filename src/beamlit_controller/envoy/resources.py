"""Files of Envoy resources: their content, and the version that Envoy reports once they are in force."""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Final

from beamlit_controller.envoy.messages import Message

_BEGINNING: Final = re.compile(r'\s*\{\s*"version_info"\s*:\s*"([0-9a-f]{16})"')
"""The beginning of one of our files, which has the version, so that the rest need not be parsed."""


def text(resources: Sequence[Message]) -> str:
    """Return the content of a file with these typed resources, one per line. Equal resources give equal text."""
    # `indent` would disable the encoder written in C.
    lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in resources)
    version = hashlib.sha256(lines.encode()).hexdigest()[:16]
    return f'{{"version_info": "{version}", "resources": [\n{lines}\n]}}\n'


def version(file: str) -> str:
    """Return the version in a file, "" if there is none. Raises ValueError if it is not a JSON object."""
    found = _BEGINNING.match(file)
    return found[1] if found else _version_anywhere(file)


def read(file: str) -> list[Message]:
    """Return the resources of a file. Raises ValueError unless it is a file of named resources."""
    try:
        found = json.loads(file)["resources"]
        if all(isinstance(each["name"], str) for each in found):
            return list(found)
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError("expected a file of Envoy's resources, each with a name") from error
    raise ValueError("expected resources with names")


def _version_anywhere(file: str) -> str:
    content = json.loads(file)
    return str(content.get("version_info", "")) if isinstance(content, dict) else ""
