"""Options of every test."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --update-cases, which rewrites what the golden cases expect."""
    parser.addoption(
        "--update-cases", action="store_true", help="rewrite expected.yaml and response.yaml of tests/cases"
    )
