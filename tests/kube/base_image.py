"""The image that the project's Dockerfile begins with, made of Debian packages: there is no registry to pull it from.

It has Debian's Python where the official image has its own, `python` and `python3` in /usr/local/bin. It is made once, and
kept in buildah's storage outside the checkout under a name that tells what it is made of.
"""

import hashlib
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from kube import assets
from kube.assets import UnavailableError

INCLUDED = ("python3", "python3-venv", "ca-certificates")
USELESS = ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")
COMMANDS = ("python", "python3")
BUILD_SECONDS = 1800


def buildah(*arguments: str) -> str:
    """Run buildah on our storage. Raises UnavailableError with what it said if it fails."""
    storage = assets.cache() / "images"
    where = ("--storage-driver=overlay", f"--root={storage / 'storage'}", f"--runroot={storage / 'run'}")
    return _run("buildah", *where, *arguments)


def need() -> str:
    """Return the name of the base image, made if need be. Raises UnavailableError."""
    suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
    made_of = f"{suite} {INCLUDED} {USELESS} {COMMANDS}"
    name = f"localhost/base:{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"
    if not buildah("images", "--quiet", "--filter", f"reference={name}"):
        _make(name, suite)
    return name


def _make(name: str, suite: str) -> None:
    print(f"making {name} of Debian {suite} (a minute, once)", file=sys.stderr, flush=True)  # noqa: T201 - say what takes long
    with TemporaryDirectory(prefix="base-", dir=assets.cache()) as folder:
        root = Path(folder) / "root"
        _run("debootstrap", "--variant=minbase", f"--include={','.join(INCLUDED)}", suite, str(root), _mirror(suite))
        for each in USELESS:
            shutil.rmtree(root / each)
        for command in COMMANDS:
            (root / "usr/local/bin" / command).symlink_to("/usr/bin/python3")
        container = buildah("from", "scratch").strip()
        buildah("copy", "--quiet", container, str(root), "/")
        buildah("config", "--cmd", "python3", container)
        buildah("commit", "--quiet", "--rm", container, name)


def _mirror(suite: str) -> str:
    """Return the mirror that this machine installs its own packages from."""
    wanted = ("--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages")
    for line in _run("apt-get", "indextargets", *wanted).splitlines():
        codename, _, mirror = line.partition(" ")
        if codename == suite:
            return mirror
    raise UnavailableError(f"apt has no source of packages for {suite}")


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    except FileNotFoundError as error:
        raise UnavailableError(f"{command[0]} is not installed") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-4000:]
        raise UnavailableError(f"{command[0]} failed: {said}")
    return done.stdout
