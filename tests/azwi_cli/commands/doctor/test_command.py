"""The command line of the doctor, without a cluster."""

import time
from collections.abc import Iterator
from importlib import import_module

import pytest

from azwi_cli.commands.doctor.command import CouldNotLookError
from azwi_cli.console.errors import CommandError, Status
from tests.azwi_cli.test_main import azwi


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--yes"], "--yes is for --restart"),
        (["--dry-run"], "--dry-run is for --restart"),
        (["--restart", "--yes", "--watch"], "--restart cannot go with --watch"),
        (["--restart", "--yes", "--pre"], "--restart cannot go with --pre"),
        (["--restart"], "--restart asks"),
        (["-n", "shop/x"], "cannot be its name in Kubernetes"),
        (["--pod", "Web_1"], "cannot be its name in Kubernetes"),
        (["--request-timeout", "0s"], "must be longer than 0s"),
    ],
)
def test_wrong_usage(flags: list[str], message: str) -> None:
    """Flags that cannot go together, and values that cannot be, are refused before anything is asked."""
    done = azwi("doctor", *flags)
    assert done.exit_code == Status.USAGE
    assert message in done.stderr


def test_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --watch it looks again until Ctrl-C, also where a cluster did not answer; that ends it as any command."""
    looks: list[Status] = []

    def look(*_: object) -> Status:
        looks.append(Status.DONE)
        if len(looks) == 1:
            raise CouldNotLookError(CommandError("no answer"))
        return looks[-1]

    pauses: Iterator[float] = iter([0.0])

    def sleep(_: float) -> None:
        if next(pauses, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(import_module("azwi_cli.commands.doctor.command"), "_look", look)
    monkeypatch.setattr(time, "sleep", sleep)
    done = azwi("doctor", "--watch")
    assert (done.exit_code, len(looks)) == (Status.INTERRUPTED, 2)
    assert done.stderr == "azwi: could not look: no answer\nazwi: interrupted\n"
