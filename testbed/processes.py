"""Child processes that never outlive the test run, free ports and bounded waiting."""

import asyncio
import atexit
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

Result = TypeVar("Result")
STOP_SECONDS: Final = 15.0
# Far longer than anything takes: only a wait for something that never happens lasts so long, on any machine.
MAX_WAIT_SECONDS: Final = 180.0
# Keeps the ports that `free_ports` returned reserved until this process ends.
_HELD: Final[list[socket.socket]] = []


@atexit.register
def _release_ports() -> None:
    for held in _HELD:
        held.close()


class StartError(RuntimeError):
    """A program did not become ready; the message ends with the tail of its log."""


@contextmanager
def running(
    command: list[str], log: Path, *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program with its output in a file, and stop it whatever happens."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_dying_with_us(), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd or log.parent,
            env=env,
        )
    try:
        yield process
    finally:
        stop(process)


def _dying_with_us() -> list[str]:
    # Nothing below runs when the test run itself is killed; then the kernel ends the program.
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end, then make it end."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def is_asleep(process: int) -> bool:
    """Whether a process waits in a system call: a signal just before one is noticed by Python only after it."""
    return _stat(process)[0] == "S"


def page_faults(process: int) -> int:
    """How many pages a process was given so far without reading from a disk."""
    return int(_stat(process)[7])


def _stat(process: int) -> list[str]:
    """The fields of /proc/PID/stat after the program's name: proc_pid_stat(5)."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


def until(happened: Callable[[], Result]) -> Result:
    """Poll until something has happened, and return what says so.

    Raises:
        TimeoutError: It did not within MAX_WAIT_SECONDS.
    """
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    while not (result := happened()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not happen within {MAX_WAIT_SECONDS:.0f} s")
        time.sleep(0.01)
    return result


async def until_in_loop(happened: Callable[[], object]) -> None:
    """Poll as `until` does, and let the event loop go on meanwhile.

    Raises:
        TimeoutError: It did not happen within MAX_WAIT_SECONDS.
    """
    async with asyncio.timeout(MAX_WAIT_SECONDS):
        while not happened():  # noqa: ASYNC110  there is no event to wait for
            await asyncio.sleep(0.001)


def child(process: int) -> int:
    """Return the first child of a process, as the server is of azwi-webhook's."""
    return int(Path(f"/proc/{process}/task/{process}/children").read_text().split()[0])


@contextmanager
def paused(process: int) -> Iterator[None]:
    """Stop a process without ending it: its connections stay, and nothing is answered."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    """Poll until the program is ready; if it exits or takes too long, raise an error with the tail of its log.

    Raises:
        StartError: The program ended, or was not ready in time.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None:
            raise StartError(f"{log.name}: the program ended with {process.returncode}:\n{tail(log)}")
        if time.monotonic() > deadline:
            raise StartError(f"{log.name}: the program was not ready after {seconds:.0f} s:\n{tail(log)}")
        time.sleep(0.01)


def tail(log: Path, lines: int = 40) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def free_ports(count: int) -> list[int]:
    """Return distinct ports of the loopback address that are free.

    They stay bound here without a listener: a server that sets SO_REUSEADDR, as all do, can listen on them, and until
    then connections are refused, but the kernel does not assign them to outgoing connections.
    """
    sockets = [socket.socket() for _ in range(count)]
    for bound in sockets:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
    _HELD.extend(sockets)
    return [bound.getsockname()[1] for bound in sockets]
