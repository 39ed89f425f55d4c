"""The node with the project's image on it, and Azure beside it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.support.node.configuration import MACHINE
from tests.cluster.support.node.node import Node, node
from tests.e2e.azure import LOGIN, Azure, azure
from tests.e2e.report import note, timed


@dataclass(frozen=True, slots=True)
class Stage:
    """The environment before anything is installed."""

    node: Node
    azure: Azure


@contextmanager
def stage(image: Path, directory: Path, patience: float = 0.0) -> Iterator[Stage]:
    """Bring everything up with the image, an archive, and down again; another node's end is waited for so many seconds.

    Raises:
        NodeError: The node did not come up.
        NodeBusyError: One with this number runs on this machine already.
    """
    with node(patience=patience) as running, azure(running.cluster, directory) as beside:
        note(f"{time.monotonic() - running.begun:7.2f} s  node from nothing to Ready")
        with timed("image imported"):
            running.add_image(image)
        running.hosts[LOGIN] = MACHINE
        yield Stage(running, beside)
