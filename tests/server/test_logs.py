"""The log's lines."""

import json
import logging
import subprocess
import sys

import pytest

from webhook.server.logs import LEVELS, JsonFormatter


def record(message: str, **extra: object) -> logging.LogRecord:
    """Make a log record."""
    made = logging.LogRecord("webhook", logging.INFO, "x.py", 1, message, (), None)
    made.__dict__.update(extra)
    return made


def test_line() -> None:
    """A record is one JSON object with level, time, logger, message and its own fields."""
    line = json.loads(JsonFormatter().format(record("hello", fields={"a": 1})))
    assert line.pop("timestamp")
    assert line == {"level": "info", "logger": "webhook", "message": "hello", "a": 1}


def test_line_breaks_stay_inside() -> None:
    """Text from outside cannot start a line of its own."""
    assert "\n" not in JsonFormatter().format(record('a\n{"level":"error"}', fields={"pod": "x\ny"}))


def test_traceback_stays_inside() -> None:
    """A traceback is a member of the line."""
    error = ZeroDivisionError()
    failed = record("failed", exc_info=(type(error), error, None))
    text = JsonFormatter().format(failed)
    assert "\n" not in text
    assert "ZeroDivisionError" in json.loads(text)["error"]


@pytest.mark.parametrize(("level", "shown"), [("", ["warning"]), ("info", ["info", "warning"]), ("all", None)])
def test_levels(level: str, shown: list[str] | None) -> None:
    """Each of v1.6.0's levels shows more than the one before; unset shows warnings."""
    program = f"""
import logging
from webhook.server import logs
logs.configure({level!r})
for number in (1, 5, 10, 20, 30):
    logging.getLogger("x").log(number, "said")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    levels = [json.loads(line)["level"] for line in done.stderr.splitlines()]
    assert levels == shown if shown is not None else len(levels) == 5


def test_level_names() -> None:
    """The levels are those of v1.6.0."""
    assert list(LEVELS) == ["", "info", "debug", "trace", "all"]
