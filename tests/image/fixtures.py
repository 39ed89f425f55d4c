"""The image, built once for the whole run and unpacked."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.image_archive import Image
from tests.image import build
from tests.image.container import Machine


@pytest.fixture(scope="session")
def archive() -> Path:
    """Build the image; where that cannot be, skip, or fail where REQUIRE_IMAGE=1 or REQUIRE_CLUSTER=1."""
    problem = build.missing()
    if problem and "1" in {os.environ.get("REQUIRE_IMAGE"), os.environ.get("REQUIRE_CLUSTER")}:
        pytest.fail(problem)
    if problem:
        pytest.skip(problem)
    return build.build_image()


@pytest.fixture(scope="session")
def image(archive: Path) -> Image:
    """Read the image."""
    return Image.read(archive)


@pytest.fixture(scope="session")
def machine(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Unpack the image, ready to run."""
    directory = tmp_path_factory.mktemp("machine")
    image.unpack(directory / "root")
    running = Machine(image, directory / "root", directory / "bundles")
    yield running
    running.close()
