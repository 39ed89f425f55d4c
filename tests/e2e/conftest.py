"""The node, the image on it, Azure beside it and one release of the chart for the whole run."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from testbed.cluster.control_plane import Cluster
from tests.cluster.support.node.node import Node, NodeBusyError
from tests.cluster.support.release import Release
from tests.e2e.azure import BINDING_AUDIENCE, BINDING_HOST, Azure
from tests.e2e.installed import installed
from tests.e2e.needs import missing
from tests.e2e.stage import Stage
from tests.e2e.stage import stage as everything
from tests.e2e.workloads import RESTRICTED, Workloads, workloads
from tests.image import build

# A run that must happen waits for another that has the node.
REQUIRED = os.environ.get("REQUIRE_E2E") == "1"
PATIENCE_SECONDS = 3600.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder: it needs a node."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.e2e)


def _without(reason: str) -> NoReturn:
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Bring it up; where that cannot be, skip, or fail where REQUIRE_E2E=1."""
    if lacking := missing():
        _without("; ".join(lacking))
    patience = PATIENCE_SECONDS if REQUIRED else 0.0
    opened = everything(build.build_image(), tmp_path_factory.mktemp("stage"), patience)
    try:
        up = opened.__enter__()
    except NodeBusyError as busy:
        _without(str(busy))
    yield up
    opened.__exit__(None, None, None)


@pytest.fixture(scope="session")
def node(stage: Stage) -> Node:
    """Return the node."""
    return stage.node


@pytest.fixture(scope="session")
def cluster(node: Node) -> Cluster:
    """Return the node's cluster, seen by its administrator."""
    return node.cluster


@pytest.fixture(scope="session")
def azure(stage: Stage) -> Azure:
    """Return Azure's side."""
    return stage.azure


@pytest.fixture(scope="session")
def release(cluster: Cluster, azure: Azure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """Install the chart with the opt-in by ServiceAccount and identity bindings beside its defaults."""
    with installed(
        cluster,
        tmp_path_factory.mktemp("release"),
        optIn=["pod-label", "service-account"],
        customTokenEndpoint={
            "annotationSuffix": "identity-binding",
            "audience": BINDING_AUDIENCE,
            "azureKubernetesTokenProxy": azure.token_proxy,
            "azureKubernetesSniName": BINDING_HOST,
            "azureKubernetesCaData": azure.token_proxy_ca,
        },
    ) as running:
        yield running


@pytest.fixture(scope="session")
def restricted(release: Release, azure: Azure) -> Workloads:
    """Make a namespace that admits only what Pod Security calls restricted."""
    return workloads(release.control_plane, azure, release.workload_namespace(RESTRICTED))


@pytest.fixture(scope="session")
def ordinary(release: Release, azure: Azure) -> Workloads:
    """Make a namespace without Pod Security."""
    return workloads(release.control_plane, azure, release.workload_namespace())
