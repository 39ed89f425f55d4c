"""The token's file and its renewal."""

import os
import threading
from pathlib import Path

import pytest

from azwi_cli.commands.local.token import Renewal, Token, TokenFile, readable_time
from azwi_cli.console.errors import CommandError
from testbed.processes import until


def test_file(tmp_path: Path) -> None:
    """Only the user reads it; it is replaced as a whole, and removed; then nothing is written any more."""
    file = TokenFile(tmp_path / "made" / "token")
    file.write("one")
    before = file.path.stat()
    file.write("two")
    assert file.path.read_text() == "two"
    assert file.path.stat().st_ino != before.st_ino
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in file.path.parent.iterdir()] == ["token"]
    file.close()
    file.write("three")
    assert list(file.path.parent.iterdir()) == []
    file.close()


def test_half_written(tmp_path: Path) -> None:
    """What a killed process left does not keep the next one from writing; a directory in the way is an error."""
    file = TokenFile(tmp_path / "token")
    for leftover in (tmp_path / name for name in (".token.1", f".token.{os.getpid()}")):
        leftover.write_text("half")
    file.write("whole")
    assert file.path.read_text() == "whole"
    (tmp_path / "taken").mkdir()
    with pytest.raises(CommandError, match="cannot be written: Is a directory"):
        TokenFile(tmp_path / "taken").write("token")


class Issuer:
    """Issues tokens, or the problems that are due."""

    def __init__(self, *problems: str) -> None:
        self.problems = list(problems)
        self.issued = 0

    def __call__(self) -> Token:
        """Return the next token."""
        if self.issued and self.problems:
            raise CommandError(self.problems.pop(0))
        self.issued += 1
        return Token(f"token {self.issued}", 3600.0, "")


def test_renewal(tmp_path: Path) -> None:
    """A new token replaces the old one until the end."""
    issuer, file = Issuer(), TokenFile(tmp_path / "token")
    renewal = Renewal(issuer, file, 0.001, lambda _: None)
    assert renewal.start().secret == "token 1"
    until(lambda: issuer.issued > 3)
    renewal.close()
    assert not file.path.exists()


def test_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A problem is reported once, not at each attempt, and the next token comes when it has passed."""
    monkeypatch.setattr("azwi_cli.commands.local.token.FIRST_PAUSE", 0.001)
    reported: list[str] = []
    issuer, file = Issuer("no answer", "no answer", "forbidden"), TokenFile(tmp_path / "token")
    renewal = Renewal(issuer, file, 0.001, reported.append)
    renewal.start()
    until(lambda: issuer.issued > 2)
    renewal.close()
    assert reported == ["the token is not renewed: no answer", "the token is not renewed: forbidden"]


def test_renewed_by_its_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without another wish the token is renewed at 80% of its life, by whichever clock gets there first."""
    monkeypatch.setattr("azwi_cli.commands.local.token.TICK_SECONDS", 0.001)
    clock = [0.0]
    monkeypatch.setattr("azwi_cli.commands.local.token.time.time", lambda: clock[0])
    issuer = Issuer()
    renewal = Renewal(issuer, TokenFile(tmp_path / "token"), 0, lambda _: None)
    renewal.start()
    assert issuer.issued == 1
    clock[0] = 2881.0  # the machine slept: the other clock stood still
    until(lambda: issuer.issued == 2)
    renewal.close()


def test_first_failure(tmp_path: Path) -> None:
    """Without a first token nothing starts."""
    issuer = Issuer("forbidden")
    issuer.issued = 1
    threads = threading.active_count()
    with pytest.raises(CommandError, match="forbidden"):
        Renewal(issuer, TokenFile(tmp_path / "token"), 0, lambda _: None).start()
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    ("given", "shown"), [("2026-11-27T16:00:00Z", "2026-11-27 16:00:00 UTC"), ("never", "never"), ("", "")]
)
def test_time(given: str, shown: str) -> None:
    """A time of the API is shown to people; anything else as it is."""
    assert readable_time(given) == shown
