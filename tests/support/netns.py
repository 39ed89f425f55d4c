"""Network namespaces that stand for a pod and its node, and programs and sockets in them.

The pod has one veth, whose other end is the node: the way to 169.254.169.254 ends there and nowhere else.
"""

import ctypes
import functools
import itertools
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from testbed.processes import MAX_WAIT_SECONDS
from testbed.program import ROOT

IMDS: Final = "169.254.169.254"
NODE: Final = "10.213.0.1"
POD: Final = "10.213.0.2"
NUMBERS: Final = itertools.count()
CLONE_NEWNET: Final = 0x40000000
PROGRAMS: Final = ("ip", "iptables-nft", "iptables-legacy", "setpriv", "unshare", "curl")


def require() -> None:
    """Skip the test where namespaces cannot be made, or fail where REQUIRE_CLUSTER=1."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if not missing and not _may_unshare():
        missing = ["root with the capability SYS_ADMIN"]
    if not missing:
        return
    reason = f"network namespaces need {', '.join(missing)}"
    if os.environ.get("REQUIRE_CLUSTER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@functools.cache
def _may_unshare() -> bool:
    return subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class Namespace:
    """One network namespace."""

    name: str

    def command(self, *command: str, uid: int | None = None) -> list[str]:
        """Write the command that runs another one in here, optionally as another user.

        The user may read every file: the checkout may lie where only root can look.
        """
        inside = [_program("ip"), "netns", "exec", self.name]
        if uid is not None:
            # Another user forgets the signal that `running` has asked for.
            user = (f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--pdeathsig=KILL")
            inside += [_program("setpriv"), *user, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        return [*inside, *command]

    def run(
        self,
        *command: str,
        uid: int | None = None,
        env: Mapping[str, str] | None = None,
        seconds: float = MAX_WAIT_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; a test reads status and output."""
        return subprocess.run(
            self.command(*command, uid=uid),
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **(env or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )

    def listen(self, address: tuple[str, int]) -> socket.socket:
        """Listen in here; the socket stays in the namespace, whoever accepts from it."""
        made: list[socket.socket] = []
        errors: list[OSError] = []

        def enter_and_listen() -> None:
            try:
                _enter(self.name)
                made.append(socket.create_server(address, backlog=2048))
            except OSError as error:
                errors.append(error)

        thread = threading.Thread(target=enter_and_listen)  # a thread has a namespace of its own
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return made[0]


def _program(name: str) -> str:
    # Its place, because a test may give the command a PATH of its own.
    return shutil.which(name) or name


def _enter(name: str) -> None:
    with Path("/run/netns", name).open() as handle:
        if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


@dataclass(frozen=True)
class Network:
    """A pod and its node."""

    pod: Namespace
    node: Namespace


@contextmanager
def network(*names: str, routed: bool = True) -> Iterator[Network]:
    """Make a pod and its node; the pod knows `names` as the node's, and has a way to it and to IMDS if `routed`."""
    made = Network(*(Namespace(f"azwi-{os.getpid()}-{next(NUMBERS)}-{name}") for name in ("pod", "node")))
    etc = Path("/etc/netns", made.pod.name)  # what `ip netns exec` shows as /etc
    try:
        etc.mkdir(parents=True)
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n::1 localhost\n{NODE} {' '.join(names)}\n")
        (etc / "resolv.conf").write_text("")
        for namespace in (made.pod, made.node):
            _ip("netns", "add", namespace.name)
            _ip("-n", namespace.name, "link", "set", "lo", "up")
        _ip("link", "add", "eth0", "netns", made.pod.name, "type", "veth", "peer", "eth0", "netns", made.node.name)
        for namespace, addresses in ((made.pod, [f"{POD}/24"]), (made.node, [f"{NODE}/24", f"{IMDS}/32"])):
            for address in addresses:
                _ip("-n", namespace.name, "address", "add", address, "dev", "eth0")
            _ip("-n", namespace.name, "link", "set", "eth0", "up")
        if routed:
            _ip("-n", made.pod.name, "route", "add", "default", "via", NODE)
        yield made
    finally:
        for namespace in (made.pod, made.node):
            subprocess.run(["ip", "netns", "del", namespace.name], capture_output=True, check=False)
        shutil.rmtree(etc, ignore_errors=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=MAX_WAIT_SECONDS)
