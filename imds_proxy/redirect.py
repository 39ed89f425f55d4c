"""`azwi-proxy init`: iptables rules that send what the pod asks of IMDS to the proxy.

Everything is in a chain of our own, written in one transaction, so that running it again changes nothing and the rules
of others stay as they are. There is nothing for IPv6: Azure's IMDS has no IPv6 address, and an IPv4 address mapped into
IPv6 takes the IPv4 rules.
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
# The proxy itself asks the real IMDS for what it passes through.
EXEMPTION: Final = ("-m", "owner", "--uid-owner", str(names.PROXY_UID), "-j", "RETURN")

NEEDS: Final = (
    "It needs root with the capabilities NET_ADMIN and NET_RAW, and a kernel with the iptables modules nat, owner and "
    f"REDIRECT; {names.PROXY_MODE}: environment needs neither"
)
LEGACY: Final = "iptables-legacy"

# iptables-legacy has a lock; another container of the pod may hold it.
LOCK_SECONDS: Final = 10
COMMAND_SECONDS: Final = 20
# Which tables of legacy iptables this network namespace has.
LEGACY_TABLES: Final = Path("/proc/self/net/ip_tables_names")


class RedirectError(Exception):
    """The rules are not as they should be; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One iptables program: `iptables-nft`, `iptables-legacy`, or `iptables` where the image has no other."""

    program: str

    def run(self, *arguments: str, rules: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the program on the nat table, or its restore variant with `rules` as input."""
        command = [self.program, "-t", "nat"] if rules is None else [f"{self.program}-restore"]
        try:
            return subprocess.run(  # noqa: S603  fixed programs and arguments of our own
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
        """Tell whether the program succeeds."""
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
    """Find the backends, the one to write with first.

    Rules in nft and in legacy tables do not see each other. Where somebody else has rules in this pod's legacy nat
    table, ours go there too; otherwise nft comes first, as newer kernels have no legacy tables.

    Raises:
        RedirectError: There is no iptables.
    """
    nft, legacy, only = Backend("iptables-nft"), Backend(LEGACY), Backend("iptables")
    found = [each for each in (nft, legacy) if shutil.which(each.program)]
    if not found and shutil.which(only.program):
        found = [only]
    if not found:
        raise RedirectError("no iptables on PATH: run it in the proxy's own image")
    if legacy in found and _legacy_nat_exists() and "\n-A " in legacy.run("-S").stdout:
        found.reverse()
    return found


def _legacy_nat_exists() -> bool:
    # Asking iptables-legacy would make the table, and load the modules for it.
    try:
        return "nat" in LEGACY_TABLES.read_text().split()
    except OSError:
        return False


def _in_use() -> list[Backend]:
    return [each for each in installed() if each.program != LEGACY or _legacy_nat_exists()]


def _working(backends: Sequence[Backend]) -> Iterator[Backend]:
    """Those that can read the table.

    Raises:
        RedirectError: None can.
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
    """Write the rules with the first backend that the kernel takes, and look whether they are there.

    Raises:
        RedirectError: No backend can, or the rules are not there afterwards.
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
    # iptables-restore empties a chain that is declared, and does all or nothing.
    rules = (EXEMPTION, _redirection(port))
    return ["*nat", f":{CHAIN} - [0:0]", *(f"-A {CHAIN} {' '.join(rule)}" for rule in rules)]


def _redirection(port: int) -> tuple[str, ...]:
    return ("-p", "tcp", "-j", "REDIRECT", "--to-ports", str(port))


def is_written(backend: Backend, port: int) -> bool:
    """Tell whether the backend has exactly the rules that `write` writes."""
    present = (("OUTPUT", *JUMP), (CHAIN, *EXEMPTION), (CHAIN, *_redirection(port)))
    if not all(backend.accepts("-C", *rule) for rule in present):
        return False
    first, *others = [line for line in backend.must("-S", CHAIN).splitlines() if line.startswith("-A")]
    return first.endswith("-j RETURN") and len(others) == 1


def check(port: int) -> Backend:
    """Find the backend that has the rules.

    Raises:
        RedirectError: None has, or none can tell.
    """
    for backend in _working(_in_use()):
        if is_written(backend, port):
            return backend
    raise RedirectError(f"{IMDS_ADDRESS}:{IMDS_PORT} is not redirected to port {port}: run azwi-proxy init")


def remove() -> None:
    """Remove our chain and what leads to it, wherever it is; without it do nothing.

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
    """Tell whether the pod has an IPv4 route to IMDS; without one no packet gets as far as the rules."""
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
        description=f"Redirect {IMDS_ADDRESS}:{IMDS_PORT} to the proxy for everybody but uid {names.PROXY_UID}.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--proxy-port",
        type=_port,
        default=os.environ.get(names.ENV_PROXY_PORT) or str(names.DEFAULT_PROXY_PORT),
        metavar="PORT",
        help=f"where the proxy listens (default: ${names.ENV_PROXY_PORT} or {names.DEFAULT_PROXY_PORT})",
    )
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--check", action="store_true", help="change nothing; fail unless the rules are there")
    other.add_argument("--remove", action="store_true", help="remove the rules")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Write, check or remove the rules; the exit status is 0, or 1 with the reason on stderr (2 for a wrong flag)."""
    options = _options(arguments)
    try:
        if options.remove:
            remove()
            _say("the redirect is removed")
            return 0
        backend = check(options.proxy_port) if options.check else write(options.proxy_port)
    except RedirectError as error:
        _complain(str(error))
        return 1
    if not imds_is_routed():
        _complain(
            f"warning: no IPv4 route to {IMDS_ADDRESS}, so apps cannot reach it; {names.PROXY_MODE}: environment can"
        )
    _say(
        f"{IMDS_ADDRESS}:{IMDS_PORT} is redirected to port {options.proxy_port}, "
        f"but not for uid {names.PROXY_UID} ({backend.program})"
    )
    return 0


def _say(text: str) -> None:
    print(f"azwi-proxy init: {text}")  # noqa: T201  a program's output


def _complain(text: str) -> None:
    print(f"azwi-proxy init: {text}", file=sys.stderr)  # noqa: T201  a program's output


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
