"""The node with the project's image on it, and Azure beside it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.node import archive as archives
from tests.cluster.node.node import Node, node
from tests.e2e.azure import Azure, azure
from tests.e2e.installed import PROXY_IMAGE
from tests.e2e.report import note, timed


@dataclass(frozen=True, slots=True)
class Stage:
    """What is there before anything is installed."""

    node: Node
    azure: Azure


@contextmanager
def stage(image: Path, directory: Path, patience: float = 0.0) -> Iterator[Stage]:
    """Bring everything up, and down again; another node's end is waited for that many seconds.

    Two images are imported: the given archive as it is, and for the injected proxy, whose variables no user sets, one
    that is the same with the emulated Entra's CA in it.

    Raises:
        NodeError: The node did not come up.
        NodeBusyError: There is one on this machine already.
    """
    with node(patience=patience) as running, azure(running.cluster, directory) as beside:
        note(f"{time.monotonic() - running.begun:7.2f} s  node from nothing to Ready")
        authority = {"etc/entra.crt": archives.File(beside.entra.ca_file.read_bytes())}
        trusting = archives.extended(
            image, directory / "trusting.tar", PROXY_IMAGE, authority, {"SSL_CERT_FILE": "/etc/entra.crt"}
        )
        with timed("both images imported"):
            running.add_image(image)
            running.add_image(trusting)
        yield Stage(running, beside)
