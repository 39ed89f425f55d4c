"""`azwi run` and `azwi env` on a real API server and webhook, with Entra and an unmodified SDK."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from azure_workload_identity import names
from azwi_cli.console.errors import Status
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import CLIENT_ID
from testbed.cluster.server import TENANT_ID
from testbed.entra import Entra, FederatedCredential, entra
from testbed.processes import MAX_WAIT_SECONDS, until
from testbed.program import ROOT, listens
from tests.support.schemas import follows_schema
from tests.test_docs import text

# Of the user of this machine; an SDK would prefer it.
OTHER_LOGIN = {"AZURE_CLIENT_SECRET": "of somebody else"}
ISSUER = "https://issuer.azwi.test/"
VAULT = "https://vault.azure.net"
# Gets a token, waits until the file has a new one, and gets another token, each with credentials as an app makes them.
APP = """
import os, pathlib, time
import azure.identity
from azure.identity import WorkloadIdentityCredential, ManagedIdentityCredential
file = pathlib.Path(os.environ["AZURE_FEDERATED_TOKEN_FILE"])
assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
Credential = getattr(azure.identity, "CREDENTIAL")
first = file.read_text()
Credential().get_token("https://vault.azure.net/.default")
while file.read_text() == first:
    time.sleep(0.01)
Credential().get_token("https://storage.azure.com/.default")
print(file)
"""


@pytest.fixture
def login(tmp_path: Path, control_plane: ControlPlane, namespace: str) -> Iterator[Entra]:
    """Run Entra, whose identity trusts the account `app`."""
    with entra(tmp_path / "entra") as emulator:
        emulator.trust(ISSUER, control_plane.request("GET", "/openid/v1/jwks"))
        subject = f"system:serviceaccount:{namespace}:app"
        emulator.register(TENANT_ID, CLIENT_ID, FederatedCredential(ISSUER, subject))
        yield emulator


class Azwi:
    """Runs azwi as a user does."""

    def __init__(self, namespace: str, environ: dict[str, str]) -> None:
        self.namespace = namespace
        self.environ = environ

    def command(self, verb: str, *words: str) -> list[str]:
        """Write the command line."""
        flags = ["-n", self.namespace, "--service-account", "app"]
        return [sys.executable, "-m", "azwi_cli", verb, *flags, *words]

    def __call__(self, verb: str, *words: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        """Run it to its end."""
        return subprocess.run(
            self.command(verb, *words),
            cwd=ROOT,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=MAX_WAIT_SECONDS,
        )


@pytest.fixture
def azwi(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Azwi:
    """Run azwi as the cluster's administrator, with a runtime directory of its own."""
    (tmp_path / "run").mkdir(mode=0o700)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AZURE_")}
    kubeconfig = {"KUBECONFIG": str(control_plane.kubeconfig), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    return Azwi(namespace, {**environ, **kubeconfig})


def with_entra(login: Entra) -> dict[str, str]:
    """Trust the emulator, in the SDK and in the proxy."""
    return {"REQUESTS_CA_BUNDLE": str(login.ca_file), "SSL_CERT_FILE": str(login.ca_file)}


@pytest.mark.parametrize(
    ("flags", "credential"), [((), "WorkloadIdentityCredential"), (("--proxy",), "ManagedIdentityCredential")]
)
def test_run(azwi: Azwi, login: Entra, tmp_path: Path, flags: tuple[str, ...], credential: str) -> None:
    """An unmodified SDK gets tokens before and after a renewal, without and with the proxy; nothing is left behind."""
    app = [sys.executable, "-c", APP.replace("CREDENTIAL", credential)]
    renewal = ["--renew-every=200ms", f"--authority-host={login.url}"]
    done = azwi("run", *flags, *renewal, "--", *app, **with_entra(login), **OTHER_LOGIN)
    assert done.returncode == Status.DONE, done.stderr
    assert done.stderr == ""
    assert [(one.tenant, one.client_id, one.status) for one in login.exchanges] == [(TENANT_ID, CLIENT_ID, 200)] * 2
    assert login.exchanges[0].assertion != login.exchanges[1].assertion
    assert not Path(done.stdout.strip()).exists()
    assert list((tmp_path / "run").iterdir()) == []


def test_run_says_what_a_pod_gets(azwi: Azwi) -> None:
    """A dry run prints what the webhook would inject, the tenant from its own settings, and runs nothing."""
    done = azwi("run", "--dry-run", "-o", "json", "--", "touch", "never", **OTHER_LOGIN)
    document = follows_schema("run", done.stdout)
    assert document["variables"][names.ENV_CLIENT_ID] == CLIENT_ID
    assert document["variables"][names.ENV_TENANT_ID] == TENANT_ID
    assert document["audience"] == names.DEFAULT_AUDIENCE
    assert document["leftOut"] == ["AZURE_CLIENT_SECRET"]
    assert document["command"] == ["touch", "never"]
    assert not (ROOT / "never").exists()


def test_page(azwi: Azwi) -> None:
    """The manual shows what a dry run prints."""
    done = azwi("run", "--proxy", "--dry-run", "--", "python", "app.py", **OTHER_LOGIN)
    shown = "$ azwi run -n shop --service-account web --proxy --dry-run -- python app.py"
    assert f"{shown}\n{done.stdout.replace(f'{azwi.namespace}/app', 'shop/web')}```" in text("use/azwi-run.md")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_passes_on_signals(azwi: Azwi, tmp_path: Path, number: int) -> None:
    """A signal reaches the command, which ends in its own way; then the token is removed, and the proxy has ended."""
    mark = tmp_path / "mark"
    write = f"echo ${names.ENV_POD_IDENTITY_HOST} > {mark}"
    script = f"trap 'echo got; exit 9' TERM INT; {write}; while :; do sleep 0.05; done"
    process = subprocess.Popen(
        azwi.command("run", "--proxy", "--", "sh", "-c", script),
        cwd=ROOT,
        env=azwi.environ,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(lambda: mark.exists() and mark.read_text().strip())
    process.send_signal(number)
    output, _ = process.communicate(timeout=MAX_WAIT_SECONDS)
    assert (process.returncode, output) == (9, "got\n")
    assert list((tmp_path / "run").iterdir()) == []
    assert not listens(urlsplit(mark.read_text().strip()).port or 0)


def test_run_without_permission(azwi: Azwi, control_plane: ControlPlane, tmp_path: Path) -> None:
    """A user who may read but not create tokens gets an error with the commands that allow it; nothing is run."""
    control_plane.create_service_account(azwi.namespace, "reader")
    control_plane.kubectl(
        *("create", "role", "reader", "-n", azwi.namespace, "--verb=get", "--resource=serviceaccounts")
    )
    control_plane.kubectl(
        *("create", "rolebinding", "reader", "-n", azwi.namespace, "--role=reader"),
        f"--serviceaccount={azwi.namespace}:reader",
    )
    azwi.environ["KUBECONFIG"] = str(control_plane.kubeconfig_for(azwi.namespace, "reader"))
    flags = (f"--tenant-id={TENANT_ID}", "-n", azwi.namespace)
    for words in (("run", *flags, "--", "touch", "never"), ("env", "--dry-run", *flags)):
        done = azwi(*words)
        assert done.returncode == Status.FAILED
        assert f"you may not create tokens of ServiceAccount {azwi.namespace}/app" in done.stderr
        assert "--resource=serviceaccounts/token --resource-name=app" in done.stderr
    done = azwi("run", "-n", azwi.namespace, "--", "touch", "never")
    assert "--tenant-id is required" in done.stderr
    assert "cannot create resource" in done.stderr
    assert list((tmp_path / "run").iterdir()) == []


def test_run_without_an_identity(azwi: Azwi, control_plane: ControlPlane) -> None:
    """An account without a client id, or that is not there, is refused with what to do."""
    control_plane.create_service_account(azwi.namespace, "bare")
    done = azwi("run", "--service-account=bare", "--", "true")
    assert (done.returncode, "has no client id" in done.stderr) == (Status.FAILED, True)
    done = azwi("run", "--service-account=absent", "--", "true")
    assert (done.returncode, "there is no ServiceAccount absent" in done.stderr) == (Status.FAILED, True)


def test_env(azwi: Azwi, login: Entra, tmp_path: Path) -> None:
    """A shell that evaluates the output gets a token of Entra; --remove takes file and variables away."""
    azwi.environ |= with_entra(login)
    line = shlex.join(azwi.command("env", f"--authority-host={login.url}"))
    remove = shlex.join(azwi.command("env", "--remove"))
    exchange = shlex.join([sys.executable, "-m", "azwi_cli", "token", "exchange", "-o", "json"])
    shown = f"{exchange}; file=$AZURE_FEDERATED_TOKEN_FILE"
    script = f'eval "$({line})"; {shown}; eval "$({remove})"; echo "$file${{AZURE_CLIENT_ID-}}"'
    done = subprocess.run(
        ["bash", "-ec", script], cwd=ROOT, env=azwi.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    document, file = json.JSONDecoder().raw_decode(done.stdout)[0], done.stdout.split()[-1]
    assert document["outcome"] == "accepted"
    assert file.startswith(str(tmp_path / "run"))
    assert list((tmp_path / "run").iterdir()) == []


def test_env_stays(azwi: Azwi, tmp_path: Path) -> None:
    """With --renew the token is renewed until a signal, and then removed; the JSON says when it ends."""
    file = tmp_path / "token"
    flags = ("--renew", "--renew-every=100ms", f"--token-file={file}", "--mounted-at=/azure/token", "--format=json")
    process = subprocess.Popen(
        azwi.command("env", *flags), cwd=ROOT, env=azwi.environ, stdout=subprocess.PIPE, text=True
    )
    until(file.exists)
    first = file.read_text()
    until(lambda: file.read_text() != first)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=MAX_WAIT_SECONDS)
    assert process.returncode == 128 + signal.SIGTERM
    document = follows_schema("env", output)
    assert document["variables"][names.ENV_TOKEN_FILE] == "/azure/token"
    assert document["expiresAt"]
    assert not file.exists()
