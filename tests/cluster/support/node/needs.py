"""Requirements of a node, each missing one with the command that installs it."""

import os
import shutil
from pathlib import Path
from typing import Final

from testbed import tools

BUILT: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "pause")
UNPACKED: Final = ("kubectl", "helm")
# Program: Debian's package.
INSTALLED: Final = {
    "bash": "bash",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "ctr": "containerd",
    "etcd": "etcd-server",
    "ip": "iproute2",
    "iptables": "iptables",
    "mkfs.ext4": "e2fsprogs",
    "nsenter": "util-linux",
    "runc": "runc",
    "setpriv": "util-linux",
    "sysctl": "procps",
    "unshare": "util-linux",
}
CNI: Final = Path("/usr/lib/cni")
PLUGINS: Final = ("host-local", "loopback", "portmap", "ptp")
CONTROLLERS: Final = ("blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids", "systemd")
CGROUPS: Final = Path("/sys/fs/cgroup")


def missing() -> list[str]:
    """The missing requirements, one line each; empty if a node can be started."""
    lines = []
    if os.geteuid():
        lines.append("a node needs root: sudo make e2e")
    folder = tools.folder()
    built = [name for name in (*BUILT, *UNPACKED) if not os.access(folder / name, os.X_OK)]
    if built:
        lines.append(f"no {', '.join(built)} in {folder}: make node-tools")
    lines += [
        f"no {program} on PATH: apt-get install --no-install-recommends {package}"
        for program, package in INSTALLED.items()
        if shutil.which(program) is None
    ]
    plugins = [name for name in PLUGINS if not os.access(CNI / name, os.X_OK)]
    if plugins:
        lines.append(
            f"no {', '.join(plugins)} in {CNI}: apt-get install --no-install-recommends containernetworking-plugins"
        )
    if not all((CGROUPS / controller).is_dir() for controller in CONTROLLERS):
        lines.append(f"no cgroup v1 in {CGROUPS}: boot with systemd.unified_cgroup_hierarchy=0 (until Debian 12)")
    return lines
