"""Brings the node up and down."""

import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from azure_workload_identity.types import JsonObject
from testbed import tools
from testbed.cluster.control_plane import UNTIL_TIMEOUT, Cluster, Programs, admin_client, is_ready
from testbed.processes import child, tail
from tests.cluster.support.node import archive, configuration, dns
from tests.cluster.support.node.configuration import (
    ADDRESS,
    API_PORT,
    CGROUP,
    DIRECTORY,
    INSTANCE,
    ISSUER,
    LINK,
    MACHINE,
    NAME,
    PODS,
    SERVICES,
    URL,
)
from tests.cluster.support.node.needs import CGROUPS, CONTROLLERS

INIT: Final = Path(__file__).with_name("init.sh")
DISK: Final = "8G"  # of a sparse file: it takes what is written
READY_SECONDS: Final = 120.0
# All pods together would get no more CPU than a single process beside the node does, and starve on a busy machine.
CPU_SHARES: Final = 16 * 1024
POLL_SECONDS: Final = 0.05


class NodeError(RuntimeError):
    """The node did not come up; the message has the end of a log."""


class NodeBusyError(NodeError):
    """A node with this number runs on this machine already."""


@dataclass(frozen=True, slots=True)
class Node:
    """A running node; `process_id` is its PID 1 as this machine sees it, `begun` when its start began (monotonic).

    `hosts` are the hosts outside the cluster that its pods find: addresses by name.
    """

    cluster: Cluster
    directory: Path
    process_id: int
    begun: float
    hosts: dict[str, str] = field(default_factory=dict)

    def lookup(self, name: str) -> str | None:
        """Return the address of a name, as pods find it."""
        return self.hosts.get(name) or dns.service_address(self.cluster, name)

    def add_image(self, image: Path) -> None:
        """Import a docker-archive."""
        socket = self.directory / "containerd.sock"
        _run("ctr", f"--address={socket}", "--namespace=k8s.io", "images", "import", "--snapshotter=overlayfs", image)

    def container(self, pod: JsonObject, name: str = "") -> int:
        """Return process 1 of a running pod's container, the first one without a name, as this machine numbers it."""
        statuses = [*pod["status"]["containerStatuses"], *pod["status"].get("initContainerStatuses", [])]
        found = next(status for status in statuses if name in {"", status["name"]})
        identifier = found["containerID"].removeprefix("containerd://")
        (cgroup,) = (CGROUPS / "pids" / CGROUP).rglob(f"*/{identifier}")
        return next(int(line) for line in (cgroup / "cgroup.procs").read_text().split() if _is_first(line))

    def server(self, pod: JsonObject) -> int:
        """Return the process of the server, a child of the container's process 1."""
        return child(self.container(pod))

    def in_network(self, *command: str) -> str:
        """Run a program of this machine in the node's network, and return its output."""
        return _run("nsenter", f"--target={self.process_id}", "--net", *command)

    def restart_kubelet(self) -> None:
        """End the kubelet as a crash does; the node's init starts it again."""
        number = int((self.directory / "kubelet.pid").read_text())  # in the node's own PID namespace
        _run("nsenter", f"--target={self.process_id}", "--pid", "--mount", "kill", "-KILL", number)


def _run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NodeError(f"{command[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def node(directory: Path = DIRECTORY, patience: float = 0.0) -> Iterator[Node]:
    """Run the node with its files in a directory, of which the logs stay.

    Another node's end is waited for as many seconds as patience says.

    Raises:
        NodeError: It did not come up.
        NodeBusyError: One with this number runs on this machine already.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        lock = stack.enter_context(directory.with_suffix(".lock").open("w"))
        _take(lock.fileno(), patience)
        begun = time.monotonic()
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        configuration.write(directory)
        stack.callback(_sweep, directory)
        _make_cgroups()
        stack.callback(_remove_cgroups)
        process_id = stack.enter_context(_init(directory))
        _connect(process_id)
        stack.callback(_disconnect)
        http = stack.enter_context(admin_client(directory))
        _wait(lambda: is_ready(http, URL), directory, "the API server is ready", "kube-apiserver")
        (directory / "api-is-ready").touch()
        programs = Programs.find()
        kubeconfig = directory / "admin.kubeconfig"
        cluster = Cluster(URL, directory, directory / "ca.crt", kubeconfig, programs, http)
        running = Node(cluster, directory, process_id, begun)
        stack.enter_context(dns.serving(MACHINE, running.lookup))
        _set_up(running)
        yield running


def _take(lock: int, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise NodeBusyError(
                    f"node {INSTANCE} runs on this machine already; AZWI_NODE={INSTANCE + 1} starts another beside it"
                ) from None
            time.sleep(POLL_SECONDS)
        else:
            return


@contextmanager
def _init(directory: Path) -> Iterator[int]:
    """Start the node's PID 1 and yield its number; it dies with this process, and everything in the node with it."""
    variables = {
        "PATH": os.environ["PATH"],
        "NODE": str(directory),
        "DISK": DISK,
        "PROGRAMS": str(tools.folder()),
        "ADDRESS": ADDRESS,
        "API_PORT": str(API_PORT),
        "ISSUER": ISSUER,
        "SERVICES": SERVICES,
    }
    command = ["setpriv", "--pdeathsig=KILL", "--", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
    with (directory / "log" / "init.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, str(INIT)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=variables,
            start_new_session=True,  # Ctrl-C is for the tests, which then end the node
        )
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        _wait(lambda: process.poll() is not None or children.read_text() != "", directory, "it has a PID 1", "init")
        process_id = child(process.pid)
        own = Path("/proc/self/ns/net").readlink()
        _wait(lambda: Path(f"/proc/{process_id}/ns/net").readlink() != own, directory, "it has a network", "init")
        yield process_id
    finally:
        process.send_signal(signal.SIGKILL)  # unshare takes no notice of SIGTERM
        process.wait()


def _connect(process_id: int) -> None:
    """Connect the node to this machine by a veth pair, and route the pods' addresses to it."""
    _disconnect()  # from a node that was killed
    _run("ip", "link", "add", LINK, "type", "veth", "peer", "name", NAME, "netns", process_id)
    _run("ip", "address", "add", f"{MACHINE}/30", "dev", LINK)
    _run("ip", "link", "set", LINK, "up")
    _run("ip", "route", "add", PODS, "via", ADDRESS, "dev", LINK)


def _disconnect() -> None:
    """Remove the links and their route at once; the kernel takes its time over a network that nobody is in any more."""
    subprocess.run(["ip", "link", "delete", LINK], capture_output=True, check=False)


def _set_up(node: Node) -> None:
    kubectl = node.cluster.kubectl
    kubectl(
        "create", "clusterrolebinding", "kube-proxy", "--clusterrole=system:node-proxier", "--user=system:kube-proxy"
    )
    socket = node.directory / "containerd.sock"
    pause = archive.File((tools.folder() / "pause").read_bytes(), 0o755)
    config = {"Entrypoint": ["/pause"], "User": "65535:65535"}
    image = archive.pack(node.directory / "pause.tar", configuration.PAUSE, {"pause": pause}, config)
    _wait(socket.exists, node.directory, "containerd listens", "containerd")
    node.add_image(image)
    _wait(lambda: kubectl("get", "node", NAME).returncode == 0, node.directory, "the node is registered", "kubelet")
    account = ("get", "serviceaccount", "default")  # the controller manager's work
    _wait(lambda: kubectl(*account).returncode == 0, node.directory, "accounts are made", "kube-controller-manager")
    ready = kubectl("wait", "--for=condition=Ready", f"node/{NAME}", UNTIL_TIMEOUT)
    if ready.returncode:
        raise NodeError(f"the node is not ready: {ready.stderr}{tail(node.directory / 'log' / 'kubelet.log')}")


def _wait(happened: Callable[[], bool], directory: Path, what: str, program: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            raise NodeError(f"not within {READY_SECONDS:.0f} s: {what}\n{tail(directory / 'log' / f'{program}.log')}")
        time.sleep(POLL_SECONDS)


def _make_cgroups() -> None:
    _remove_cgroups()  # those of a run that was killed
    for controller in CONTROLLERS:
        (CGROUPS / controller / CGROUP).mkdir()
    (CGROUPS / "cpu" / CGROUP / "cpu.shares").write_text(str(CPU_SHARES))
    for resource in ("cpus", "mems"):
        setting = f"cpuset.{resource}"
        (CGROUPS / "cpuset" / CGROUP / setting).write_text((CGROUPS / "cpuset" / setting).read_text())


def _remove_cgroups() -> None:
    """Remove the node's cgroups, which are empty a moment after its last process has ended."""
    roots = [CGROUPS / controller / CGROUP for controller in CONTROLLERS]
    deadline = time.monotonic() + 10
    while any(root.exists() for root in roots) and time.monotonic() < deadline:
        for root in roots:
            for path, _, _ in os.walk(root, topdown=False):
                try:
                    os.rmdir(path)  # noqa: PTH106  os.walk's paths
                except OSError:
                    time.sleep(POLL_SECONDS)


def _sweep(directory: Path) -> None:
    """Remove what is large; logs and configuration stay to be read."""
    for name in ("containerd", "etcd", "kubelet", "own"):
        shutil.rmtree(directory / name, ignore_errors=True)
    (directory / "disk.img").unlink(missing_ok=True)


def _is_first(process: str) -> bool:
    """Whether a process is number 1 in its own PID namespace; on this machine its number may be above its child's."""
    status = Path(f"/proc/{process}/status").read_text()
    numbers = next(line for line in status.splitlines() if line.startswith("NSpid:"))
    return numbers.split()[-1] == "1"
