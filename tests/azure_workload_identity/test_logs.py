"""The log's lines."""

import json
import logging
import os
import subprocess
import sys
from datetime import datetime

import pytest

from azure_workload_identity import logs
from azure_workload_identity.logs import LEVELS, MAX_LINE, JsonHandler, RateLimit, line


def test_line() -> None:
    """A line is one JSON object with level, time, logger, message and fields of its own."""
    made = json.loads(line(logging.INFO, "webhook", "hello", {"a": 1}))
    assert datetime.fromisoformat(made.pop("timestamp")).tzinfo
    assert made == {"level": "info", "logger": "webhook", "message": "hello", "a": 1}


def test_line_breaks_stay_inside() -> None:
    """Text from outside cannot start a line of its own."""
    assert line(logging.INFO, "webhook", 'a\n{"level":"error"}', {"pod": "x\ny"}).count(b"\n") == 1


@pytest.mark.parametrize(
    "text", ["\x9b31m", "\u202egnp.exe", "a\x7fb", "\u2028", "\u2066x\u2069", "\ufeff", "\U000e0041", "\x1b[2J"]
)
def test_safe_to_print(text: str) -> None:
    """What a terminal would act on (controls of either set, bidirectional marks) is an escape, and not lost."""
    made = line(logging.INFO, "webhook", text, {"pod": text})
    assert made.decode().removesuffix("\n").isprintable()
    assert json.loads(made)["pod"] == text


def test_other_scripts_stay() -> None:
    """Letters of any script are printed as they are."""
    assert "größe-例" in line(logging.INFO, "webhook", "größe-例", {}).decode()


@pytest.mark.parametrize(
    "value",
    ["x" * 8_000_000, "\x01" * 1000, "\u202e" * 1000, ["x" * 1000] * 1000, {"a": "x" * 10_000}, "\ud800"],
    ids=["long", "controls", "marks", "list", "map", "surrogate"],
)
def test_bounded(value: object) -> None:
    """A line has a bound, whatever is in a field, and stays JSON with its message."""
    made = line(logging.INFO, "webhook", "hello", {"pod": value, "detail": value, "warnings": value})
    assert len(made) <= MAX_LINE
    assert json.loads(made)["message"].strip("'") == "hello"


def test_nested_field() -> None:
    """A field that is nested too deep for JSON is described."""
    nested: list[object] = []
    for _ in range(990):
        nested = [nested]
    assert json.loads(line(logging.INFO, "webhook", "hello", {"namespace": nested}))["message"].strip("'") == "hello"


def test_standard_error_that_nobody_reads() -> None:
    """A full pipe never blocks: lines are dropped, and counted once somebody reads again."""
    program = """
from azure_workload_identity import logs
for number in range(5000):
    logs.write(20, "x", "said", {"number": number})
print("on", flush=True)
input()
logs.write(20, "x", "again", {})
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"on\n"
        first = os.read(process.stderr.fileno(), 1 << 20)  # all that the pipe holds
        _, rest = process.communicate(b"\n")
    lines = [json.loads(text) for text in (first + rest).splitlines()]
    assert lines[-1]["message"] == "again"
    assert lines[-2]["dropped"] == 5000 - len(lines) + 2
    assert [made["number"] for made in lines[:-2]] == list(range(len(lines) - 2))


def test_rate_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key has its burst and rate; what is held back is counted for the next."""
    now = 100.0
    monkeypatch.setattr(logs, "monotonic", lambda: now)
    limit = RateLimit(rate=1, burst=2)
    assert [limit.allow("a") for _ in range(4)] == [0, 0, None, None]
    assert limit.allow("b") == 0
    now += 1
    assert [limit.allow("a") for _ in range(2)] == [2, None]


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
