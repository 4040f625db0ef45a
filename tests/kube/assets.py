"""The binaries of Kubernetes, built from published Go modules and kept outside the checkout.

A binary is kept in a folder named after what it was built from (its module's `go.mod`, `go.sum` and sources, the Go
version and the flags), so another version is another folder and nothing has to be cleaned. `KUBEBUILDER_ASSETS` names a
folder whose binaries are taken as they are, as users of envtest expect.

`python -m tests.kube.assets [NAME …]` builds what is missing, everything by default, and prints where it is. Where it
can't, it says why; only with `CI=true` is that a failure, since the tests say once more what they could not do.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent / "modules"
KUBERNETES = "v1.36.3"
_VERSION = "k8s.io/component-base/version"


class UnavailableError(Exception):
    """A binary is not there and can't be built here; the text says why."""


@dataclass(frozen=True, slots=True)
class Binary:
    """What is built: a package of the Go module that stands in folder `module`."""

    module: str
    package: str
    variables: Sequence[str] = ()


def _versions() -> tuple[str, ...]:
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    variables = (f"gitVersion={KUBERNETES}", f"gitMajor={major}", f"gitMinor={minor}", "gitTreeState=clean")
    return tuple(f"{_VERSION}.{each}" for each in variables)


def _kubernetes(name: str) -> Binary:
    return Binary("kubernetes", f"k8s.io/kubernetes/cmd/{name}", _versions())


BINARIES: Mapping[str, Binary] = {
    "etcd": Binary("etcd", "go.etcd.io/etcd/server/v3"),
    "kube-apiserver": _kubernetes("kube-apiserver"),
    "kube-controller-manager": _kubernetes("kube-controller-manager"),
    "kube-scheduler": _kubernetes("kube-scheduler"),
    "kubelet": _kubernetes("kubelet"),
    "kube-proxy": _kubernetes("kube-proxy"),
    "kubectl": Binary("kubectl", ".", _versions()),
    "metrics-server": Binary("metrics-server", "sigs.k8s.io/metrics-server/cmd/metrics-server"),
    "helm": Binary("helm", "helm.sh/helm/v3/cmd/helm"),
    "coredns": Binary("coredns", "."),
    "pause": Binary("pause", "."),
    "model": Binary("model", "."),
}


def need(*names: str) -> dict[str, Path]:
    """Return the binaries by name, built if need be. Raises UnavailableError."""
    return {name: _given(name) or _built(name) for name in names}


def cache() -> Path:
    """Return the folder for what takes long to make."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "beamlit-controller"


def _given(name: str) -> Path | None:
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    path = Path(folder) / name if folder else None
    return path if path and path.is_file() else None


def _built(name: str) -> Path:
    binary = BINARIES[name]
    path = cache() / "assets" / f"{binary.module}-{_key(binary)}" / name
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path.parent / f".{name}.lock"):
        if not path.is_file():
            _build(binary, path)
    return path


def _build(binary: Binary, path: Path) -> None:
    print(f"building {path.name} (minutes, once)", file=sys.stderr, flush=True)  # noqa: T201 - it takes minutes: say so
    made = path.with_suffix(".new")
    flags = " ".join(["-s", "-w", *(f"-X {each}" for each in binary.variables)])
    command = [_go(), "build", "-trimpath", f"-ldflags={flags}", "-o", str(made), binary.package]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    done = subprocess.run(
        command, cwd=HERE / binary.module, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UnavailableError(f"{path.name} could not be built: {done.stderr.strip()[-2000:]}")
    made.rename(path)


def _key(binary: Binary) -> str:
    digest = hashlib.sha256()
    version = subprocess.run([_go(), "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    digest.update(f"{version} {binary.variables}".encode())
    for path in sorted((HERE / binary.module).iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _go() -> str:
    found = shutil.which("go")
    if found is None:
        raise UnavailableError(
            "Go (1.26 or newer) is needed to build it, or KUBEBUILDER_ASSETS must name a folder with the binaries"
        )
    return found


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time build a binary."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(names: Sequence[str]) -> int:
    """Build, print, and give the exit code."""
    try:
        for name, path in need(*(names or BINARIES)).items():
            print(f"{name}\t{path}")  # noqa: T201 - what was asked for
    except UnavailableError as error:
        print(f"No real Kubernetes for the tests: {error}", file=sys.stderr)  # noqa: T201 - the same
        return int(os.environ.get("CI") == "true")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
