"""Files of Envoy's resources: what they say, and the version by which Envoy tells that it has them in force."""

import hashlib
import json
from collections.abc import Sequence

from beamlit_controller.envoy.messages import Message


def text(resources: Sequence[Message]) -> str:
    """Give the text of a file with these resources, typed. Equal resources give equal text."""
    version = hashlib.sha256(json.dumps(resources).encode()).hexdigest()[:16]
    return json.dumps({"version_info": version, "resources": resources}, indent=2, ensure_ascii=False) + "\n"


def read(file: str) -> list[Message]:
    """Give the resources of a file. Raises ValueError for anything but a file of resources that have names."""
    try:
        found = json.loads(file)["resources"]
        if all(isinstance(each["name"], str) for each in found):
            return list(found)
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"expected a file of Envoy's resources: {error!r}") from error
    raise ValueError("expected resources with names")
