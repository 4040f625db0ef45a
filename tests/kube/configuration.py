"""The configuration files of a node's parts, with what a machine without systemd and without CAP_SYS_RESOURCE needs."""

from pathlib import Path
from typing import Any

from kube.netns import ADDRESS

Json = dict[str, Any]

NODE = "node"
PAUSE = "localhost/pause:tests"
PODS = "10.244.0.0/24"
CONTAINERD = "/run/containerd/containerd.sock"
DOMAIN = "cluster.local"
REMOTE = "remote.test"

CONTAINERD_TOML = f"""\
version = 2
[grpc]
  address = "{CONTAINERD}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true  # without CAP_SYS_RESOURCE no score can be lowered, and every sandbox would die of it
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/run/cni"
"""

CNI: Json = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "pods",
            "isGateway": True,
            "hairpinMode": True,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]},
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}

# 172.31.255.1 has a name, as a remote has; what is not in the cluster and not there does not exist.
COREFILE = f"""\
{DOMAIN} in-addr.arpa {{
    bind {ADDRESS}
    errors
    ready {ADDRESS}:8181
    kubernetes {DOMAIN} in-addr.arpa {{
        kubeconfig KUBECONFIG
        pods insecure
    }}
}}
. {{
    bind {ADDRESS}
    errors
    hosts {{
        {ADDRESS} {REMOTE}
    }}
}}
"""

METRICS: Json = {
    "apiVersion": "apiregistration.k8s.io/v1",
    "kind": "APIService",
    "metadata": {"name": "v1beta1.metrics.k8s.io"},
    "spec": {
        "group": "metrics.k8s.io",
        "version": "v1beta1",
        "service": {"name": "metrics-server", "namespace": "kube-system"},
        "insecureSkipTLSVerify": True,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
    },
}


def kubelet(cgroup: str) -> Json:
    """Return the kubelet's configuration; all its pods' control groups are below one."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "failCgroupV1": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "clusterDNS": [ADDRESS],
        "clusterDomain": DOMAIN,
        "resolvConf": "/dev/null",
        "evictionHard": {"nodefs.available": "0%", "imagefs.available": "0%", "memory.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "10s",  # new contents of Secrets and ConfigMaps; by default within a minute
        "registryPullQPS": 0,
    }


def kube_proxy(kubeconfig: Path) -> Json:
    """Return kube-proxy's configuration."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "bindAddress": ADDRESS,
        "healthzBindAddress": f"{ADDRESS}:10256",
        "metricsBindAddress": f"{ADDRESS}:10249",
        "clusterCIDR": PODS,
        "hostnameOverride": NODE,
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "conntrack": {"maxPerCore": 0},
    }


def service_to(name: str, namespace: str, *, port: int, target: int, address: str = ADDRESS) -> tuple[Json, Json]:
    """Return a Service that leads to a process beside the cluster, and its endpoints."""
    meta = {"name": name, "namespace": namespace}
    labels = {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "tests"}
    ports = [{"name": "main", "port": port, "targetPort": target, "protocol": "TCP"}]
    return (
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": ports}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": meta | {"labels": labels},
            "addressType": "IPv4",
            "ports": [{"name": "main", "port": target, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        },
    )
