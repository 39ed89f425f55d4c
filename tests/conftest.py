"""Options of every test, and the image for those that run it."""

import signal
from typing import Final

import pytest

from tests.image.fixtures import archive, image, machine  # noqa: F401  fixtures

SLOW: Final = frozenset({"cluster", "dist", "image", "e2e", "clients", "renders"})


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --update-cases, which rewrites what the golden cases expect, and --part, beside which -m can be used."""
    parser.addoption(
        "--update-cases", action="store_true", help="rewrite expected.yaml and response.yaml of tests/cases"
    )
    parser.addoption(
        "--part",
        choices=("quick", "slow"),
        help=f"slow: only tests marked {', '.join(sorted(SLOW))}, which share what they run on; quick: only the others",
    )


def pytest_configure() -> None:
    """Let programs that tests start hear Ctrl-C: a shell that runs the tests in its background takes it from them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out what is not of the part that was asked for."""
    part = config.getoption("--part")
    if part is None:
        return
    parts: dict[str, list[pytest.Item]] = {"quick": [], "slow": []}
    for item in items:
        quick = SLOW.isdisjoint(mark.name for mark in item.iter_markers())
        parts["quick" if quick else "slow"].append(item)
    items[:] = parts.pop(part)
    for others in parts.values():
        config.hook.pytest_deselected(items=others)
