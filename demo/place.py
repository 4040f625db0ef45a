"""The folder of one run: copies of the examples with the ports of the run, certificates, the controller's state, logs."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from demo import certificates
from demo.certificates import Files
from demo.children import ROOT
from demo.ports import Ports

EXAMPLES = ROOT / "examples"
MANIFEST, SETTINGS = "demo.yaml", "demo-settings.yaml"
CA_SECRET = Path("remote-ca", "ca.crt")
"""The name and the key of the Secret that the example's `caSecretRef` names."""
MADE = ("manifests", "secrets", "tls", "state", "logs")


@dataclass(frozen=True, slots=True)
class Place:
    """Where everything of a run is."""

    folder: Path
    tls: Files

    @property
    def manifests(self) -> Path:
        """Return the folder of manifests."""
        return self.folder / "manifests"

    @property
    def settings(self) -> Path:
        """Return the settings file."""
        return self.folder / SETTINGS

    @property
    def state(self) -> Path:
        """Return the folder of the controller's state."""
        return self.folder / "state"

    @property
    def logs(self) -> Path:
        """Return the folder of logs, one file per process."""
        return self.folder / "logs"


def prepare(folder: Path, ports: Ports) -> Place:
    """Make the folder ready for a run; what an earlier run left there is removed, but for its pictures."""
    for name in MADE:
        shutil.rmtree(folder / name, ignore_errors=True)
    place = Place(folder, certificates.make(folder / "tls"))
    place.manifests.mkdir()
    place.logs.mkdir()
    secret = folder / "secrets" / CA_SECRET
    secret.parent.mkdir(parents=True)
    shutil.copy(place.tls.ca, secret)
    (place.manifests / MANIFEST).write_text(ports.adjust((EXAMPLES / MANIFEST).read_text()))
    settings = ports.adjust((EXAMPLES / SETTINGS).read_text())
    place.settings.write_text(settings.replace("demo-run/", f"{folder}/"))
    return place
