"""A room without a way out: a network, a file system and a process tree of its own.

The network has one bridge with one address, and a default route that leads nowhere else. /run, /var/lib and /var/log are
folders of ours, so that what expects the machine to itself leaves nothing on it. Names are asked of that address. When the
first process of the room ends, the kernel ends all others, unmounts and takes the network away: nothing outlives the
tests, however they end.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from kube import processes
from kube.processes import Processes
from waiting import patiently

ADDRESS = "172.31.255.1"
BRIDGE = "outside"
OWN = ("/run", "/var/lib", "/var/log")
DEADLINE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class NetworkNamespace:
    """The room: `inside` starts processes in it, `network` is the file that stands for its network."""

    inside: Processes
    network: Path


@contextmanager
def opened(folder: Path, outside: Processes) -> Iterator[NetworkNamespace]:
    """Open a room that keeps its files in a folder; it is gone when the block ends."""
    ready = folder / "ready"
    unshared = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation=private")
    outside.start("room", "unshare", *unshared, "sh", "-euc", _furnish(folder, ready))
    with outside.explained():
        patiently(ready.exists, within=DEADLINE_SECONDS, what="the room is ready")
        outside.check()
    first = psutil.Process(outside.pid("room")).children()[0].pid
    enter = ("nsenter", f"--target={first}", "--net", "--mount", "--pid")
    with processes.held(outside.logs, before=enter) as inside:
        yield NetworkNamespace(inside, Path(f"/proc/{first}/ns/net"))
        outside.kill("room")


def _furnish(folder: Path, ready: Path) -> str:
    resolver = folder / "resolv.conf"
    resolver.write_text(f"nameserver {ADDRESS}\n")
    owned = "\n".join(f"mkdir -p {folder}{each}; mount --bind {folder}{each} {each}" for each in OWN)
    return f"""
mount --make-rshared /  # the parts of the node see each other's mounts
{owned}
mount --bind {resolver} /etc/resolv.conf
ip link set lo up
ip link add {BRIDGE} type bridge
ip address add {ADDRESS}/24 dev {BRIDGE}
ip link set {BRIDGE} up
ip route add default dev {BRIDGE}
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables
touch {ready}
sleep infinity &
while :; do wait; done  # reaps what the node's processes leave
"""
