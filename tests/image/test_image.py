"""The image's content, and its programs run as Kubernetes runs them."""

import json
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

import pytest

from azure_workload_identity import __version__, names
from scripts.image_archive import Image
from testbed.processes import MAX_WAIT_SECONDS, free_ports, running, wait_until
from testbed.program import ROOT, TENANT, started
from tests.image.container import Machine
from tests.test_project import PYPROJECT

pytestmark = pytest.mark.image

# The plugin of kubectl is for machines that have kubectl.
PROGRAMS: Final = sorted(PYPROJECT["project"]["scripts"].keys() - {"kubectl-azwi"})
NET: Final = ("CAP_NET_ADMIN", "CAP_NET_RAW")
MEBIBYTE: Final = 1 << 20
LARGEST: Final = 140 * MEBIBYTE
TOOLS: Final = {
    "sh",
    "bash",
    "dash",
    "busybox",
    "perl",
    "apt",
    "apt-get",
    "dpkg",
    "gcc",
    "cc",
    "ld",
    "as",
    "make",
    "su",
}
INSTALLERS: Final = {"pip", "setuptools", "wheel", "ensurepip", "hatchling", "editables"}


def test_configuration(image: Image) -> None:
    """The image runs azwi-webhook as uid 65532 and leaves health to Kubernetes."""
    assert image.config["User"] == "65532:65532"
    assert image.config["Entrypoint"] == ["/opt/azwi/bin/azwi-webhook"]
    assert "Healthcheck" not in image.config
    assert set(image.config["ExposedPorts"]) == {"9443/tcp", "9440/tcp", "8095/tcp", "8000/tcp"}


def test_labels(image: Image) -> None:
    """Version, commit, time and licence are labels, equal to those that the programs print."""
    prefix = "org.opencontainers.image."
    labels = {
        key.removeprefix(prefix): value for key, value in image.config["Labels"].items() if key.startswith(prefix)
    }
    assert set(labels) >= {"title", "description", "base.name", "revision", "created"}
    assert (labels["version"], labels["licenses"]) == (__version__, "Apache-2.0")
    assert f"AZWI_GIT_COMMIT={labels['revision']}" in image.config["Env"]
    assert f"AZWI_BUILD_DATE={labels['created']}" in image.config["Env"]


def test_nothing_to_build_or_log_in_with(image: Image) -> None:
    """There is no shell, package manager, compiler or installer, and nothing of the build's secrets."""
    parts = {part for name in image.files for part in PurePosixPath(name).parts}
    programs = {PurePosixPath(name).name for name in image.files if PurePosixPath(name).parent.name in {"bin", "sbin"}}
    distributions = {part.split("-")[0] for part in parts if part.endswith(".dist-info")}
    assert "python3" in programs
    assert "uvicorn" in distributions
    assert not programs & TOOLS
    assert not INSTALLERS & {*distributions, *(PurePosixPath(name).name for name in image.files)}
    settings = ("pip.conf", "sources.list")
    assert not [name for name in image.files if name.startswith("run/secrets") or name.endswith(settings)]


def test_programs_on_the_path(image: Image) -> None:
    """Of the environment's programs only ours and its Python are there."""
    directory = PurePosixPath("opt/azwi/bin")
    programs = {PurePosixPath(name).name for name in image.files if PurePosixPath(name).parent == directory}
    assert {name for name in programs if not name.startswith("python")} == set(PROGRAMS)


def test_owners_and_modes(image: Image) -> None:
    """Everything belongs to root, others may write only to /tmp, and no file is setuid or setgid."""
    files = image.files
    assert not [name for name, file in files.items() if (file.uid, file.gid) != (0, 0)]
    writable = [name for name, file in files.items() if not file.issym() and file.mode & (stat.S_IWGRP | stat.S_IWOTH)]
    assert writable == ["tmp"]
    assert files["tmp"].mode & stat.S_ISVTX
    assert not [name for name, file in files.items() if file.mode & (stat.S_ISUID | stat.S_ISGID)]
    assert not [name for name, file in files.items() if file.pax_headers.keys() & {"SCHILY.xattr.security.capability"}]


def test_links(machine: Machine) -> None:
    """Every symbolic link leads to something."""
    dangling = []
    for link in (path for path in machine.root.rglob("*") if path.is_symlink()):
        target = link.readlink()
        place = machine.root / str(target).lstrip("/") if target.is_absolute() else link.parent / target
        if not (place.exists() or place.is_symlink()):
            dangling.append(str(link.relative_to(machine.root)))
    assert dangling == []


def test_compiled(image: Image) -> None:
    """Every module, Debian's too, comes compiled, and its bytecode holds whatever time the file is given."""
    modules = [PurePosixPath(name) for name in image.files if name.endswith(".py") and "lib/python3" in name]
    (cache,) = {PurePosixPath(name).name.split(".")[-2] for name in image.files if name.endswith(".pyc")}
    compiled = {str(module.parent / "__pycache__" / f"{module.stem}.{cache}.pyc") for module in modules}
    assert compiled <= set(image.files)
    assert len(compiled) > 1000


def test_size(image: Image) -> None:
    """It stays small."""
    assert sum(file.size for file in image.files.values()) < LARGEST


@pytest.mark.parametrize(
    "program", ["/opt/azwi/bin/azwi-webhook", "azwi-webhook", "/manager", "azwi-proxy", names.PROXY_PROGRAM]
)
def test_version(machine: Machine, program: str) -> None:
    """Each program prints its version as one line of JSON, by its own name and by that of v1.6.0's image."""
    done = machine.run("--version", program=[program])
    assert (done.returncode, done.stderr) == (0, "")
    printed = json.loads(done.stdout)
    assert printed["buildVersion"] == __version__
    assert f"AZWI_GIT_COMMIT={printed['gitCommit']}" in machine.image.config["Env"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_help(machine: Machine, program: str) -> None:
    """Each program explains itself, as a user without a name, a home or a writable disk."""
    done = machine.run("--help", program=[program])
    assert (done.returncode, done.stderr) == (0, "")
    assert "--help" in done.stdout


def in_container(machine: Machine, *mounted: Path) -> Callable[[list[str]], list[str]]:
    """Run the server's flags in a container that sees these directories where they are."""

    def command(flags: list[str]) -> list[str]:
        mounts = {directory: str(directory) for directory in mounted}
        return machine.command(*flags, mounts=mounts, environment={"AZURE_TENANT_ID": TENANT})

    return command


def test_webhook_admits(machine: Machine, tmp_path: Path) -> None:
    """azwi-webhook becomes ready on a read-only root, admits a pod over TLS, and ends by itself when asked to."""
    command = in_container(machine, tmp_path / "certs", ROOT / "examples")
    with started(tmp_path, command=command) as server:
        spec = {"serviceAccountName": "quickstart", "containers": [{"name": "app", "image": "example.com/app:1.0"}]}
        response = server.admit({"metadata": {"labels": {names.USE_LABEL: "true"}}, "spec": spec})
        assert server.stop(signal.SIGTERM) == 0
    assert response["allowed"] is True
    assert "patch" in response


def test_webhook_makes_a_certificate(machine: Machine, tmp_path: Path) -> None:
    """Its certificates are made by a second Python of the image, which finds our modules too."""
    (tmp_path / "none").mkdir()
    command = in_container(machine, ROOT / "examples")

    def without_pair(flags: list[str]) -> list[str]:
        return command([flag for flag in flags if "cert" not in flag])

    with started(tmp_path, command=without_pair) as server:
        assert server.get(server.health, "/readyz")[0] == 200


def test_authorities(machine: Machine) -> None:
    """Python's TLS finds certificate authorities by name, and requests the same ones."""
    code = "import os, ssl; print(ssl.get_default_verify_paths().capath, os.environ['REQUESTS_CA_BUNDLE'])"
    directory, bundle = machine.run("-c", code, program=["python"]).stdout.split()
    in_root = machine.root / directory.lstrip("/")
    assert len(list(in_root.glob("*.[0-9]"))) > 100
    assert (machine.root / bundle.lstrip("/")).read_text().count("BEGIN CERTIFICATE") > 100


@pytest.fixture
def network() -> Iterator[list[str]]:
    """Give the wrapper that runs something in one fresh network namespace."""
    with subprocess.Popen(["unshare", "--net", "sleep", "infinity"]) as holder:
        here = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{holder.pid}/ns/net").readlink() == here:
            time.sleep(0.01)
        yield ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]
        holder.kill()


@pytest.mark.parametrize("family", ["iptables", "ip6tables"])
@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_iptables(machine: Machine, network: list[str], family: str, backend: str) -> None:
    """Both backends of both families write and list a redirect rule with two capabilities."""
    program = f"{family}-{backend}"
    rule = ("-p", "tcp", "--dport", "80", "-j", "REDIRECT", "--to-ports", "8000")
    added = iptables(machine, network, program, "-A", "OUTPUT", *rule)
    assert (added.returncode, added.stderr) == (0, "")
    assert "-A OUTPUT -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8000" in rules(machine, network, program)


def iptables(machine: Machine, network: list[str], program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a program of the iptables family on the nat table, as the proxy's init container would."""
    lock = {names.ENV_XTABLES_LOCK: names.XTABLES_LOCK}
    return machine.run(
        *("-t", "nat", *arguments),
        program=[program],
        user="0:0",
        capabilities=NET,
        environment=lock,
        wrapper=network,
    )


def rules(machine: Machine, network: list[str], program: str) -> str:
    """List the nat table."""
    return iptables(machine, network, program, "-S").stdout


def test_proxy_init(machine: Machine, network: list[str]) -> None:
    """/proxy init writes the redirect rules with the capabilities that the webhook gives it."""
    done = machine.run("init", program=[names.PROXY_PROGRAM], user="0:0", capabilities=NET, wrapper=network)
    assert done.returncode == 0, done.stdout + done.stderr
    written = [rules(machine, network, program) for program in ("iptables-nft", "iptables-legacy")]
    assert "169.254.169.254" in "".join(written)


def test_proxy_serves(machine: Machine, tmp_path: Path) -> None:
    """/proxy becomes ready as the proxy's user on a read-only root, which the probe sees, and ends when asked."""
    (port,) = free_ports(1)
    settings = {names.ENV_TENANT_ID: TENANT, names.ENV_CLIENT_ID: TENANT, names.ENV_PROXY_PORT: str(port)}
    options: dict[str, Any] = {
        "program": [names.PROXY_PROGRAM],
        "user": f"{names.PROXY_UID}:{names.PROXY_UID}",
        "environment": settings,
    }
    with running(machine.command(**options), tmp_path / "proxy.log") as process:
        log = tmp_path / "proxy.log"
        wait_until(lambda: machine.run("probe", **options).returncode == 0, process, log, MAX_WAIT_SECONDS)
        process.terminate()
        assert process.wait(MAX_WAIT_SECONDS) == 0
