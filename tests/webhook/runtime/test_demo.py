"""What `make run` starts."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from azure_workload_identity.types import JsonObject
from testbed.processes import MAX_WAIT_SECONDS, free_ports
from testbed.program import ROOT
from webhook.runtime.demo import describe


@contextmanager
def demo(*flags: str) -> Iterator["subprocess.Popen[str]"]:
    """Run the demo with its output in a pipe."""
    command = [sys.executable, "-m", "webhook.runtime.demo", *flags]
    env = {key: value for key, value in os.environ.items() if key != "AZURE_TENANT_ID"}
    with subprocess.Popen(
        command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def flags() -> list[str]:
    """Choose free ports."""
    webhook, health, metrics = free_ports(3)
    return [f"--webhook-port={webhook}", f"--health-addr=127.0.0.1:{health}", f"--metrics-addr=127.0.0.1:{metrics}"]


def read_until(process: "subprocess.Popen[str]", last: str) -> str:
    """Read what it prints up to a line."""
    text = ""
    assert process.stdout is not None
    for line in process.stdout:
        text += line
        if line.strip() == last:
            break
    return text


@pytest.fixture(scope="module")
def shown() -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run a demo, and read what it prints up to its last line."""
    with demo(*flags()) as process:
        yield process, read_until(process, "Ctrl-C ends it.")


def test_mutated_example(shown: tuple["subprocess.Popen[str]", str]) -> None:
    """It prints the example pod with the added lines marked, keeps serving, and ends with 0 on Ctrl-C."""
    process, text = shown
    assert "+     - name: AZURE_CLIENT_ID" in text
    assert "      - name: KEYVAULT_URL" in text
    assert "What to try next:" in text
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(MAX_WAIT_SECONDS) == 0


def test_readme_shows_what_it_prints(shown: tuple["subprocess.Popen[str]", str]) -> None:
    """Every line that the README marks as added is one that the demo prints."""
    readme = (ROOT / "README.md").read_text()
    marked = [line for line in readme.splitlines() if line.startswith("+ ")]
    assert len(marked) > 20
    assert [line for line in shown[1].splitlines() if line.startswith("+ ")] == marked


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            {"allowed": False, "status": {"message": "no (malformed-pod)"}},
            "\nexamples/quickstart.yaml was refused: no (malformed-pod)\n",
        ),
        (
            {"allowed": True, "auditAnnotations": {"reason": "opted-out"}, "warnings": ["look"]},
            "\nexamples/quickstart.yaml was left as it is (opted-out)\nWarning: look\n",
        ),
    ],
)
def test_other_answers(answer: JsonObject, said: str) -> None:
    """An edited example that is refused or left alone is reported as such."""
    assert describe({}, answer) == said


def test_port_in_use() -> None:
    """A port that is taken is named with how to choose another."""
    with socket.create_server(("127.0.0.1", 0)) as taken, demo(f"--webhook-port={taken.getsockname()[1]}") as process:
        _, said = process.communicate(timeout=MAX_WAIT_SECONDS)
        assert process.returncode == 2
    assert "is in use" in said
    assert "choose another port with --" in said


def test_wrong_flag() -> None:
    """An unknown flag is refused with where to look."""
    with demo("--no-such-flag") as process:
        _, said = process.communicate(timeout=MAX_WAIT_SECONDS)
        assert process.returncode == 2
    assert said == "unrecognized arguments: --no-such-flag; see azwi-webhook --help\n"
