"""An OCI registry on loopback."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

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


@contextmanager
def oci_registry(directory: Path) -> Iterator[str]:
    """Run a registry that keeps what it gets in a directory; its address."""
    (port,) = free_ports(1)
    settings = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(directory / "blobs")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    file, log = directory / "registry.yaml", directory / "registry.log"
    file.write_text(json.dumps(settings))
    with running([needed("docker-registry", "docker-registry"), "serve", str(file)], log) as process:
        wait_until(lambda: listens(port), process, log, MAX_WAIT_SECONDS)
        yield f"127.0.0.1:{port}"
