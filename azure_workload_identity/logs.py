"""JSON logs on standard error, one object a line, with the keys that v1.6.0's logs have."""

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import orjson

# v1.6.0's words, in order of increasing verbosity; unset means warnings only.
LEVELS: Final = {"": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG, "trace": 5, "all": 1}
STANDARD_ERROR: Final = 2


def line(level: int, logger: str, message: str, fields: Mapping[str, object]) -> bytes:
    """One line of the log; what is in it stays in it, line breaks too."""
    head = {
        "level": logging.getLevelName(level).lower(),
        "timestamp": datetime.now(UTC),
        "logger": logger,
        "message": message,
    }
    return orjson.dumps({**head, **fields}, default=str, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)


def write(level: int, logger: str, message: str, fields: Mapping[str, object]) -> None:
    """Write a line at once, without the logging module's records: an admission's line costs a fifth that way."""
    # Whatever becomes of standard error, nothing else fails for it.
    with suppress(OSError):
        os.write(STANDARD_ERROR, line(level, logger, message, fields))


def threshold() -> int:
    """The level below which nothing is written."""
    return logging.getLogger().level


class JsonHandler(logging.Handler):
    """The logging module's records as such lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; a traceback goes into `error`."""
        fields: dict[str, object] = dict(getattr(record, "fields", {}))
        if record.exc_info:
            fields["error"] = logging.Formatter().formatException(record.exc_info)
        write(record.levelno, record.name, record.getMessage(), fields)


def configure(level: str) -> None:
    """Send every logger of the process to standard error, from `level` (a key of LEVELS) on."""
    root = logging.getLogger()
    root.handlers[:] = [JsonHandler()]
    root.setLevel(LEVELS[level])
    # What these say below that (start, stop, each connection, a missing kubeconfig) is said by us, in our words.
    for noisy, least in (("uvicorn", logging.WARNING), ("asyncio", logging.WARNING), ("kubernetes", logging.ERROR)):
        logging.getLogger(noisy).setLevel(least)
