"""`azwi-proxy init`: iptables rules that redirect the pod's requests for IMDS to the proxy.

All rules are in a dedicated chain, written in one transaction, so that running it again changes nothing and other rules
are not touched. There are none for IPv6: Azure's IMDS has no IPv6 address, and an IPv4-mapped IPv6 address takes the
IPv4 rules.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from azure_workload_identity import names

IMDS_ADDRESS: Final = "169.254.169.254"
IMDS_PORT: Final = 80
MAX_PORT: Final = 65535
CHAIN: Final = "AZWI_PROXY_OUTPUT"
JUMP: Final = ("-d", f"{IMDS_ADDRESS}/32", "-p", "tcp", "--dport", str(IMDS_PORT), "-j", CHAIN)
# The proxy itself forwards pass-through requests to the real IMDS.
EXEMPTION: Final = ("-m", "owner", "--uid-owner", str(names.PROXY_UID), "-j", "RETURN")

NEEDS: Final = (
    "It needs root with the capabilities NET_ADMIN and NET_RAW, and a kernel with the iptables modules nat, owner and "
    f"REDIRECT; {names.PROXY_MODE}: environment needs neither"
)
LEGACY: Final = "iptables-legacy"

# iptables-legacy takes a lock, which another container of the pod may hold.
LOCK_SECONDS: Final = 10
COMMAND_SECONDS: Final = 20
# The legacy iptables tables of this network namespace.
LEGACY_TABLES: Final = Path("/proc/self/net/ip_tables_names")


class RedirectError(Exception):
    """The rules are missing or cannot be written; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One iptables program: `iptables-nft`, `iptables-legacy`, or `iptables` where the image has no other."""

    program: str

    def run(self, *arguments: str, rules: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the program on the nat table, or its restore variant with `rules` as input."""
        command = [self.program, "-t", "nat"] if rules is None else [f"{self.program}-restore"]
        try:
            return subprocess.run(  # noqa: S603  fixed programs and arguments
                [*command, "-w", str(LOCK_SECONDS), *arguments],
                input=rules,
                capture_output=True,
                text=True,
                check=False,
                timeout=COMMAND_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RedirectError(f"{self.program}: {error}") from error

    def accepts(self, *arguments: str) -> bool:
        """Whether the program succeeds."""
        return self.run(*arguments).returncode == 0

    def must(self, *arguments: str, rules: str | None = None) -> str:
        """Run the program and return what it prints.

        Raises:
            RedirectError: It failed.
        """
        done = self.run(*arguments, rules=rules)
        if done.returncode != 0:
            reason = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
            raise RedirectError(f"{self.program}: {reason}")
        return done.stdout


def installed() -> list[Backend]:
    """The installed backends, the one to write with first.

    Rules in nft and in legacy tables are independent of each other. Where another program has rules in this pod's
    legacy nat table, the redirect goes there too; otherwise nft comes first, as newer kernels have no legacy tables.

    Raises:
        RedirectError: There is no iptables.
    """
    nft, legacy, only = Backend("iptables-nft"), Backend(LEGACY), Backend("iptables")
    backends = [backend for backend in (nft, legacy) if shutil.which(backend.program)]
    if not backends and shutil.which(only.program):
        backends = [only]
    if not backends:
        raise RedirectError("no iptables on PATH: run it in the proxy's own image")
    if legacy in backends and _legacy_nat_exists() and "\n-A " in legacy.run("-S").stdout:
        backends.reverse()
    return backends


def _legacy_nat_exists() -> bool:
    # Running iptables-legacy would create the table, and load the modules for it.
    try:
        return "nat" in LEGACY_TABLES.read_text().split()
    except OSError:
        return False


def _in_use() -> list[Backend]:
    return [backend for backend in installed() if backend.program != LEGACY or _legacy_nat_exists()]


def _working(backends: Sequence[Backend]) -> Iterator[Backend]:
    """The backends that can read the table.

    Raises:
        RedirectError: No backend can.
    """
    problems = []
    for backend in backends:
        try:
            backend.must("-S", "OUTPUT")
        except RedirectError as error:
            problems.append(str(error))
        else:
            yield backend
    if problems and len(problems) == len(backends):
        raise RedirectError(f"{'; '.join(problems)}. {NEEDS}")


def write(port: int) -> Backend:
    """Write the rules with the first backend that the kernel supports, and verify them.

    Raises:
        RedirectError: No backend can write them, or they are missing afterwards.
    """
    problems = []
    for backend in _working(installed()):
        try:
            jump = () if backend.accepts("-C", "OUTPUT", *JUMP) else (f"-I OUTPUT 1 {' '.join(JUMP)}",)
            backend.must("--noflush", rules="\n".join([*_chain(port), *jump, "COMMIT", ""]))
        except RedirectError as error:
            problems.append(str(error))
            continue
        if not is_written(backend, port):
            raise RedirectError(f"{backend.program} reported success, but the rules are not there")
        return backend
    raise RedirectError(f"{'; '.join(problems)}. {NEEDS}")


def _chain(port: int) -> list[str]:
    # iptables-restore flushes a declared chain, and applies everything or nothing.
    rules = (EXEMPTION, _redirection(port))
    return ["*nat", f":{CHAIN} - [0:0]", *(f"-A {CHAIN} {' '.join(rule)}" for rule in rules)]


def _redirection(port: int) -> tuple[str, ...]:
    return ("-p", "tcp", "-j", "REDIRECT", "--to-ports", str(port))


def is_written(backend: Backend, port: int) -> bool:
    """Whether the backend has exactly the rules that `write` writes."""
    present = (("OUTPUT", *JUMP), (CHAIN, *EXEMPTION), (CHAIN, *_redirection(port)))
    if not all(backend.accepts("-C", *rule) for rule in present):
        return False
    first, *others = [line for line in backend.must("-S", CHAIN).splitlines() if line.startswith("-A")]
    return first.endswith("-j RETURN") and len(others) == 1


def check(port: int) -> Backend:
    """The backend that has the rules.

    Raises:
        RedirectError: No backend has them, or none can read the table.
    """
    for backend in _working(_in_use()):
        if is_written(backend, port):
            return backend
    raise RedirectError(f"{IMDS_ADDRESS}:{IMDS_PORT} is not redirected to port {port}: run azwi-proxy init")


def remove() -> None:
    """Remove the chain and the jump to it from every backend that has them.

    Raises:
        RedirectError: iptables failed.
    """
    for backend in _working(_in_use()):
        if not backend.accepts("-S", CHAIN):
            continue
        while backend.accepts("-C", "OUTPUT", *JUMP):
            backend.must("-D", "OUTPUT", *JUMP)
        backend.must("-F", CHAIN)
        backend.must("-X", CHAIN)


def imds_is_routed() -> bool:
    """Whether the pod has an IPv4 route to IMDS; without one no packet reaches the rules."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((IMDS_ADDRESS, IMDS_PORT))
        except OSError:
            return False
    return True


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_PORT:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to {MAX_PORT}")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="azwi-proxy init",
        description=f"Redirect {IMDS_ADDRESS}:{IMDS_PORT} to the proxy for every user but uid {names.PROXY_UID}.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--proxy-port",
        type=_port,
        default=os.environ.get(names.ENV_PROXY_PORT) or str(names.DEFAULT_PROXY_PORT),
        metavar="PORT",
        help=f"port of the proxy (default: ${names.ENV_PROXY_PORT} or {names.DEFAULT_PROXY_PORT})",
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="change nothing; fail unless the rules are there")
    action.add_argument("--remove", action="store_true", help="remove the rules")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Write, check or remove the rules; the exit status is 0, or 1 with the reason on stderr (2 for a wrong flag)."""
    options = _options(arguments)
    try:
        if options.remove:
            remove()
            _print("the redirect is removed")
            return 0
        backend = check(options.proxy_port) if options.check else write(options.proxy_port)
    except RedirectError as error:
        _print_error(str(error))
        return 1
    if not imds_is_routed():
        _print_error(
            f"warning: no IPv4 route to {IMDS_ADDRESS}, so apps cannot reach it; {names.PROXY_MODE}: environment can"
        )
    _print(
        f"{IMDS_ADDRESS}:{IMDS_PORT} is redirected to port {options.proxy_port}, "
        f"but not for uid {names.PROXY_UID} ({backend.program})"
    )
    return 0


def _print(text: str) -> None:
    print(f"azwi-proxy init: {text}")  # noqa: T201  a program's output


def _print_error(text: str) -> None:
    print(f"azwi-proxy init: {text}", file=sys.stderr)  # noqa: T201  a program's output


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
