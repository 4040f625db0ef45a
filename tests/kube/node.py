"""A whole Kubernetes on one machine: a control plane and a node, in a room without a way out.

containerd and runc run the pods; kubelet, kube-proxy, CoreDNS and metrics-server are the real ones. There is no registry:
images are brought in as archives, and pods name them with `imagePullPolicy: Never`.
"""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from fakes.ports import free_port
from kube import cgroups, configuration, images, netns, processes
from kube.configuration import CONTAINERD, NODE, PAUSE
from kube.control_plane import ControlPlane, Options, Place
from kube.netns import ADDRESS, NetworkNamespace
from kube.processes import CommandError, Processes
from waiting import patiently

BINARIES = ("kube-scheduler", "kubelet", "kube-proxy", "metrics-server", "coredns", "helm", "pause", "model")
PACKAGES: Mapping[str, str] = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "ip": "iproute2",
    "conntrack": "conntrack",
    "prometheus": "prometheus",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}
MODEL = "localhost/model:tests"
START_SECONDS = 180
HELM_SECONDS = 600
OPTIONS = Options(
    autoscaler_seconds=15,
    api_server=("--enable-aggregator-routing=true", "--kubelet-preferred-address-types=InternalIP"),
)
SCRAPING = ("--metric-resolution=10s", "--kubelet-request-timeout=5s")


class Node:
    """The node and its cluster.

    `client` and `helm` work from here; `inside` starts processes beside the pods, as the rest of the world is; `reach` gives
    a way to an address in there.
    """

    def __init__(
        self, folder: Path, place: NetworkNamespace, outside: Processes, *, cgroup: str, binaries: Mapping[str, Path]
    ) -> None:
        self._folder = folder
        self._room = place
        self._outside = outside
        self._cgroup = cgroup
        self._binaries = binaries
        self.inside = place.inside
        there = Place(ADDRESS, 6443, 2379, self.reach(f"{ADDRESS}:6443"))
        self.control_plane = ControlPlane(folder, binaries, self.inside, place=there, options=OPTIONS)
        self.client = self.control_plane.client

    def start(self) -> None:
        """Start everything, and wait until the node is ready."""
        with self.inside.explained():
            self.start_containerd()
            self.bring(self._image("pause", PAUSE))
            self.bring(self._image("model", MODEL))
            self.control_plane.start()
            self._start_node()
            self._start_services()
            patiently(self._is_ready, within=START_SECONDS, every=0.5, what="the node is ready")

    def start_containerd(self) -> None:
        """Start containerd and wait until it answers."""
        self._write("run/cni/pods.conflist", json.dumps(configuration.CNI))  # its /run is in our folder
        config = self._write("containerd.toml", configuration.CONTAINERD_TOML)
        self.inside.start("containerd", "containerd", f"--config={config}")
        patiently(self._has_containerd, within=START_SECONDS, what="containerd answers")

    def bring(self, archive: Path) -> None:
        """Bring an image in from an OCI archive."""
        self.ctr("images", "import", str(archive))

    def ctr(self, *arguments: str) -> str:
        """Ask containerd for something. Raises CommandError."""
        return self.inside.run("ctr", f"--address={CONTAINERD}", "--namespace=k8s.io", *arguments)

    def crash(self, pod: str, *, namespace: str) -> None:
        """Kill the processes of a pod's containers, as a crash does; the kubelet starts them again."""
        for container in self.client.get("pod", pod, namespace=namespace)["status"]["containerStatuses"]:
            identity = container["containerID"].removeprefix("containerd://")
            self.ctr("tasks", "kill", "--all", "--signal=SIGKILL", identity)

    def helm(self, *arguments: str, within: float = HELM_SECONDS) -> str:
        """Run helm as the cluster's administrator. Raises CommandError."""
        command = (str(self._binaries["helm"]), f"--kubeconfig={self.client.kubeconfig}", *arguments)
        return self._outside.run(*command, within=within)

    def reach(self, address: str) -> str:
        """Return an address on this machine that leads to one in there."""
        port = free_port()
        relay = ("-m", "tests.kube.relay", str(port), str(self._room.network), address)
        self._outside.start(f"relay-{port}", sys.executable, *relay)
        return f"127.0.0.1:{port}"

    def entrance(self, service: str, namespace: str, *, port: int = 80) -> str:
        """Return an address on this machine that leads to a Service, as soon as the Service leads somewhere.

        Nobody may connect earlier. What connects to a Service that kube-proxy has no rule for leaves an entry without NAT in
        the kernel's table of connections; for 120 s it swallows every later connection from the same port.
        """
        address = self.client.get("service", service, namespace=namespace)["spec"]["clusterIP"]
        patiently(lambda: self._leads(address), within=START_SECONDS, what=f"kube-proxy leads {service} somewhere")
        return self.reach(f"{address}:{port}")

    def expose(self, name: str, namespace: str, *, port: int, target: int) -> None:
        """Make a Service that leads to a process beside the pods."""
        self.client.apply(*configuration.service_to(name, namespace, port=port, target=target))

    @contextmanager
    def model_beside(self, name: str, *flags: str, port: int) -> Iterator[str]:
        """Run the model server beside the pods, such as a remote is, and give its address."""
        address = f"{ADDRESS}:{port}"
        self._start("model", f"-name={name}", f"-listen={address}", *flags, named=name)
        try:
            yield address
        finally:
            self.inside.kill(name)

    def _start_node(self) -> None:
        kubeconfig = self.control_plane.kubeconfig
        kubelet = self._write("kubelet.json", json.dumps(configuration.kubelet(self._cgroup)))
        proxy = self._write("kube-proxy.json", json.dumps(configuration.kube_proxy(kubeconfig)))
        self._start("kube-scheduler", f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=0")
        self._start(
            "kubelet",
            f"--config={kubelet}",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={NODE}",
            f"--node-ip={ADDRESS}",
        )
        self._start("kube-proxy", f"--config={proxy}")

    def _start_services(self) -> None:
        kubeconfig = self.control_plane.kubeconfig
        corefile = self._write("Corefile", configuration.COREFILE.replace("KUBECONFIG", str(kubeconfig)))
        self._start("coredns", f"-conf={corefile}")
        self._start(
            "metrics-server",
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--bind-address={ADDRESS}",
            "--secure-port=4443",
            f"--cert-dir={self._folder / 'metrics-server'}",
            "--kubelet-insecure-tls",
            "--kubelet-preferred-address-types=InternalIP",
            *SCRAPING,
        )
        self.expose("metrics-server", "kube-system", port=443, target=4443)
        self.client.apply(configuration.METRICS)

    def _start(self, binary: str, *flags: str, named: str | None = None) -> None:
        self.inside.start(named or binary, str(self._binaries[binary]), *flags)

    def _has_containerd(self) -> bool:
        self.inside.check()
        with suppress(CommandError):
            return bool(self.ctr("version"))
        return False

    def _is_ready(self) -> bool:
        self.inside.check()
        nodes = self.client.get("nodes")["items"]
        conditions = [each for node in nodes for each in node["status"].get("conditions", ())]
        return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)

    def _leads(self, address: str) -> bool:
        rules = self.inside.run("iptables-save", "-t", "nat").splitlines()
        return any(rule.startswith("-A KUBE-SERVICES ") and f" -d {address}/32 " in rule for rule in rules)

    def _image(self, name: str, image: str) -> Path:
        files = {name: self._binaries[name]}
        return images.archive(self._folder / f"{name}.tar", image, files=files, command=[f"/{name}"])

    def _write(self, name: str, content: str) -> Path:
        path = self._folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        return path


def absent_packages() -> list[str]:
    """Return the Debian packages that are not installed."""
    return [package for command, package in PACKAGES.items() if shutil.which(command) is None]


@contextmanager
def running(logs: Path, binaries: Mapping[str, Path]) -> Iterator[Node]:
    """Run a node; what it keeps on disk goes with it, or with the next one if it was killed; its logs stay."""
    _remove_what_is_left()
    with (
        TemporaryDirectory(prefix=processes.signed("node")) as name,
        cgroups.own() as cgroup,
        processes.held(logs) as outside,
        netns.opened(Path(name), outside) as place,
    ):
        node = Node(Path(name), place, outside, cgroup=cgroup, binaries=binaries)
        node.start()
        yield node


def _remove_what_is_left() -> None:
    for folder in filter(processes.orphaned, Path(gettempdir()).iterdir()):
        shutil.rmtree(folder, ignore_errors=True)
