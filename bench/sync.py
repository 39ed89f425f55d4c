"""What `azwi sync` costs for many accounts: `python -m bench.sync`, time and requests against the emulated Azure.

The emulator runs in this process and answers one request at a time, so its own work is part of the time.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import yaml

from azure_workload_identity import names
from bench import report
from testbed.azure_management import Azure, azure_management
from testbed.azure_management.login import install_az

ROOT: Final = Path(__file__).resolve().parent.parent
ACCOUNTS: Final = 1000
IDENTITIES: Final = 60
PAGE_SIZE: Final = 100
ISSUER: Final = "https://issuer.azwi.test/"


def main() -> int:
    """Create all credentials, run it again, and prune a tenth."""
    print(", ".join(f"{key} {value}" for key, value in report.machine().items()))
    print(f"{ACCOUNTS} ServiceAccounts over {IDENTITIES} managed identities\n")
    print(f"{'':32} {'seconds':>8} {'reads':>6} {'writes':>7}")
    with tempfile.TemporaryDirectory() as made, azure_management(Path(made) / "azure") as azure:
        azure.faults.page_size = PAGE_SIZE
        directory = Path(made)
        install_az(azure, directory / "bin")
        clients = [azure.add_identity(f"shop-{number}")["properties"]["clientId"] for number in range(IDENTITIES)]
        accounts = [_account(number, clients[number % IDENTITIES]) for number in range(ACCOUNTS)]
        for title, wanted, flags in (
            ("plan (--dry-run)", accounts, ("--dry-run",)),
            ("from nothing", accounts, ()),
            ("again, nothing to do", accounts, ()),
            ("a tenth is gone (--prune)", accounts[ACCOUNTS // 10 :], ("--prune",)),
        ):
            (directory / "accounts.yaml").write_text(yaml.dump_all(wanted, Dumper=yaml.CSafeDumper))
            seconds, reads, writes = _run(azure, directory, flags)
            print(f"{title:32} {seconds:8.1f} {reads:6} {writes:7}")
    return 0


def _account(number: int, client_id: str) -> object:
    metadata = {"name": "web", "namespace": f"pr-{number}", "annotations": {names.CLIENT_ID: client_id}}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def _run(azure: Azure, directory: Path, flags: tuple[str, ...]) -> tuple[float, int, int]:
    """Run the command as a process; its seconds, and the requests that read and that write."""
    azure.requests.clear()
    login = (f"-s={azure.subscription}", "--auth-method=cli", f"--arm-endpoint={azure.arm}")
    source = ("-f", str(directory / "accounts.yaml"), f"--service-account-issuer-url={ISSUER}")
    environ = {**os.environ, "REQUESTS_CA_BUNDLE": str(azure.ca_file), "PATH": f"{directory / 'bin'}:/usr/bin:/bin"}
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "azwi_cli", "sync", *source, *login, *flags],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    seconds = time.perf_counter() - started
    writes = len(azure.writes())
    return seconds, len(azure.requests) - writes, writes


if __name__ == "__main__":
    sys.exit(main())
