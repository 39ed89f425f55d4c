"""The redirect rules, written by real iptables in a network namespace that stands for a pod."""

import fcntl
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from azure_workload_identity import names
from imds_proxy import redirect
from tests.support.listener import Listener, listener
from tests.support.netns import IMDS, NODE, Network, network, require

# Without site-packages, of which it needs nothing.
INIT = (sys.executable, "-S", "-m", "imds_proxy.redirect")
ASKED = "/metadata/identity/oauth2/token"
BACKENDS = ("iptables-nft", "iptables-legacy")


@pytest.fixture
def pod() -> Iterator[Network]:
    """Make a pod without any rules."""
    require()
    with network() as made:
        yield made


@pytest.fixture
def imds(pod: Network) -> Iterator[Listener]:
    """Stand at the real address."""
    with listener("imds", pod.node.listen((IMDS, redirect.IMDS_PORT))) as real:
        yield real


@pytest.fixture
def sidecar(pod: Network) -> Iterator[Listener]:
    """Stand where the proxy listens."""
    with listener("proxy", pod.pod.listen(("127.0.0.1", names.DEFAULT_PROXY_PORT))) as proxy:
        yield proxy


def init(pod: Network, *flags: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run `azwi-proxy init` in the pod."""
    return pod.pod.run(*INIT, *flags, env=environment)


def curl(pod: Network, url: str = f"http://{IMDS}{ASKED}", uid: int | None = None) -> str:
    """Send a request from the pod, and return the name of the responder."""
    return pod.pod.run("curl", "--silent", "--max-time", "60", "--globoff", url, uid=uid).stdout


def rules(pod: Network, backend: str) -> str:
    """List a backend's nat table."""
    done = pod.pod.run(backend, "-t", "nat", "-S")
    assert done.returncode == 0, done.stderr
    return done.stdout


def only(backend: str, directory: Path) -> str:
    """Make a PATH on which iptables is this one."""
    for name in (backend, f"{backend}-restore"):
        target = shutil.which(name)
        assert target is not None
        (directory / name).symlink_to(target)
    return str(directory)


@pytest.mark.parametrize("backend", BACKENDS)
def test_users(pod: Network, imds: Listener, sidecar: Listener, tmp_path: Path, backend: str) -> None:
    """Requests of any user for IMDS go to the proxy, root's included; the proxy's own go to IMDS."""
    done = init(pod, PATH=only(backend, tmp_path))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"azwi-proxy init: 169.254.169.254:80 is redirected to port 8000, but not for uid 1501 ({backend})\n"
    )
    assert [curl(pod), curl(pod, uid=0), curl(pod, uid=10001), curl(pod, uid=names.PROXY_UID)] == [
        "proxy",
        "proxy",
        "proxy",
        "imds",
    ]
    assert sidecar.asked == [f"GET {ASKED}"] * 3
    assert imds.asked == [f"GET {ASKED}"]


@pytest.mark.usefixtures("sidecar")
def test_nothing_else(pod: Network, imds: Listener) -> None:
    """Other ports of that address and other addresses are not redirected; the address mapped into IPv6 is."""
    init(pod)
    with (
        listener("other port", pod.node.listen((IMDS, 8080))),
        listener("other address", pod.node.listen((NODE, 80))),
    ):
        assert curl(pod, f"http://{IMDS}:8080/") == "other port"
        assert curl(pod, f"http://{NODE}/") == "other address"
    assert curl(pod, f"http://[::ffff:{IMDS}]/") == "proxy"
    assert imds.asked == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_again(pod: Network, tmp_path: Path, backend: str) -> None:
    """Run again it changes nothing; run with another port it leaves no rule for the former one."""
    path = only(backend, tmp_path)
    init(pod, PATH=path)
    first = rules(pod, backend)
    assert init(pod, PATH=path).returncode == 0
    assert rules(pod, backend) == first

    assert init(pod, "--proxy-port=8123", PATH=path).returncode == 0
    assert rules(pod, backend) == first.replace("8000", "8123")


@pytest.mark.parametrize("backend", BACKENDS)
def test_rules_of_others(pod: Network, imds: Listener, sidecar: Listener, backend: str) -> None:
    """It writes where others have their rules, before them, and removes its own only."""
    for rule in (
        ("-N", "MESH"),
        ("-A", "MESH", "-p", "tcp", "-j", "REDIRECT", "--to-ports", "15001"),
        ("-A", "OUTPUT", "-p", "tcp", "-d", f"{IMDS}/32", "-j", "MESH"),
        ("-A", "POSTROUTING", "-s", "192.0.2.0/24", "-j", "MASQUERADE"),
    ):
        assert pod.pod.run(backend, "-t", "nat", *rule).returncode == 0
    before = rules(pod, backend)

    assert backend in init(pod).stdout
    assert curl(pod) == "proxy"
    assert len(sidecar.asked) == 1
    assert set(before.splitlines()) < set(rules(pod, backend).splitlines())

    assert init(pod, "--remove").returncode == 0
    assert rules(pod, backend) == before
    assert imds.asked == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_check_without_rules(pod: Network, tmp_path: Path, backend: str) -> None:
    """The check fails without rules, and writes none."""
    done = init(pod, "--check", PATH=only(backend, tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "azwi-proxy init: 169.254.169.254:80 is not redirected to port 8000: run azwi-proxy init\n"
    assert redirect.CHAIN not in rules(pod, backend)


def test_check(pod: Network) -> None:
    """The check fails with rules for another port and with damaged rules; init repairs them."""
    init(pod)
    assert init(pod, "--check").returncode == 0
    assert init(pod, "--check", "--proxy-port=8123").returncode == 1

    pod.pod.run("iptables-nft", "-t", "nat", "-I", redirect.CHAIN, "-j", "RETURN")
    assert init(pod, "--check").returncode == 1
    assert init(pod).returncode == 0
    assert init(pod, "--check").returncode == 0


def test_remove(pod: Network) -> None:
    """Removing deletes the rules of both backends, and succeeds when there are none."""
    empty = rules(pod, "iptables-nft")
    init(pod)
    pod.pod.run("iptables-legacy", "-t", "nat", "-N", redirect.CHAIN)

    for _ in ("with", "without"):
        assert init(pod, "--remove").returncode == 0
        assert [rules(pod, backend) for backend in BACKENDS] == [empty, empty]


def test_port(pod: Network) -> None:
    """The port is the flag's, else the variable's, else 8000; an empty variable is none."""
    for flags, value, port in (((), "8001", 8001), (("--proxy-port=8002",), "8001", 8002), ((), "", 8000)):
        assert f"to port {port}," in init(pod, *flags, PROXY_PORT=value).stdout


def test_no_route() -> None:
    """In a pod without an IPv4 route the rules are written, with a warning that they will not help."""
    require()
    with network(routed=False) as pod:
        done = init(pod)
    assert done.returncode == 0
    assert "warning: no IPv4 route to 169.254.169.254" in done.stderr


@pytest.mark.parametrize("backend", BACKENDS)
def test_as_injected(pod: Network, imds: Listener, sidecar: Listener, tmp_path: Path, backend: str) -> None:
    """Root with two capabilities and a read-only root file system is enough, with either backend."""
    script = (
        "mount -t tmpfs none /dev/shm && mount -t tmpfs -o ro none /run && mount -o remount,bind,ro / && "
        'exec setpriv --no-new-privs --bounding-set=-all,+net_admin,+net_raw "$@"'
    )
    env = {
        names.ENV_XTABLES_LOCK: names.XTABLES_LOCK,
        names.ENV_PROXY_PORT: "8000",
        "PATH": f"{only(backend, tmp_path)}:/usr/bin:/bin",
    }

    done = pod.pod.run("unshare", "--mount", "sh", "-c", script, "sh", *INIT, env=env)

    assert (done.returncode, done.stderr) == (0, "")
    assert backend in done.stdout
    assert curl(pod) == "proxy"
    assert (imds.asked, len(sidecar.asked)) == ([], 1)


@pytest.mark.parametrize("flags", [(), ("--check",), ("--remove",)])
def test_without_capabilities(pod: Network, flags: tuple[str, ...]) -> None:
    """Without the capabilities nothing can be written, checked or removed, and the error names them."""
    init(pod)
    done = pod.pod.run("setpriv", "--bounding-set=-all", "--inh-caps=-all", *INIT, *flags)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("azwi-proxy init: iptables-nft: ")
    assert done.stderr.endswith(
        ". It needs root with the capabilities NET_ADMIN and NET_RAW, and a kernel with the iptables modules nat, "
        "owner and REDIRECT; azure.workload.identity/proxy-mode: environment needs neither\n"
    )
    assert init(pod, "--check").returncode == 0


def test_plain_iptables(pod: Network, tmp_path: Path) -> None:
    """Where the image has one iptables only, under its plain name, that one is used."""
    path = only("iptables", tmp_path)
    assert "(iptables)" in init(pod, PATH=path).stdout
    assert init(pod, "--check", PATH=path).returncode == 0
    assert init(pod, "--remove", PATH=path).returncode == 0
    assert init(pod, "--check", PATH=path).returncode == 1


def test_other_backend(pod: Network, tmp_path: Path) -> None:
    """Where the kernel rejects the rules of one backend, the other one writes them."""
    path = only("iptables-legacy", tmp_path)
    for name in ("iptables-nft", "iptables-nft-restore"):
        broken = tmp_path / name
        broken.write_text("#!/bin/sh\necho 'Protocol not supported' >&2\nexit 1\n")
        broken.chmod(0o755)
    done = init(pod, PATH=f"{path}:/usr/bin:/bin")

    assert done.returncode == 0, done.stderr
    assert "(iptables-legacy)" in done.stdout
    assert init(pod, "--remove", PATH=f"{path}:/usr/bin:/bin").returncode == 0
    assert redirect.CHAIN not in rules(pod, "iptables-legacy")


def test_lock(pod: Network, tmp_path: Path) -> None:
    """It waits while another program holds the lock of iptables-legacy."""
    lock = tmp_path / "xtables.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        release = threading.Timer(1.2, fcntl.flock, (held, fcntl.LOCK_UN))
        release.start()
        done = init(pod, PATH=only("iptables-legacy", tmp_path), **{names.ENV_XTABLES_LOCK: str(lock)})
        was_held = release.finished.is_set()
        release.join()
    assert done.returncode == 0, done.stderr
    assert was_held


def test_no_iptables(tmp_path: Path) -> None:
    """A missing iptables is reported."""
    done = subprocess.run(INIT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "azwi-proxy init: no iptables on PATH: run it in the proxy's own image\n"


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "٨٠"])  # the last one is 80 in Arabic digits
def test_bad_port(capsys: pytest.CaptureFixture[str], port: str) -> None:
    """A port that is none is a wrong use, not a failure."""
    with pytest.raises(SystemExit) as stop:
        redirect.main([f"--proxy-port={port}"])
    assert stop.value.code == 2
    assert f"{port!r} is not a port from 1 to 65535" in capsys.readouterr().err
