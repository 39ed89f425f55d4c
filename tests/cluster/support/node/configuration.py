"""The files of a node: certificates, kubeconfigs, and the configuration of each program."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import trustme

from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import issue, write_kubeconfig
from tests.cluster.support.node import dns
from tests.cluster.support.node.needs import CNI

# AZWI_NODE numbers the nodes of this machine, from 0; each has its own link, addresses, cgroup and directory.
INSTANCE: Final = int(os.environ.get("AZWI_NODE") or "0")
_INSTANCES: Final = 5
if not 0 <= INSTANCE < _INSTANCES:
    raise ValueError(f"AZWI_NODE must be 0 to {_INSTANCES - 1}, not {INSTANCE}")
_SUFFIX: Final = f"-{INSTANCE}" if INSTANCE else ""

NAME: Final = "node1"  # the node in its cluster, and its end of the link: alone in its network namespace
LINK: Final = f"azwi-node{_SUFFIX}"
CGROUP: Final = LINK
DIRECTORY: Final = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "azwi" / "cluster" / f"node{_SUFFIX}"
)
NETWORK: Final = f"10.{250 + INSTANCE}.0.0/30"
MACHINE: Final = f"10.{250 + INSTANCE}.0.1"
ADDRESS: Final = f"10.{250 + INSTANCE}.0.2"
PODS: Final = f"10.244.{INSTANCE}.0/24"
SERVICES: Final = "10.96.0.0/16"
API_PORT: Final = 26443
URL: Final = f"https://{ADDRESS}:{API_PORT}"
ISSUER: Final = "https://oidc.azwi.test/"
PAUSE: Final = "localhost/pause:1"

# File name: common name and organisation, as Kubernetes reads user and group of them.
USERS: Final = {
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", None),
    "kube-scheduler": ("system:kube-scheduler", None),
    "kubelet": (f"system:node:{NAME}", "system:nodes"),
    "kube-proxy": ("system:kube-proxy", None),
    "kubelet-client": ("kube-apiserver-kubelet-client", "system:masters"),
}
API_NAMES: Final = (
    ADDRESS,
    "127.0.0.1",
    "10.96.0.1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


def write(directory: Path) -> None:
    """Write everything into the node's directory."""
    for name in ("log", "cni", "containerd"):
        (directory / name).mkdir()
    _write_certificates(directory)
    (directory / "containerd.toml").write_text(_containerd(directory))
    _write_json(directory / "cni" / "10-node.conflist", _network())
    _write_json(directory / "kubelet.json", _kubelet(directory))
    _write_json(directory / "kube-proxy.json", _kube_proxy(directory))


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2))


def _write_certificates(directory: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.crt"))
    authority.private_key_pem.write_to_path(str(directory / "ca.key"))
    issue(directory, "api", authority.issue_cert(*API_NAMES))
    issue(directory, "accounts", authority.issue_cert("accounts", key_type=trustme.KeyType.RSA))
    for name, (user, group) in USERS.items():
        issue(directory, name, authority.issue_cert(name, common_name=user, organization_name=group))
        pair = {"client-certificate": str(directory / f"{name}.crt"), "client-key": str(directory / f"{name}.key")}
        write_kubeconfig(directory / f"{name}.kubeconfig", URL, directory / "ca.crt", pair)


def renew_api_certificate(directory: Path) -> None:
    """Replace the API server's certificate, which it notices by itself."""
    authority = trustme.CA.from_pem((directory / "ca.crt").read_bytes(), (directory / "ca.key").read_bytes())
    issue(directory, "api", authority.issue_cert(*API_NAMES))


def _containerd(directory: Path) -> str:
    # Without CAP_SYS_RESOURCE runc cannot lower a sandbox's oom_score_adj: hence restrict_oom_score_adj.
    return f"""version = 2
root = "{directory}/containerd/root"
state = "{directory}/containerd/state"
[grpc]
  address = "{directory}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{directory}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{directory}/registries"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI}"
    conf_dir = "{directory}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def _network() -> JsonObject:
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {
        "cniVersion": "1.0.0",
        "name": "node",
        "plugins": [
            {"type": "ptp", "ipMasq": False, "ipam": addresses},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _kubelet(directory: Path) -> JsonObject:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CGROUP}",
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{directory}/containerd.sock",
        "resolvConf": "",
        "clusterDNS": [MACHINE],
        "clusterDomain": dns.DOMAIN,
        "address": ADDRESS,
        "readOnlyPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(directory / "ca.crt")},
        },
        "authorization": {"mode": "AlwaysAllow"},
        # The machine's disk and memory are not the node's own: it evicts nothing for them.
        "evictionHard": {
            "memory.available": "1Mi",
            **dict.fromkeys(("nodefs.available", "imagefs.available"), "0%"),
            **dict.fromkeys(("nodefs.inodesFree", "imagefs.inodesFree"), "0%"),
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "5s",  # how often what is mounted is brought up to date; by default a minute
        "maxPods": 200,
    }


def _kube_proxy(directory: Path) -> JsonObject:
    # No sync period is given: that of real clusters, one second, is part of what is proven.
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(directory / "kube-proxy.kubeconfig")},
        "hostnameOverride": NAME,
        "clusterCIDR": PODS,
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    }
