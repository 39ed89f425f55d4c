"""What commands print."""

import io
import sys
import time

import pytest
import yaml

from azwi_cli.console import output, terminal
from azwi_cli.console.output import OutputFormat
from testbed.processes import MAX_WAIT_SECONDS, until


def test_table() -> None:
    """Columns are as wide as their widest cell, and nothing trails."""
    assert output.table(["name", "age"], [["a-long-name", 1], ["b", 22]]) == (
        "NAME          AGE\na-long-name   1\nb             22"
    )


ROW = ["Deployment shop/web", "the webhook refuses its pods because of an annotation that cannot be used"]


@pytest.mark.parametrize("columns", [80, 40])
def test_narrow_table(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """A table that is too wide for the terminal is wrapped at words, at 40 columns as blocks of lines."""
    monkeypatch.setattr(terminal, "width", lambda _: columns)
    text = output.table(["workload", "why"], [ROW, ROW])
    assert max(map(len, text.splitlines())) <= columns
    assert all(word in text for cell in ROW for word in cell.split())
    assert ("WORKLOAD: " in text) is (columns == 40)


def test_nothing_steers_the_terminal() -> None:
    """Control characters in names from the cluster are not printed."""
    assert "\x1b" not in output.table(["name"], [["\x1b[2Jx"]])


@pytest.mark.parametrize(
    ("form", "expected"),
    [(OutputFormat.TABLE, "text\n"), (OutputFormat.JSON, '{\n  "a": 1\n}\n'), (OutputFormat.YAML, "a: 1\n")],
)
def test_forms(capsys: pytest.CaptureFixture[str], form: OutputFormat, expected: str) -> None:
    """A result is text for people, or JSON, or YAML."""
    output.write({"a": 1}, form, lambda: "text")
    assert capsys.readouterr().out == expected


def test_yaml() -> None:
    """YAML keeps the order of maps, shows what is shared twice, and lines as lines."""
    shared = {"x": "1"}
    document = {"b": shared, "a": shared, "text": "one\ntwo\n"}
    text = output.as_yaml(document)
    assert text == "b:\n  x: '1'\na:\n  x: '1'\ntext: |\n  one\n  two\n"
    assert yaml.safe_load(text) == document


class Terminal(io.StringIO):
    """A terminal, for what asks."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colour is for terminals whose user did not forbid it."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert terminal.coloured(Terminal())
    assert not terminal.coloured(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not terminal.coloured(Terminal())


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long is reported on a terminal, what is quick is not."""
    monkeypatch.setattr(output, "PROGRESS_AFTER_SECONDS", MAX_WAIT_SECONDS)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with output.progress("quick"):
        pass
    assert terminal.getvalue() == ""
    monkeypatch.setattr(output, "PROGRESS_AFTER_SECONDS", 0.05)
    with output.progress("slow") as progress:
        until(lambda: "slow" in terminal.getvalue())
        progress.update("slower")
        until(lambda: "slower" in terminal.getvalue())


def test_no_progress_elsewhere(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no terminal nothing is reported, however long it takes."""
    monkeypatch.setattr(output, "PROGRESS_AFTER_SECONDS", 0.0)
    with output.progress("slow"):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""
