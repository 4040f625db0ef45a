"""The project's own image, built from its Dockerfile on a base that was made here.

`PYTHONPATH=tests python -m kube.project_image` builds it and prints where its archive is.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from kube import assets, base_image
from kube.base_image import buildah

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "localhost/beamlit-controller:tests"
KEPT_LAYERS = 40
KEPT_SECONDS = 3600
CERTIFICATES = Path("/etc/ssl/certs")
_ARGUMENT = re.compile(r"^ARG\s+(\w+)=(\S+)", re.MULTILINE | re.IGNORECASE)
_FROM = re.compile(r"^FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.MULTILINE | re.IGNORECASE)


def need() -> Path:
    """Return the archive of the image, built if anything in it has changed. Raises UnavailableError."""
    base = base_image.need()
    _forget_old_builds()
    for name in bases((ROOT / "Dockerfile").read_text()):
        buildah("tag", base, name)
    with TemporaryDirectory() as folder:
        settings, identity = Path(folder) / "pip.conf", Path(folder) / "identity"
        settings.write_text(_pip_settings())
        lent = (f"--volume={settings}:/etc/pip.conf:ro", f"--volume={CERTIFICATES}:{CERTIFICATES}:ro")
        buildah("bud", "--isolation=chroot", "--pull-never", "--layers", *lent, f"--iidfile={identity}", str(ROOT))
        return _archive(identity.read_text().strip().removeprefix("sha256:"))


def bases(dockerfile: str) -> list[str]:
    """Return the images that a Dockerfile begins with, but for its own stages."""
    arguments = dict(_ARGUMENT.findall(dockerfile))
    found, stages = [], set()
    for image, stage in _FROM.findall(dockerfile):
        name = re.sub(r"\$\{?(\w+)\}?", lambda used: arguments.get(used[1], used[0]), image)
        if name not in {*stages, "scratch", *found}:
            found.append(name)
        stages.add(stage)
    return found


def _forget_old_builds() -> None:
    """Keep the layers of some builds, which make the next one short, and not those of hundreds."""
    if len(buildah("images", "--all", "--quiet").split()) > KEPT_LAYERS:
        buildah("rmi", "--prune", "--force")


def _archive(identity: str) -> Path:
    """Return the image as a file, and remove those that nobody can be reading any more."""
    folder = assets.cache() / "images"
    path = folder / f"project-{identity[:16]}.tar"
    if not path.exists():
        made = path.with_suffix(f".{os.getpid()}")
        buildah("push", "--quiet", identity, f"oci-archive:{made}:{IMAGE}")
        made.rename(path)
    path.touch()
    for old in folder.glob("project-*"):
        if time.time() - old.stat().st_mtime > KEPT_SECONDS:
            old.unlink()
    return path


def _pip_settings() -> str:
    """Return this machine's way to the package index, as the build's pip needs it."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    settings = dict(re.findall(r"^(?:global|:env:)\.([\w-]+)='(.*)'$", listed, re.MULTILINE))
    settings.pop("find-links", None)  # a folder of this machine
    lines = [f"{key} = {value}" for key, value in settings.items()]
    return "\n".join(["[global]", *lines, ""])


if __name__ == "__main__":
    print(need())  # noqa: T201 - what was asked for
