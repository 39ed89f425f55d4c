"""JSON logs on standard error, one object a line, with the keys that v1.6.0's logs have."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

import orjson

# v1.6.0's words, in order of increasing verbosity; unset means warnings only.
LEVELS: Final = {"": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG, "trace": 5, "all": 1}


class JsonFormatter(logging.Formatter):
    """A record and its `fields` (extra) as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback goes into `error`, so that a line stays a line."""
        line: dict[str, Any] = {
            "level": record.levelname.lower(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def configure(level: str) -> None:
    """Send every logger of the process to standard error as JSON, from `level` (a key of LEVELS) on."""
    # What no line shows need not be found out for each (Python's logging HOWTO, "Optimization").
    logging._srcfile = None  # noqa: SLF001  the documented switch for it
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    # What these say below that (start, stop, each connection, a missing kubeconfig) is said by us, in our words.
    for noisy, least in (("uvicorn", logging.WARNING), ("asyncio", logging.WARNING), ("kubernetes", logging.ERROR)):
        logging.getLogger(noisy).setLevel(least)
