"""A command as a child process that gets this process's signals, and whose exit status becomes this one's."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from types import FrameType
from typing import Any, Final, Self

from azure_workload_identity.wakeup import Wakeup
from azwi_cli.console.errors import CommandError, Status

# As a shell does it.
KILLED: Final = 128
Handler = Callable[[int, FrameType | None], Any] | int | None
_FORWARDED: Final = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)
# What a terminal sends to every process of its foreground group, and so to the command, too.
_OF_TERMINALS: Final = frozenset({signal.SIGINT, getattr(signal, "SIGQUIT", signal.SIGINT)})


_HINT: Final = "give the command after --, as in a shell"


class NotFoundError(CommandError):
    """There is no such program."""

    exit_code = Status.NOT_FOUND


class NotExecutableError(CommandError):
    """The program cannot be run."""

    exit_code = Status.NOT_EXECUTABLE


class Stopped(BaseException):
    """A signal came while no command ran; nothing but the end of the program handles it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Signals:
    """Handles the signals of this process: they end it before the command starts, then they are passed on to it.

    Once the command has ended, nothing interrupts the removal of what azwi made.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._holding = False
        self._ending = False
        self._early: list[int] = []
        self._interrupts = 0
        self._previous: dict[int, Handler] = {}

    def __enter__(self) -> Self:
        for number in _FORWARDED:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
                self._previous[number] = signal.signal(number, self._received)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if isinstance(error, Stopped):
            CommandError(f"stopped by {signal.Signals(error.number).name}").show()
            sys.exit(KILLED + error.number)

    def close(self) -> None:
        """Ignore further signals: what was made is being removed."""
        self._ending = True

    def run(self, command: Sequence[str], environ: Mapping[str, str]) -> int:
        """Run a command to its end; its exit status, 128 and the signal's number where a signal killed it.

        Raises:
            NotFoundError: when there is no such program.
            NotExecutableError: when it cannot be run.
        """
        with self.held():
            try:
                child = subprocess.Popen(list(command), env=dict(environ))  # noqa: S603  the user's own command
            except FileNotFoundError as error:
                raise NotFoundError(f"there is no program {command[0]!a}", _HINT) from error
            except OSError as error:
                raise NotExecutableError(f"{command[0]!a} cannot be run: {error.strerror}", _HINT) from error
            self._child = child
        status = _status(child)
        self._child = None
        return KILLED - status if status < 0 else status

    @contextmanager
    def held(self) -> Iterator[None]:
        """Handle signals only after the block, in which a process starts that must not be forgotten."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        early, self._early = self._early, []
        for number in early:
            self._received(number, None)

    def _received(self, number: int, _: FrameType | None) -> None:
        if self._holding:
            self._early.append(number)
        elif self._child is not None:
            if not self._sent_by_terminal(number):
                self._child.send_signal(number)
        elif not self._ending:
            raise Stopped(number)

    def _sent_by_terminal(self, number: int) -> bool:
        """Whether the command has the signal already; from the second on it is passed on in any case."""
        if number not in _OF_TERMINALS or not _in_foreground():
            return False
        self._interrupts += 1
        return self._interrupts == 1


def _status(child: "subprocess.Popen[bytes]") -> int:
    """Wait for a child's end; signals that come meanwhile are handled at once."""
    if not hasattr(signal, "SIGCHLD"):  # Windows
        return child.wait()
    before = signal.signal(signal.SIGCHLD, lambda *_: None)  # one with a handler ends the wait
    try:
        with closing(Wakeup()) as wakeup:
            while (status := child.poll()) is None:
                wakeup.wait()
    finally:
        signal.signal(signal.SIGCHLD, before)
    return status


def _in_foreground() -> bool:
    """Whether this process is in the foreground group of its terminal."""
    try:
        with open("/dev/tty", "rb", buffering=0) as terminal:  # noqa: PTH123  no path of the user's
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
