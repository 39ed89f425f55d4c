"""What ends a command before its time."""

import click
import pytest
import urllib3

from azwi_cli.console import terminal
from azwi_cli.console.errors import CommandError, cause, one_line
from testbed.processes import free_ports


def test_cause_of_a_refused_connection() -> None:
    """Out of the layers of a library comes what the kernel said."""
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(urllib3.exceptions.MaxRetryError) as refused:
        urllib3.request("GET", url, retries=urllib3.Retry(0))
    assert cause(refused.value) == "[Errno 111] Connection refused"


def test_cause_of_others() -> None:
    """What has no layers is reported as it is."""
    assert cause(ValueError("a\nb")) == "a b"


def test_cause_keeps_its_brackets() -> None:
    """Brackets and quotes that belong to the reason stay, those of the layers around it go."""
    reason = "certificate verify failed: IP address mismatch, certificate is not valid for '10.0.0.1'. (_ssl.c:1006)"
    assert cause(ValueError(f"SSLError(SSLCertVerificationError(1, '[SSL] {reason}'))")) == reason


def test_one_line() -> None:
    """A text of any length is one line of bounded length."""
    assert one_line("x\ny\t" * 1000).startswith("x y x")
    assert len(one_line("x " * 1000)) <= 300


def test_message_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A long message is wrapped at words and stays behind the program's name, which is coloured."""
    monkeypatch.setattr(terminal, "width", lambda _: 40)
    monkeypatch.setattr(terminal, "coloured", lambda _: True)
    CommandError("the API server does not let you list pods", "ask the administrator for it").show()
    assert click.unstyle(capsys.readouterr().err).splitlines() == [
        "azwi: the API server does not let you",
        "      list pods",
        "      ask the administrator for it",
    ]


def test_message(capsys: pytest.CaptureFixture[str]) -> None:
    """A message keeps its lines, its hint comes last, and nothing in it steers the terminal."""
    CommandError("one\ntwo \x1b[2J", "do this").show()
    assert capsys.readouterr().err == "azwi: one\n      two \N{REPLACEMENT CHARACTER}[2J\n      do this\n"
