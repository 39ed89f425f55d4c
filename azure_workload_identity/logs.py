"""JSON logs on standard error, one object a line, with the keys that v1.6.0's logs have.

A line is safe to print, has a bounded size, and never blocks: where nobody reads standard error it is dropped, and a
later line has the number of those that were.
"""

import logging
import os
import select
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final

import orjson

# v1.6.0's names, in order of increasing verbosity; unset means warnings only.
LEVELS: Final = {"": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG, "trace": 5, "all": 1}
STANDARD_ERROR: Final = 2
# What a pipe takes at once when it reports to be writable (POSIX's PIPE_BUF on Linux), so that a write never blocks.
MAX_LINE: Final = 4096
MAX_FIELD: Final = 512
MAX_TRACE: Final = 2500
MAX_ITEMS: Final = 16

_LEVEL_NAMES: Final = {level: logging.getLevelName(level).lower() for level in (logging.INFO, logging.WARNING)}
_root: Final = logging.getLogger()
_OPTIONS: Final = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS


class _Output:
    """Standard error, written to only where that does not block."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._poll.register(STANDARD_ERROR, select.POLLOUT)
        self.dropped = 0

    def write(self, data: bytes) -> bool:
        """Write a line; False where it would block, or standard error is gone."""
        try:
            if not self._poll.poll(0):
                return False
            os.write(STANDARD_ERROR, data)
        except OSError:
            return False  # nothing else fails because standard error is gone
        return True


_output: Final = _Output()


def line(level: int, logger: str, message: str, fields: dict[str, object]) -> bytes:
    """One line of the log, of at most MAX_LINE bytes."""
    name = _LEVEL_NAMES.get(level) or logging.getLevelName(level).lower()
    head: dict[str, object] = {"level": name, "timestamp": datetime.now(UTC), "logger": logger, "message": message}
    try:
        whole = orjson.dumps(head | fields, default=_described, option=_OPTIONS)
    except orjson.JSONEncodeError:
        pass
    else:
        # Most lines are so short that no field of them can be beyond its bound.
        if len(whole) <= MAX_FIELD and whole.isascii() and b"\x7f" not in whole:
            return whole
    head["message"] = _bounded(message)
    whole = _printable(_encoded(head | {key: _bounded(value, key) for key, value in fields.items()}))
    if len(whole) <= MAX_LINE:
        return whole
    return _printable(_encoded({**head, "message": message[: MAX_FIELD // 8], "tooLong": True}))


def write(level: int, logger: str, message: str, fields: dict[str, object]) -> None:
    """Write a line at once, without the logging module's records: an admission's line costs a fifth that way."""
    if _output.dropped and _output.write(
        line(logging.WARNING, __name__, "log lines were dropped, since nobody read them", {"dropped": _output.dropped})
    ):
        _output.dropped = 0
    if not _output.write(line(level, logger, message, fields)):
        _output.dropped += 1


def threshold() -> int:
    """The level below which nothing is written."""
    return _root.level


class JsonHandler(logging.Handler):
    """The logging module's records as such lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; a traceback goes into `error`."""
        fields: dict[str, object] = dict(getattr(record, "fields", {}))
        if record.exc_info:
            fields["error"] = logging.Formatter().formatException(record.exc_info)
        write(record.levelno, record.name, record.getMessage(), fields)


class RateLimit:
    """Lets through so many events a second for each key, and counts the others."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: dict[str, tuple[float, float, int]] = {}

    def allow(self, key: str) -> int | None:
        """How many were held back since the last that was let through; None to hold this one back too.

        `key` is one of a fixed set: a reason, never text from outside.
        """
        now = monotonic()
        tokens, last, held = self._buckets.get(key, (self._burst, now, 0))
        tokens = min(self._burst, tokens + (now - last) * self._rate)
        if tokens < 1:
            self._buckets[key] = (tokens, now, held + 1)
            return None
        self._buckets[key] = (tokens - 1, now, 0)
        return held


def configure(level: str) -> None:
    """Send every logger of the process to standard error, from `level` (a key of LEVELS) on."""
    root = logging.getLogger()
    root.handlers[:] = [JsonHandler()]
    root.setLevel(LEVELS[level])
    # Below these levels they log each start, stop, broken connection and missing kubeconfig, which the programs report
    # themselves.
    for noisy, least in (("uvicorn", logging.ERROR), ("asyncio", logging.WARNING), ("kubernetes", logging.ERROR)):
        logging.getLogger(noisy).setLevel(least)


def _bounded(value: object, key: str = "") -> object:
    """A field's value cut to its bound; numbers and times are small."""
    if isinstance(value, str):
        limit = MAX_TRACE if key == "error" else MAX_FIELD
        if len(value) <= limit:
            return value
        # The end of a traceback has the error.
        return f"...{value[-limit:]}" if key == "error" else f"{value[:limit]}..."
    if isinstance(value, list | tuple):
        return [_bounded(item) if isinstance(item, str) else _described(item) for item in value[:MAX_ITEMS]]
    return _described(value) if isinstance(value, dict) else value


def _encoded(fields: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(fields, default=_described, option=_OPTIONS)
    except orjson.JSONEncodeError:
        # A lone surrogate, or a value that is nested too deep.
        texts = {key: ascii(_described(value)) for key, value in fields.items()}
        return orjson.dumps(texts, option=_OPTIONS)


def _described(value: object) -> str:
    try:
        return str(value)[:MAX_FIELD]
    except RecursionError:
        return type(value).__name__


def _printable(data: bytes) -> bytes:
    """Escape what a terminal would act on: C1 controls, bidirectional marks, DEL and all else that is not printable.

    Only strings have such characters, and there JSON takes an escape in their place.
    """
    if data.isascii() and b"\x7f" not in data:
        return data
    return b"".join(map(_escaped, data.decode().removesuffix("\n"))) + b"\n"


def _escaped(character: str) -> bytes:
    if character.isprintable():
        return character.encode()
    units = character.encode("utf-16-be")
    return b"".join(b"\\u%04x" % int.from_bytes(units[start : start + 2]) for start in range(0, len(units), 2))
