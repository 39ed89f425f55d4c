"""Options of every test, how they are shared out to processes, and the image for those that run it."""

import gc
import signal
from pathlib import Path
from typing import Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from tests.e2e import report
from tests.image.fixtures import archive, image, machine  # noqa: F401  fixtures

SLOW: Final = frozenset({"cluster", "dist", "image", "e2e", "clients", "renders"})
# What shares an expensive fixture runs in one process, the longest first: the image and its node, then the API server.
GROUPS: Final = {"tests/cluster/test_image.py": 0, "tests/image/": 0, "tests/e2e/": 0, "tests/cluster/": 1}
OTHERS: Final = 2
# All tests of these folders are slow: their conftest.py marks them. The quick part spends no second on reading them.
SLOW_FOLDERS: Final = frozenset(Path(__file__).parent / name for name in ("cluster", "e2e"))

# Modules and tests live to the end: the collector would go through their half a million objects again and again.
gc.disable()


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


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave folders that have only slow tests out of the quick part."""
    return True if config.getoption("--part") == "quick" and collection_path in SLOW_FOLDERS else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out what is not of the part that was asked for, and put the longest group of slow tests first."""
    part = config.getoption("--part")
    if part is None:
        return
    parts: dict[str, list[pytest.Item]] = {"quick": [], "slow": []}
    for item in items:
        quick = SLOW.isdisjoint(mark.name for mark in item.iter_markers())
        parts["quick" if quick else "slow"].append(item)
    parts["slow"].sort(key=lambda item: group(item.nodeid))
    items[:] = parts.pop(part)
    for others in parts.values():
        config.hook.pytest_deselected(items=others)


def pytest_collection_finish() -> None:
    """Collect garbage from here on, of what the tests make."""
    gc.freeze()
    gc.enable()


def group(nodeid: str) -> int:
    """Return the group of a slow test."""
    return next((number for start, number in GROUPS.items() if nodeid.startswith(start)), OTHERS)


class Groups(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Gives a group of slow tests to one process."""

    def _split_scope(self, nodeid: str) -> str:
        return str(group(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """Share out slow tests by group; None leaves it to --dist."""
    return Groups(config, log) if config.getoption("--part") == "slow" else None


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what a worker measured to the process that prints it."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["measured"] = report.LINES


def pytest_testnodedown(node: WorkerController) -> None:
    """Take what a worker measured."""
    report.LINES.extend(getattr(node, "workeroutput", {}).get("measured", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured."""
    if report.LINES:
        terminalreporter.section("measured on the node")
        for line in report.LINES:
            terminalreporter.line(line)
