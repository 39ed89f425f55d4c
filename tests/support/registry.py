"""An OCI registry on loopback."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from azure_workload_identity.types import JsonObject
from testbed.processes import MAX_WAIT_SECONDS, free_ports, running, wait_until
from testbed.program import listens


def needed(program: str, package: str) -> str:
    """Find a program; skip without it, or fail where REQUIRE_CLUSTER=1."""
    found = shutil.which(program)
    if found is None and os.environ.get("REQUIRE_CLUSTER") == "1":
        pytest.fail(f"{program} is missing: apt-get install {package}")
    if found is None:
        pytest.skip(f"{program} is missing: apt-get install {package}")
    return found


@dataclass(frozen=True, slots=True)
class TLS:
    """Where a registry listens with TLS, and the files of its certificate and key."""

    address: str
    certificate: Path
    key: Path


@contextmanager
def oci_registry(directory: Path, tls: TLS | None = None) -> Iterator[str]:
    """Run a registry that keeps what it gets in a directory; its address: without TLS a free port of 127.0.0.1."""
    address = tls.address if tls else f"127.0.0.1:{free_ports(1)[0]}"
    http: JsonObject = {"addr": address}
    if tls:
        http["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
    settings = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(directory / "blobs")}},
        "http": http,
    }
    host, _, port = address.partition(":")
    file, log = directory / "registry.yaml", directory / "registry.log"
    file.write_text(json.dumps(settings))
    with running([needed("docker-registry", "docker-registry"), "serve", str(file)], log) as process:
        wait_until(lambda: listens(int(port), host), process, log, MAX_WAIT_SECONDS)
        yield address
