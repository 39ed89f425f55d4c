"""One etcd and one kube-apiserver on loopback, and the operations that tests need.

No controller manager runs: nothing creates `default` ServiceAccounts, and nothing deletes the content of a namespace.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import trustme
import urllib3

from azure_workload_identity.types import JsonObject
from testbed import tools
from testbed.processes import MAX_WAIT_SECONDS, free_ports, running, until, wait_until

# For kubectl wait and kubectl rollout status: it ends, and says what is missing, before `Cluster.kubectl` gives up.
UNTIL_TIMEOUT = f"--timeout={MAX_WAIT_SECONDS - 10:.0f}s"
READY_SECONDS = 300.0  # with 500,000 ServiceAccounts in etcd it takes a while


class ApiError(Exception):
    """The API server answered with an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Programs:
    """Where the programs of a control plane are."""

    etcd: Path
    kube_apiserver: Path
    kubectl: Path
    helm: Path
    helm3: Path

    @classmethod
    def find(cls) -> "Programs":
        """Find them as `make cluster-tools` leaves them.

        Raises:
            FileNotFoundError: One is missing; the message says how to get it.
        """
        assets = tools.folder()
        for name in ("kube-apiserver", "kubectl", "helm", "helm3"):
            if not os.access(assets / name, os.X_OK):
                raise FileNotFoundError(f"no {name} in {assets}: run make cluster-tools")
        etcd = shutil.which("etcd")
        if etcd is None:
            raise FileNotFoundError("no etcd on PATH: apt-get install etcd-server")
        return cls(Path(etcd), assets / "kube-apiserver", assets / "kubectl", assets / "helm", helm3=assets / "helm3")


class Restartable:
    """A program's process, which a test may end and start again."""

    def __init__(self, command: list[str], log: Path, ready: Callable[[], bool]) -> None:
        self._command = command
        self._log = log
        self._ready = ready
        self._running = ExitStack()
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def process_id(self) -> int:
        """The process, once it was started."""
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start it only; the kernel ends it when the thread that called this ends."""
        self._process = self._running.enter_context(running(self._command, self._log))
        # Ended in an orderly way an API server would wait for its watches.
        self._running.callback(self._process.kill)

    def wait_until_ready(self) -> None:
        """Wait until it is ready.

        Raises:
            StartError: it ended, or was not ready within READY_SECONDS.
        """
        wait_until(self._ready, self._process, self._log, READY_SECONDS)

    def stop(self) -> None:
        """End it as a crash does."""
        self._running.close()

    @contextmanager
    def away(self) -> Iterator[None]:
        """End it, and start it again after the block, whatever happens there: others need it."""
        self.stop()
        try:
            yield
        finally:
            self.start()


@dataclass(frozen=True)
class Cluster:
    """A running cluster, seen by its administrator."""

    url: str
    directory: Path
    ca_file: Path
    kubeconfig: Path
    programs: Programs
    http: urllib3.PoolManager

    def kubectl(
        self, *args: str, stdin: str | None = None, kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl, by default as the administrator; a test reads status, stdout and stderr."""
        return subprocess.run(
            [str(self.programs.kubectl), f"--kubeconfig={kubeconfig or self.kubeconfig}", *args],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=MAX_WAIT_SECONDS,
            env={"HOME": str(self.directory), "PATH": os.environ["PATH"]},
        )

    def create(self, namespace: str, manifest: JsonObject) -> subprocess.CompletedProcess[str]:
        """Run `kubectl create`; stdout has the object as stored, stderr the messages to the user."""
        return self.kubectl("create", f"--namespace={namespace}", "-o=json", "-f=-", stdin=json.dumps(manifest))

    def request(
        self,
        method: str,
        path: str,
        body: JsonObject | list[JsonObject] | None = None,
        *,
        content_type: str = "application/json",
        seconds: float = MAX_WAIT_SECONDS,
    ) -> JsonObject:
        """Send one request as the administrator.

        Raises:
            ApiError: The status is not 2xx.
            urllib3.exceptions.TimeoutError: It was not answered within so many seconds.
        """
        response = self.http.request(
            method,
            self.url + path,
            body=None if body is None else json.dumps(body),
            headers={"Content-Type": content_type},
            timeout=seconds,
        )
        answer: JsonObject = json.loads(response.data)
        if response.status >= 300:
            raise ApiError(response.status, answer.get("message", ""))
        return answer

    def apply(self, *manifests: JsonObject) -> None:
        """Create or update objects of any kind, by the requests of `kubectl apply --server-side --force-conflicts`.

        Raises:
            ApiError: an object is refused.
        """
        for manifest in manifests:
            path = f"{self._path(manifest)}?fieldManager=kubectl&force=true&fieldValidation=Strict"
            self.request("PATCH", path, manifest, content_type="application/apply-patch+yaml")

    def _path(self, manifest: JsonObject) -> str:
        """The path of an object, with the plural of its kind as the API server names it."""
        version, metadata = manifest["apiVersion"], manifest["metadata"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        for resource in _resources(self, root):
            if resource["kind"] == manifest["kind"] and "/" not in resource["name"]:
                scope = f"/namespaces/{metadata.get('namespace', 'default')}" if resource["namespaced"] else ""
                return f"{root}{scope}/{resource['name']}/{metadata['name']}"
        _resources.cache_clear()  # a definition may have come since
        raise ApiError(404, f"no resource of {version} has the kind {manifest['kind']}")

    def create_namespace(self, labels: Mapping[str, str] | None = None, name: str | None = None) -> str:
        """Create a namespace and return its name."""
        metadata = {"labels": dict(labels or {}), **({"name": name} if name else {"generateName": "test-"})}
        created = self.request("POST", "/api/v1/namespaces", {"metadata": metadata})
        namespace: str = created["metadata"]["name"]
        return namespace

    def create_service_account(
        self, namespace: str, name: str, annotations: Mapping[str, str] | None = None
    ) -> JsonObject:
        """Create a ServiceAccount."""
        return self.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts",
            {"metadata": {"name": name, "annotations": dict(annotations or {})}},
        )

    def create_pod(self, namespace: str, pod: JsonObject) -> JsonObject:
        """Create a pod and return it as stored."""
        return self.request("POST", f"/api/v1/namespaces/{namespace}/pods", pod)

    def may(self, *asked: str, kubeconfig: Path | None = None) -> bool:
        """Whether the owner of a kubeconfig may do something; `asked` are arguments of `kubectl auth can-i`."""
        answer, _, _ = self.kubectl("auth", "can-i", *asked, kubeconfig=kubeconfig).stdout.strip().partition(" ")
        assert answer in {"yes", "no"}  # after a blank, why not
        return answer == "yes"

    def wait_until_served(self, *kinds: str) -> None:
        """Wait until custom resources can be read: discovery knows them a moment after they are `Established`."""
        until(lambda: self.kubectl("get", ",".join(kinds), "--all-namespaces").returncode == 0)

    def token(self, namespace: str, service_account: str) -> str:
        """Ask for a token of a ServiceAccount, valid for a day."""
        answer = self.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token",
            {"spec": {"expirationSeconds": 86400}},
        )
        token: str = answer["status"]["token"]
        return token

    def kubeconfig_for(self, namespace: str, service_account: str) -> Path:
        """Write a kubeconfig with the credentials of a ServiceAccount."""
        path = self.directory / f"{namespace}.{service_account}.kubeconfig"
        user = {"token": self.token(namespace, service_account)}
        return write_kubeconfig(path, self.url, self.ca_file, user)


@cache
def _resources(cluster: Cluster, root: str) -> list[JsonObject]:
    """The resources of a version of an API group."""
    found: list[JsonObject] = cluster.request("GET", root)["resources"]
    return found


@dataclass(frozen=True)
class ControlPlane(Cluster):
    """A control plane without a node."""

    etcd_url: str
    apiserver: Restartable

    def create_namespace(self, labels: Mapping[str, str] | None = None, name: str | None = None) -> str:
        """Create a namespace with its `default` ServiceAccount and return its name."""
        namespace = super().create_namespace(labels, name)
        self.create_service_account(namespace, "default")
        return namespace


def write_kubeconfig(path: Path, url: str, ca_file: Path, user: Mapping[str, object]) -> Path:
    """Write a kubeconfig with one cluster and one user, and return its path."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": str(ca_file)}}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    path.write_text(json.dumps(content))
    return path


@contextmanager
def control_plane(
    programs: Programs, directory: Path, admission: JsonObject | None = None, flags: Sequence[str] = ()
) -> Iterator[ControlPlane]:
    """Run a control plane with its files in a directory, and with an AdmissionConfiguration where one is given.

    `flags` are further ones of the API server.
    """
    api_port, client_port, peer_port = free_ports(3)
    write_certificates(directory)
    etcd = _etcd(programs, directory, client_port, peer_port)
    apiserver = [*kube_apiserver(programs, directory, api_port, client_port), *flags]
    if admission is not None:
        (directory / "admission.json").write_text(json.dumps(admission))
        apiserver.append(f"--admission-control-config-file={directory / 'admission.json'}")
    url, etcd_url = f"https://127.0.0.1:{api_port}", f"http://127.0.0.1:{client_port}"
    with (
        running(etcd, directory / "etcd.log"),
        admin_client(directory) as http,
        Restartable(apiserver, directory / "kube-apiserver.log", lambda: is_ready(http, url)) as process,
    ):
        kubeconfig = write_admin_kubeconfig(directory, url)
        yield ControlPlane(url, directory, directory / "ca.crt", kubeconfig, programs, http, etcd_url, process)


@contextmanager
def second_apiserver(plane: ControlPlane) -> Iterator[str]:
    """Run another API server on the same etcd, and yield its URL."""
    (port,) = free_ports(1)
    url = f"https://127.0.0.1:{port}"
    command = kube_apiserver(plane.programs, plane.directory, port, int(plane.etcd_url.rpartition(":")[2]))
    log = plane.directory / "second-kube-apiserver.log"
    with Restartable(command, log, lambda: is_ready(plane.http, url)):
        yield url


def write_certificates(directory: Path) -> None:
    """Write the certificates of API servers on loopback and of their administrator, and the keys that sign tokens."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.crt"))
    issue(directory, "apiserver", authority.issue_cert("127.0.0.1", "localhost"))
    admin = authority.issue_cert("admin", common_name="admin", organization_name="system:masters")
    issue(directory, "admin", admin)
    issue(directory, "accounts", authority.issue_cert("accounts", key_type=trustme.KeyType.RSA))
    issue(directory, "retired", authority.issue_cert("accounts", key_type=trustme.KeyType.ECDSA))


def write_admin_kubeconfig(directory: Path, url: str) -> Path:
    """Write the kubeconfig of the administrator whose certificate is in the directory."""
    user = {"client-certificate": str(directory / "admin.crt"), "client-key": str(directory / "admin.key")}
    return write_kubeconfig(directory / "admin.kubeconfig", url, directory / "ca.crt", user)


def issue(directory: Path, name: str, certificate: trustme.LeafCert) -> None:
    """Write a certificate and its key as `name`.crt and `name`.key."""
    certificate.private_key_pem.write_to_path(str(directory / f"{name}.key"))
    certificate.cert_chain_pems[0].write_to_path(str(directory / f"{name}.crt"))


def _etcd(programs: Programs, directory: Path, client_port: int, peer_port: int) -> list[str]:
    return [
        str(programs.etcd),
        f"--data-dir={directory / 'etcd'}",
        f"--listen-client-urls=http://127.0.0.1:{client_port}",
        f"--advertise-client-urls=http://127.0.0.1:{client_port}",
        f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
        "--unsafe-no-fsync",  # the data may die with the machine
        "--log-level=error",
    ]


def kube_apiserver(programs: Programs, directory: Path, port: int, etcd_port: int) -> list[str]:
    """The command of an API server on loopback, with the files of `write_certificates`."""
    return [
        str(programs.kube_apiserver),
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={directory / 'apiserver.crt'}",
        f"--tls-private-key-file={directory / 'apiserver.key'}",
        f"--client-ca-file={directory / 'ca.crt'}",
        "--authorization-mode=RBAC",
        "--allow-privileged=true",
        "--service-account-issuer=https://issuer.azwi.test/",
        f"--service-account-key-file={directory / 'accounts.crt'}",
        f"--service-account-key-file={directory / 'retired.crt'}",  # checks tokens, signs none
        f"--service-account-signing-key-file={directory / 'accounts.key'}",
        "--service-cluster-ip-range=127.64.0.0/16",  # Services on loopback, so that a process can be one
        "--endpoint-reconciler-type=none",
    ]


@contextmanager
def admin_client(directory: Path) -> Iterator[urllib3.PoolManager]:
    """Connect as the administrator whose certificate is in the directory."""
    with urllib3.PoolManager(
        maxsize=256,
        block=True,
        retries=False,
        timeout=urllib3.Timeout(MAX_WAIT_SECONDS),
        ca_certs=str(directory / "ca.crt"),
        cert_file=str(directory / "admin.crt"),
        key_file=str(directory / "admin.key"),
    ) as http:
        yield http


def is_ready(http: urllib3.PoolManager, url: str, seconds: float = 30.0) -> bool:
    """Whether the API server is ready, and answers within so many seconds."""
    try:
        return http.request("GET", f"{url}/readyz", timeout=seconds).status == 200
    except urllib3.exceptions.HTTPError:
        return False
