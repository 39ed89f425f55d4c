"""The program as an administrator sees it: start, failed start, reload, stop."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import trustme

from azure_workload_identity import names
from certs import serving
from testbed.processes import MAX_WAIT_SECONDS, child, free_ports, page_faults, until
from testbed.program import JSON, ROOT, TENANT, Program, failed, review, started, write_pair
from tests.support.apiserver import write_kubeconfig
from webhook.accounts.files import CHECK_SECONDS

POD = {
    "metadata": {"name": "app", "labels": {"azure.workload.identity/use": "true"}},
    "spec": {"serviceAccountName": "quickstart", "containers": [{"name": "app"}]},
}
FILES = "--service-accounts=examples"
NO_PAGES = ("--health-addr=0", "--metrics-addr=0")


def peer_certificate(program: Program, ca: trustme.CA) -> bytes:
    """Return the certificate that a new handshake gets, which `ca` must have signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(context)
    with (
        socket.create_connection(("127.0.0.1", program.port), MAX_WAIT_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        return secure.getpeercert(binary_form=True) or b""


def wait_for_certificate(program: Program, ca: trustme.CA) -> None:
    """Wait until new handshakes get a certificate of `ca`."""

    def is_served() -> bool:
        try:
            return bool(peer_certificate(program, ca))
        except ssl.SSLCertVerificationError:
            return False

    until(is_served)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop(tmp_path: Path, number: int) -> None:
    """SIGTERM and SIGINT end it with status 0, and its log says so."""
    with started(tmp_path) as program:
        program.admit(POD)
        assert program.stop(number) == 0
        assert [line["message"] for line in program.lines()][-2:] == ["draining", "stopped"]


def test_reads(tmp_path: Path) -> None:
    """Reading a request over TLS asks the kernel for no memory: page faults are fewer than requests."""
    body, requests = json.dumps(review(POD)).encode(), 400
    with started(tmp_path) as program, closing(program.connect()) as connection:
        server = child(program.process.pid)

        def faults() -> int:
            before = page_faults(server)
            for _ in range(requests):
                connection.request("POST", names.MUTATE_PATH, body, dict(JSON))
                assert json.loads(connection.getresponse().read())["response"]["allowed"]
            return page_faults(server) - before

        # The first requests fill caches; on a slow machine background tasks meet faults of their own meanwhile.
        assert min(faults() for _ in range(4)) < requests / 2


def test_admission_line(program: Program) -> None:
    """Each admission is one line of JSON that names pod, account, decision, reason, patch size and time."""
    program.admit(POD)
    line = next(line for line in reversed(program.lines()) if line["message"] == "admission")
    assert line["timestamp"].endswith("+00:00")
    assert line.pop("milliseconds") > 0
    assert line.pop("patchBytes") > 500
    assert {key: value for key, value in line.items() if key not in {"timestamp", "uid"}} == {
        "level": "info",
        "logger": "webhook.admission",
        "message": "admission",
        "namespace": "default",
        "pod": "app",
        "serviceAccount": "quickstart",
        "decision": "mutate",
        "reason": "injected",
    }


def test_health(program: Program) -> None:
    """A server that serves is healthy and ready."""
    assert program.get(program.health, "/healthz") == (200, "ok")
    assert program.get(program.health, "/readyz") == (200, "ok")


def test_metrics(program: Program) -> None:
    """Admissions are counted by decision and reason, and timed in v1.6.0's histogram, without unbounded labels."""
    program.admit(POD)
    _, text = program.get(program.metrics, "/metrics")
    assert 'azwi_admissions_total{decision="mutate",reason="injected"}' in text
    assert 'azwi_mutation_request_bucket{le="0.001",service_name="webhook"}' in text
    assert 'azwi_mutation_request_count{service_name="webhook"}' in text
    assert "namespace=" not in text
    assert "azwi_build_info{" in text


def test_keep_alive(program: Program) -> None:
    """One connection serves many reviews."""
    connection = program.connect()
    for _ in range(3):
        connection.request("POST", "/mutate-v1-pod", b"{}", {"Content-Type": "application/json"})
        assert connection.getresponse().read()
    connection.close()


def test_tls_1_2_is_refused_by_default(program: Program) -> None:
    """A client that speaks nothing newer than TLS 1.2 gets no connection."""
    context = program.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", program.port), MAX_WAIT_SECONDS) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_tls_1_2_by_choice(tmp_path: Path) -> None:
    """With --tls-min-version=1.2 such a client gets one."""
    with started(tmp_path, "--tls-min-version=1.2") as program:
        context = program.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with (
            socket.create_connection(("127.0.0.1", program.port), MAX_WAIT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            assert secure.version() == "TLSv1.2"


def test_certificate_reload(tmp_path: Path) -> None:
    """A new pair is served to the next handshake, and a connection that is open goes on."""
    with started(tmp_path) as program:
        connection = program.connect()
        connection.connect()
        other = trustme.CA()
        write_pair(tmp_path / "certs", other)
        wait_for_certificate(program, other)
        connection.request("POST", "/mutate-v1-pod", b"{}", {"Content-Type": "application/json"})
        assert connection.getresponse().read()
        connection.close()


def test_certificate_reload_through_links(tmp_path: Path) -> None:
    """The kubelet's way of changing a mounted Secret, a swapped `..data` link, is seen."""
    certs = tmp_path / "certs"
    with started(tmp_path) as program:
        other = trustme.CA()
        write_pair(certs / "..2", other)
        (certs / "..data").symlink_to("..2")
        for name in ("tls.crt", "tls.key"):
            (certs / f"{name}.new").symlink_to(f"..data/{name}")
            (certs / f"{name}.new").replace(certs / name)
        wait_for_certificate(program, other)
        third = trustme.CA()
        write_pair(certs / "..3", third)
        (certs / "..data.new").symlink_to("..3")
        (certs / "..data.new").replace(certs / "..data")
        wait_for_certificate(program, third)


def test_mismatched_certificate(tmp_path: Path) -> None:
    """A certificate without its key is reported once and not used: the previous pair stays."""
    with started(tmp_path) as program:
        before = peer_certificate(program, program.ca)
        write_pair(tmp_path / "other", trustme.CA())
        shutil.copy(tmp_path / "other" / "tls.crt", tmp_path / "certs" / "tls.crt")
        until(lambda: "belongs together" in program.log.read_text())
        time.sleep(4 * serving.CHECK_SECONDS)
        assert peer_certificate(program, program.ca) == before
        assert program.log.read_text().count("belongs together") == 1


def test_account_change(tmp_path: Path) -> None:
    """A change to the ServiceAccount files counts within a moment."""
    accounts = tmp_path / "accounts.yaml"
    text = (ROOT / "examples" / "quickstart.yaml").read_text()
    accounts.write_text(text)
    with started(tmp_path, accounts=accounts) as program:
        before = program.admit(POD)["patch"]
        accounts.write_text(text.replace("7d5b2f6e", "00000000"))
        time.sleep(CHECK_SECONDS)
        assert program.admit(POD)["patch"] != before


def test_namespace_path(tmp_path: Path) -> None:
    """A review on the path of the namespace opt-in needs no label on the pod."""
    unlabelled = {**POD, "metadata": {"name": "app"}}
    with started(tmp_path, "--opt-in=namespace-label") as program:
        assert "patch" not in program.admit(unlabelled)
        _, body = program.send(json.dumps(review(unlabelled)).encode(), path="/mutate-v1-pod/namespace")
        assert json.loads(body)["response"]["patch"]


def test_endpoint_with_default_images(tmp_path: Path) -> None:
    """A start with v1.6.0's proxy, the default, warns that it knows no custom token endpoint."""
    flags = (
        "--custom-token-endpoint-annotation-suffix=identity-binding",
        "--custom-token-endpoint-audience=api://AKSIdentityBinding",
    )
    url = "https://token-proxy.test/"
    with started(tmp_path, *flags, AZURE_KUBERNETES_TOKEN_PROXY=url) as program:
        assert "knows no custom token endpoint" in program.lines()[0]["message"]


def test_v160_command_line(tmp_path: Path) -> None:
    """The flags and variables of a v1.6.0 deployment start the server against its cluster."""
    write_pair(tmp_path, trustme.CA())
    port, health, metrics = free_ports(3)
    kubeconfig = write_kubeconfig(tmp_path, f"http://127.0.0.1:{free_ports(1)[0]}")
    command = [
        *(
            sys.executable,
            "-m",
            "webhook.runtime.supervisor",
            f"--webhook-cert-dir={tmp_path}",
            "--disable-cert-rotation",
        ),
        *("--tls-min-version=1.3", "--audience=api://AzureADTokenExchange", "--log-level=info"),
        *(f"--health-addr=127.0.0.1:{health}", f"--metrics-addr=127.0.0.1:{metrics}", "--metrics-backend=prometheus"),
    ]
    environment = {
        "KUBECONFIG": str(kubeconfig),
        "WEBHOOK_PORT": str(port),
        "POD_NAMESPACE": "azure-workload-identity-system",
        "AZURE_TENANT_ID": TENANT,
        "AZURE_ENVIRONMENT": "AzurePublicCloud",
        "PROXY_IMAGE": "example.com/proxy:1",
        "PROXY_INIT_IMAGE": "example.com/proxy-init:1",
    }
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            lines = [json.loads(process.stderr.readline())]
            while "port" not in lines[-1]:
                lines.append(json.loads(process.stderr.readline()))
        finally:
            process.kill()
    assert "version cannot be read" in lines[0]["message"]
    assert (lines[-1]["message"], lines[-1]["port"]) == ("serving", port)


def test_version() -> None:
    """--version prints one line of JSON with five members that are not empty."""
    status, text = failed("--version", AZWI_GIT_COMMIT="98fc1e7e84fc6ac83475d9a82d024592f9d7165b")
    assert text.count("\n") == 1
    members = json.loads(text)
    assert (status, len(members), all(members.values())) == (0, 5, True)
    assert members["buildVersion"] == "0.1.0"


def test_help() -> None:
    """--help names every flag and variable and exits with 0."""
    status, text = failed("--help")
    assert status == 0
    assert "--custom-token-endpoint-annotation-suffix" in text
    assert "AZURE_TENANT_ID" in text


def test_port_in_use(program: Program) -> None:
    """A port that is taken is named, with what to do, and the status is 2."""
    status, text = failed(FILES, *NO_PAGES, "--webhook-host=127.0.0.1", f"--webhook-port={program.port}")
    assert status == 2
    assert text == (
        f"azwi-webhook: 127.0.0.1:{program.port} is in use: stop what listens there, "
        "or choose another port with --webhook-port\n"
    )


def test_missing_certificate(tmp_path: Path) -> None:
    """A directory without a certificate is named, with what to do, and the status is 2."""
    status, text = failed(FILES, *NO_PAGES, "--disable-cert-rotation", f"--webhook-cert-dir={tmp_path}")
    assert status == 2
    assert text == (
        f"azwi-webhook: cannot read {tmp_path}/tls.crt: No such file or directory; mount a Secret of type "
        f"kubernetes.io/tls at {tmp_path} or set --webhook-cert-dir\n"
    )


def test_missing_accounts() -> None:
    """A path without ServiceAccounts is named, and the status is 2."""
    status, text = failed("--service-accounts=/nowhere")
    assert status == 2
    assert text == "azwi-webhook: --service-accounts /nowhere: No such file or directory\n"


def test_missing_kubeconfig(tmp_path: Path) -> None:
    """A kubeconfig that is not there is named, with what to do, and the status is 2."""
    write_pair(tmp_path, trustme.CA())
    status, text = failed(
        "--disable-cert-rotation", f"--webhook-cert-dir={tmp_path}", "--kubeconfig=/nowhere", KUBERNETES_SERVICE_HOST=""
    )
    assert status == 2
    assert text.startswith("azwi-webhook: no usable cluster configuration in /nowhere: ")
    assert "--service-accounts" in text


def test_broken_mapping(tmp_path: Path) -> None:
    """A mapping with a bad entry is refused with the place of the fault, and the status is 2."""
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("mappings:\n- namespace: shop\n  clientId: not-a-uuid\n")
    status, text = failed(FILES, f"--identity-mapping={mapping}")
    assert status == 2
    assert text == f"azwi-webhook: {mapping}: mappings.0.clientId: must be a UUID\n"
