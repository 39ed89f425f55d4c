"""Accounts from manifests."""

import asyncio
import logging
from pathlib import Path

import pytest

from webhook.accounts import files
from webhook.accounts.files import FileAccounts
from webhook.admission.identity import Account

CLIENT = "7d5b2f6e-3c1a-4b8e-9a55-0c6f1e2d3a4b"
ACCOUNT = f"""
apiVersion: v1
kind: ServiceAccount
metadata:
  name: NAME
  namespace: shop
  annotations:
    azure.workload.identity/client-id: {CLIENT}
"""


@pytest.fixture(autouse=True)
def _look_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHECK_SECONDS", 0.0)


def found(accounts: FileAccounts, name: str, namespace: str = "shop") -> Account | None:
    """Look an account up."""
    return asyncio.run(accounts.find(namespace, name))


def test_one_file(tmp_path: Path) -> None:
    """Accounts come from a file of several documents; other kinds in it are ignored."""
    file = tmp_path / "all.yaml"
    file.write_text(f"{ACCOUNT.replace('NAME', 'a')}---\nkind: Pod\n---\n{ACCOUNT.replace('NAME', 'b')}---\n")
    accounts = FileAccounts(file)
    assert found(accounts, "a") == found(accounts, "b") == Account(client_id=CLIENT)
    assert found(accounts, "c") is None
    assert found(accounts, "a", "other") is None


def test_directory(tmp_path: Path) -> None:
    """Accounts come from every manifest of a directory."""
    (tmp_path / "a.yaml").write_text(ACCOUNT.replace("NAME", "a"))
    (tmp_path / "b.yml").write_text(ACCOUNT.replace("NAME", "b"))
    (tmp_path / "notes.txt").write_text("{")
    accounts = FileAccounts(tmp_path)
    assert found(accounts, "a")
    assert found(accounts, "b")


def test_list(tmp_path: Path) -> None:
    """Accounts come from a List as kubectl writes it."""
    file = tmp_path / "list.json"
    file.write_text('{"kind": "List", "items": [{"kind": "ServiceAccount", "metadata": {"name": "a"}}]}')
    assert found(FileAccounts(file), "a", "default") == Account()


def test_change(tmp_path: Path) -> None:
    """A new file in the directory counts for the next look."""
    accounts = FileAccounts(tmp_path)
    assert found(accounts, "a") is None
    (tmp_path / "a.yaml").write_text(ACCOUNT.replace("NAME", "a"))
    assert found(accounts, "a")


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b"a: b: c"])
def test_broken_later(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """While a file is not YAML the accounts read before stay in use, and the log names the file."""
    file = tmp_path / "a.yaml"
    file.write_text(ACCOUNT.replace("NAME", "a"))
    accounts = FileAccounts(tmp_path)
    file.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert found(accounts, "a")
        assert found(accounts, "a")
    assert caplog.text.count("a.yaml") == 1


def test_gone_later(tmp_path: Path) -> None:
    """When the path goes away the accounts known before stay."""
    file = tmp_path / "a.yaml"
    file.write_text(ACCOUNT.replace("NAME", "a"))
    accounts = FileAccounts(file)
    file.unlink()
    assert found(accounts, "a")


def test_broken_at_first(tmp_path: Path) -> None:
    """A file that is no YAML at the start is refused with its name."""
    (tmp_path / "a.yaml").write_text("{")
    with pytest.raises(ValueError, match=r"a\.yaml:2: did not find expected node content"):
        FileAccounts(tmp_path)


def test_odd_documents(tmp_path: Path) -> None:
    """Documents that are not manifests are ignored."""
    file = tmp_path / "odd.yaml"
    account = "---\nkind: ServiceAccount\n"
    file.write_text(
        f"- 1\n---\ntext\n{account}{account}metadata: {{}}\n{account}metadata: {{name: [a]}}\n"
        f"{account}metadata: {{name: a, namespace: {{}}}}\n"
    )
    assert found(FileAccounts(file), "a") is None


def test_looks_are_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a moment the files are not looked at again, however many pods come."""
    monkeypatch.setattr(files, "CHECK_SECONDS", 3600.0)
    accounts = FileAccounts(tmp_path)
    (tmp_path / "a.yaml").write_text(ACCOUNT.replace("NAME", "a"))
    assert found(accounts, "a") is None
