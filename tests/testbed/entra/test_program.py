"""`make entra`, used for trying an exchange."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed.entra import Issuer
from testbed.entra.errors import KINDS
from testbed.processes import MAX_WAIT_SECONDS, running, wait_until
from testbed.program import ROOT

PROGRAM = (sys.executable, "-m", "testbed.entra")
SUBJECT = "system:serviceaccount:default:quickstart"


@contextmanager
def started(log: Path, *arguments: str) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Start it, and wait until it has printed its introduction."""
    with running([*PROGRAM, *arguments], log, cwd=ROOT) as process:
        wait_until(lambda: "client_assertion@" in log.read_text(), process, log, MAX_WAIT_SECONDS)
        yield process, log.read_text()


def test_page() -> None:
    """The manual shows what it prints, and the codes of the errors with their status."""
    page = (ROOT / "docs" / "develop" / "testing-with-entra.md").read_text()
    rows = re.findall(r"^\| ([\d, ]+) \| (\d+) \|", page, re.MULTILINE)
    codes = {int(code): int(status) for named, status in rows for code in named.split(", ")}

    assert codes
    assert codes == {code: KINDS[code].status for code in codes}
    assert 'client_assertion@"$AZURE_FEDERATED_TOKEN_FILE"' in page


def follow(introduction: str) -> str:
    """Run the printed commands; returns the output of curl."""
    commands = introduction.partition("In another terminal:\n")[2].replace("curl ", "curl --silent ")
    done = subprocess.run(["sh", "-c", commands], capture_output=True, text=True, check=False, timeout=MAX_WAIT_SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_introduction(tmp_path: Path) -> None:
    """The printed commands end in a token; Ctrl-C stops it, and nothing remains."""
    with started(tmp_path / "log") as (process, introduction):
        answer = json.loads(follow(introduction))
        (env,) = re.findall(r"^  \. (\S+)$", introduction, re.MULTILINE)
        process.send_signal(signal.SIGINT)
        assert process.wait(MAX_WAIT_SECONDS) == 0

    assert "access_token" in answer
    assert not Path(env).parent.exists()
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_own_cluster(tmp_path: Path) -> None:
    """It trusts the keys of the user's cluster, and accepts a token that the user puts into its directory."""
    cluster = Issuer("https://cluster.example/")
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps(cluster.jwks))
    directory = tmp_path / "entra"
    flags = (
        f"--jwks={keys}",
        f"--issuer={cluster.url}",
        f"--directory={directory}",
        "--subject=system:serviceaccount:a:b",
    )
    with started(tmp_path / "log", *flags) as (_, introduction):
        (directory / "assertion").write_text(cluster.token("system:serviceaccount:a:b"))
        good = json.loads(follow(introduction))
        (directory / "assertion").write_text(cluster.token(SUBJECT))
        bad = json.loads(follow(introduction))

    assert "access_token" in good
    assert bad["error_codes"] == [700213]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--issuer=https://cluster.example/",), 2, "--issuer and --jwks belong together"),
        (("--issuer=https://cluster.example/", f"--jwks={ROOT / 'README.md'}"), 1, "is not a JWKS"),
        (("--port=70000",), 1, "port must be 0-65535"),
    ],
)
def test_wrong_use(arguments: tuple[str, ...], status: int, message: str) -> None:
    """Wrong usage is reported in one line."""
    done = subprocess.run(
        [*PROGRAM, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=MAX_WAIT_SECONDS
    )
    assert done.returncode == status
    assert re.search(message, done.stderr)
    assert "Traceback" not in done.stderr
