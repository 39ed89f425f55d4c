"""Session-wide Helm and what it renders."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from azure_workload_identity.types import JsonObject
from tests.chart.helm import VALUE_SETS, Helm, objects, rendered


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Find helm; skip without it, or fail if REQUIRE_CLUSTER=1."""
    try:
        return Helm.find()
    except FileNotFoundError as missing:
        if os.environ.get("REQUIRE_CLUSTER") == "1":
            raise
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def defaults(helm: Helm) -> list[JsonObject]:
    """Render the chart with only a tenant set."""
    return rendered(helm)


@pytest.fixture(scope="session")
def value_sets(helm: Helm) -> dict[str, list[JsonObject]]:
    """Render every values file of the chart's ci folder, keyed by file name."""
    with ThreadPoolExecutor(2) as pool:
        rendered_sets = pool.map(lambda path: objects(helm.template(f"--values={path}")), VALUE_SETS)
        return dict(zip((path.name for path in VALUE_SETS), rendered_sets, strict=True))
