"""`azwi sync` with ServiceAccounts in manifests and an emulated Azure; with a cluster in tests/cluster."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from azure_workload_identity import names
from azwi_cli.azure.options import AZURE_VARIABLES
from azwi_cli.main import program
from testbed.azure_management import Azure
from testbed.azure_management.login import install_az
from testbed.azure_management.state import Failure
from testbed.processes import MAX_WAIT_SECONDS
from testbed.program import ROOT
from tests.support.schemas import follows_schema
from tests.test_docs import text

ISSUER = "https://issuer.azwi.test/"
ID = "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"
Sync = Callable[..., Result]


@pytest.fixture
def sync(azure: Azure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sync:
    """Run the command for the manifests in a directory."""
    monkeypatch.setenv("PATH", f"{install_az(azure, tmp_path / 'bin')}:/usr/bin:/bin")
    for name in AZURE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "accounts").mkdir()

    def run(*flags: str, stdin: str = "") -> Result:
        login = [f"-s={azure.subscription}", "--auth-method=cli", f"--arm-endpoint={azure.arm}"]
        issuer = [f"--service-account-issuer-url={ISSUER}"]
        files = [] if "-f" in flags else ["-f", str(tmp_path / "accounts")]
        return CliRunner().invoke(program, ["sync", *files, *login, *issuer, *flags], input=stdin)

    return run


def account(namespace: str, name: str, client_id: str) -> dict[str, Any]:
    """Write a ServiceAccount."""
    metadata = {"name": name, "namespace": namespace, "annotations": {names.CLIENT_ID: client_id}}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def write(tmp_path: Path, *objects: object) -> None:
    """Replace the manifests."""
    (tmp_path / "accounts" / "all.yaml").write_text(yaml.safe_dump_all(objects))


def client_id(azure: Azure, name: str) -> str:
    """Create an identity."""
    return str(azure.add_identity(name)["properties"]["clientId"])


def held(azure: Azure) -> dict[str, list[str]]:
    """Return the subjects that each identity trusts."""
    return {
        key.rsplit("/", 1)[-1]: sorted(one.get("properties", one)["subject"].split(":", 2)[2] for one in credentials)
        for key, credentials in azure.credentials.items()
    }


def test_plan_apply_and_again(azure: Azure, sync: Sync, tmp_path: Path) -> None:
    """The plan is a diff and changes nothing; applied it is in place, and a second run writes nothing."""
    web, cart = client_id(azure, "shop-web"), client_id(azure, "shop-cart")
    write(tmp_path, account("shop", "web", web), account("shop", "api", web), account("shop", "cart", cart.upper()))
    plan = sync("--dry-run")
    assert plan.exit_code == 0, plan.output
    assert (
        f"managed identity shop-web ({web}), 0 of 20 credentials, 2 after\n  + shop/api\n  + shop/web\n" in plan.stdout
    )
    assert plan.stdout.endswith("3 to create, 0 to change, 0 to delete, 0 in place.\n")
    assert azure.writes() == []
    done = sync("-o", "json")
    assert done.exit_code == 0, done.output
    document = follows_schema("sync", done.stdout)
    assert document["applied"]
    assert {change["outcome"] for one in document["identities"] for change in one["changes"]} == {"done"}
    assert held(azure) == {"shop-web": ["shop:api", "shop:web"], "shop-cart": ["shop:cart"]}
    writes = len(azure.writes())
    again = sync()
    assert again.stdout == "0 done, 3 in place.\n"
    assert len(azure.writes()) == writes == 3


def test_pull_requests(azure: Azure, sync: Sync, tmp_path: Path) -> None:
    """The credentials of a closed pull request are pruned, also of an identity that no account names any more."""
    web, preview = client_id(azure, "shop-web"), client_id(azure, "preview")
    write(tmp_path, account("shop", "web", web), account("pr-12", "web", web), account("pr-12", "db", preview))
    assert sync().exit_code == 0
    write(tmp_path, account("shop", "web", web))
    kept = sync()
    assert kept.stdout == "0 done, 1 in place, 1 that no account needs (--prune deletes them).\n"
    pruned = sync("--prune")
    assert pruned.exit_code == 0
    assert "  - pr-12/web\n" in pruned.stdout
    assert held(azure) == {"shop-web": ["shop:web"], "preview": []}


def test_application(azure: Azure, sync: Sync, tmp_path: Path) -> None:
    """A client id of an application is found in the directory; its credential carries the owner's mark, too."""
    application = azure.add_application("shop-app")
    write(tmp_path, account("shop", "web", application["appId"]))
    assert sync("--owner=git").exit_code == 0
    [credential] = azure.credentials[application["id"]]
    assert credential["name"].startswith("azwi_git_shop-web-")
    write(tmp_path, account("shop", "web", application["appId"]), account("shop", "x", application["appId"]))
    assert sync("--owner=git").stdout.endswith("1 done, 1 in place.\n")


def test_problems(azure: Azure, sync: Sync, tmp_path: Path) -> None:
    """An identity that is full or not there is reported and left as it is, the others are done, and the status is 1."""
    full, web = client_id(azure, "full"), client_id(azure, "shop-web")
    absent = "00000000-1111-4222-8333-444444444444"
    crowd = [account("shop", f"worker-{number}", full) for number in range(21)]
    write(tmp_path, *crowd, account("shop", "web", web), account("shop", "lost", absent))
    done = sync()
    assert done.exit_code == 1
    assert "! it would have 21 credentials, and Entra allows 20" in done.stdout
    assert (
        "! no managed identity of the subscription has this client id, and no application of the tenant has it"
        in done.stdout
    )
    assert "2 problems, 0 failed; the rest is in place" in done.stderr
    assert held(azure) == {"full": [], "shop-web": ["shop:web"]}


def test_throttled(azure: Azure, sync: Sync, tmp_path: Path) -> None:
    """A 429 is waited out as it says, and the write is made once."""
    web = client_id(azure, "shop-web")
    write(tmp_path, account("shop", "web", web))
    azure.faults.throttle(2, "0.01", method="PUT")
    assert sync().exit_code == 0
    assert len(azure.writes()) == 3
    assert held(azure) == {"shop-web": ["shop:web"]}


def test_refused(azure: Azure, sync: Sync, tmp_path: Path) -> None:
    """A refused write is reported with Azure's reason."""
    write(tmp_path, account("shop", "web", client_id(azure, "shop-web")))
    azure.faults.failures.append(Failure(403, "AuthorizationFailed", method="PUT"))
    done = sync()
    assert done.exit_code == 1
    assert "+ shop/web   failed: made to fail (AuthorizationFailed)" in done.stdout


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("kind: [", "all.yaml"),
        ("just: text\n", "is not a Kubernetes object"),
        ("", "there are no manifests"),
        (yaml.safe_dump(account("shop", "web", "shop-web")), "'shop-web' is not a client id"),
        (
            yaml.safe_dump_all([account("shop", "web", f"{number * 8}-1111-4222-8333-444444444444")
                                for number in ("1", "2")]),
            "is there twice, with two client ids",
        ),
        ("kind: &a [*a]\n", "all.yaml"),
        (yaml.safe_dump({**account("shop", "web", ID), "metadata": {"name": "web", "anotations": {}}}),
         "ServiceAccount default/web has an unknown field: 'metadata.anotations'"),
        (yaml.safe_dump({**account("shop", "web", ID), "spec": {}}), "has an unknown field: 'spec'"),
        (yaml.safe_dump({**account("shop", "web", ID), "metadata": {
            "name": "web", "annotations": {"azure.workload.identity/client_id": ID}}}),
         "'azure.workload.identity/client_id' has no effect: the annotation is azure.workload.identity/client-id"),
        (yaml.safe_dump({**account("shop", "web", ID), "metadata": {"name": "web", "labels": {names.CLIENT_ID: ID}}}),
         "has no effect: the annotation is"),
    ],
)  # fmt: skip
def test_bad_input(azure: Azure, sync: Sync, tmp_path: Path, content: str, expected: str) -> None:
    """What cannot be read as it is meant ends the command before Azure is asked: unreadable is not absent."""
    (tmp_path / "accounts" / "all.yaml").write_text(content)
    done = sync("--prune", "--allow-empty")
    assert (done.exit_code, azure.requests) == (1, [])
    assert expected in done.stderr


def test_nothing_left(azure: Azure, sync: Sync, tmp_path: Path) -> None:
    """Without any account nothing is pruned, unless a flag allows it; other objects do not count."""
    web = client_id(azure, "shop-web")
    write(tmp_path, account("shop", "web", web))
    assert sync().exit_code == 0
    write(tmp_path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}})
    done = sync("--prune")
    assert (done.exit_code, "add --allow-empty" in done.stderr) == (1, True)
    assert sync("--prune", "--allow-empty").exit_code == 0
    assert held(azure) == {"shop-web": []}


def test_stdin(azure: Azure, sync: Sync) -> None:
    """Manifests come from a pipe, in lists, too."""
    web = client_id(azure, "shop-web")
    listed = {"apiVersion": "v1", "kind": "List", "items": [account("shop", "web", web)]}
    assert sync("-f", "-", stdin=yaml.safe_dump(listed)).exit_code == 0
    assert held(azure) == {"shop-web": ["shop:web"]}


@pytest.mark.parametrize("flags", [("--owner=a_b",), ("--owner=",), ("--watch", "-f", "-"), ("--parallel=0",)])
def test_usage(sync: Sync, flags: tuple[str, ...]) -> None:
    """Wrong usage is refused before anything is read."""
    assert sync(*flags).exit_code == 2


def test_watch(azure: Azure, sync: Sync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --watch a changed directory is synchronised, an unchanged one costs nothing, and an error ends nothing."""
    web = client_id(azure, "shop-web")
    write(tmp_path, account("shop", "web", web))
    seen: list[int] = []

    def step(*_: object) -> None:
        seen.append(len(azure.requests))
        if len(seen) == 2:
            (tmp_path / "accounts" / "all.yaml").write_text("kind: [")
        elif len(seen) == 3:
            write(tmp_path, account("shop", "web", web), account("shop", "api", web))
        elif len(seen) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr("azwi_cli.commands.sync.command._pause", step)
    done = sync("--watch")
    assert done.exit_code == 130
    assert seen[0] == seen[1] == seen[2] < seen[3]
    assert "all.yaml" in done.stderr
    assert held(azure) == {"shop-web": ["shop:api", "shop:web"]}


def test_page(azure: Azure, sync: Sync, tmp_path: Path) -> None:
    """The manual shows what is printed."""
    azure.add_identity("shop-web")["properties"]["clientId"] = web = "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"
    write(tmp_path, account("shop", "web", web), account("pr-11", "web", web))
    assert sync().exit_code == 0
    write(tmp_path, account("shop", "web", web), account("pr-12", "web", web))
    assert sync("--prune", "--dry-run").stdout + "```" in text("use/azwi-sync.md")


def test_without_a_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a tenant and a subscription nothing can be looked at, which is not the same as nothing being there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (*AZURE_VARIABLES, "AZURE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "web.yaml").write_text(yaml.safe_dump(account("shop", "web", "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5")))
    flags = ["sync", "-f", str(tmp_path / "web.yaml"), f"--service-account-issuer-url={ISSUER}", "--dry-run"]
    done = CliRunner().invoke(program, flags)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "the tenant is not known" in done.stderr


def test_denied(azure: Azure, sync: Sync, tmp_path: Path) -> None:
    """Applications that may not be read are not reported as absent."""
    write(tmp_path, account("shop", "web", "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"))
    azure.faults.failures.append(Failure(403, "Authorization_RequestDenied", times=9, fragment="/applications"))
    done = sync()
    assert (done.exit_code, "applications could not be looked at" in done.stdout) == (1, True)


class Cluster:
    """Lists ServiceAccounts."""

    def __init__(self, *accounts: dict[str, Any]) -> None:
        self.accounts = accounts

    def list(self, _: str) -> list[dict[str, Any]]:
        """List them as the API does, with their kind."""
        return list(self.accounts)


def test_bad_account_of_the_cluster(azure: Azure, sync: Sync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account of a cluster that cannot be used stops nobody else's, and its own credential stays."""
    web = client_id(azure, "shop-web")
    write(tmp_path, account("shop", "web", web), account("shop", "old", web), account("team", "app", web))
    assert sync().exit_code == 0
    broken = account("team", "app", "not-an-id\x1b[2J")
    listed = Cluster(account("shop", "web", web), account("shop", "new", web), broken)
    monkeypatch.setattr("azwi_cli.cluster.kube.Cluster.connect", lambda _: listed)
    flags = [f"-s={azure.subscription}", "--auth-method=cli", f"--arm-endpoint={azure.arm}", "--prune"]
    done = CliRunner().invoke(program, ["sync", *flags, f"--service-account-issuer-url={ISSUER}"])
    assert done.exit_code == 1
    assert "ServiceAccount team/app: 'not-an-id\\x1b[2J' is not a client id" in done.stderr
    assert "1 problem, 0 failed; the rest is in place" in done.stderr
    assert held(azure) == {"shop-web": ["shop:new", "shop:web", "team:app"]}


@pytest.mark.parametrize("ahead", [-2 * 86400.0, 2 * 86400.0])
def test_clock(azure: Azure, sync: Sync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    """A clock of this machine that is days ahead or behind changes nothing of what is done."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + ahead)
    azure.faults.clock_ahead = -ahead  # Azure's own is right
    web = client_id(azure, "shop-web")
    write(tmp_path, account("shop", "web", web), account("shop", "api", web))
    azure.faults.throttle(1, "0.01", method="PUT")
    done = sync("--prune")
    assert done.exit_code == 0, done.output
    assert held(azure) == {"shop-web": ["shop:api", "shop:web"]}
    assert len(azure.writes()) == 3
    assert sync("--prune").stdout == "0 done, 2 in place.\n"


def test_ctrl_c(azure: Azure, sync: Sync, tmp_path: Path) -> None:
    """Ctrl-C finishes the write under way, prints what was done and not, and the same command does the rest."""
    web = client_id(azure, "shop-web")
    write(tmp_path, *(account("shop", name, web) for name in ("a", "b", "c")))
    written = threading.Event()
    go_on = threading.Event()

    def hold(*_: str) -> None:
        written.set()
        assert go_on.wait(MAX_WAIT_SECONDS)

    azure.on_credential = hold
    command = [
        *(sys.executable, "-m", "azwi_cli", "sync", "-f", str(tmp_path / "accounts"), f"-s={azure.subscription}"),
        *("--auth-method=cli", f"--arm-endpoint={azure.arm}", f"--service-account-issuer-url={ISSUER}"),
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert written.wait(MAX_WAIT_SECONDS)
        process.send_signal(signal.SIGINT)
        # The write is answered only after the signal: a moment for Python's handler would be a guess.
        go_on.set()
        stdout, stderr = process.communicate(timeout=MAX_WAIT_SECONDS)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    done = held(azure)["shop-web"]
    assert stdout.splitlines()[-1].startswith(f"{len(done)} done")
    assert stdout.count("not-tried: stopped before") == 3 - len(done)
    assert sync().exit_code == 0
    assert held(azure) == {"shop-web": ["shop:a", "shop:b", "shop:c"]}


def test_no_cluster_for_the_issuer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where manifests are given, and no cluster is there to ask for its issuer, the flag in its place is named."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    done = CliRunner().invoke(program, ["sync", "-f", str(tmp_path)])
    assert (done.exit_code, "with --service-account-issuer-url no cluster is needed" in done.stderr) == (1, True)
