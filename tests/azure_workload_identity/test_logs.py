"""The log's lines."""

import json
import logging
import subprocess
import sys
from datetime import datetime

import pytest

from azure_workload_identity.logs import LEVELS, JsonHandler, line


def test_line() -> None:
    """A line is one JSON object with level, time, logger, message and fields of its own."""
    made = json.loads(line(logging.INFO, "webhook", "hello", {"a": 1}))
    assert datetime.fromisoformat(made.pop("timestamp")).tzinfo
    assert made == {"level": "info", "logger": "webhook", "message": "hello", "a": 1}


def test_line_breaks_stay_inside() -> None:
    """Text from outside cannot start a line of its own."""
    assert line(logging.INFO, "webhook", 'a\n{"level":"error"}', {"pod": "x\ny"}).count(b"\n") == 1


def test_records(capfd: pytest.CaptureFixture[str]) -> None:
    """A record of the logging module is such a line, with its own fields and its traceback in it."""
    error = ZeroDivisionError()
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "failed %s", ("here",), (type(error), error, None))
    record.fields = {"a": 1}
    JsonHandler().handle(record)
    written = capfd.readouterr().err
    assert written.count("\n") == 1
    made = json.loads(written)
    assert (made["message"], made["a"], "ZeroDivisionError" in made["error"]) == ("failed here", 1, True)


def test_standard_error_gone() -> None:
    """A program whose standard error is closed goes on."""
    program = (
        "import os; from azure_workload_identity import logs; os.close(2); logs.write(20, 'x', 'said', {}); print('on')"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=False)
    assert done.stdout == "on\n"


@pytest.mark.parametrize(("level", "shown"), [("", ["warning"]), ("info", ["info", "warning"]), ("all", None)])
def test_levels(level: str, shown: list[str] | None) -> None:
    """Each of v1.6.0's levels shows more than the one before; unset shows warnings."""
    program = f"""
import logging
from azure_workload_identity import logs
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
