"""Options of every test, and the image for those that run it."""

import pytest

from tests.image.fixtures import archive, image, machine  # noqa: F401  fixtures


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --update-cases, which rewrites what the golden cases expect."""
    parser.addoption(
        "--update-cases", action="store_true", help="rewrite expected.yaml and response.yaml of tests/cases"
    )
