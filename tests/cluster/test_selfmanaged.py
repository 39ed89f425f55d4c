"""Certificates that the server makes, in a real cluster."""

import logging
import time
from pathlib import Path

from tests.cluster.control_plane import ControlPlane
from tests.cluster.installation import installed

log = logging.getLogger(__name__)


def test_install(control_plane: ControlPlane, tmp_path: Path) -> None:
    """From an empty namespace to the first mutated pod it takes no more than three seconds."""
    with installed(control_plane, tmp_path) as installation:
        namespace = installation.workload_namespace()
        begun = time.monotonic()
        with installation.replica(wait_for="healthz"):
            while True:
                try:
                    assert installation.is_mutated(namespace)
                    break
                except Exception:  # noqa: BLE001  trial
                    time.sleep(0.02)
            took = time.monotonic() - begun
    log.info("install to first mutated pod: %.2f s", took)
    assert took < 3
