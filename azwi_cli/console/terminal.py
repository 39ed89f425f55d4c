"""What the terminal can show: colour, columns, characters."""

import os
import shutil
import sys
from typing import TextIO


def coloured(stream: TextIO) -> bool:
    """Whether colour is wanted there: a terminal, and neither NO_COLOR (https://no-color.org) nor a dumb one."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width(stream: TextIO) -> int:
    """The columns of a terminal, 0 where there is none."""
    return shutil.get_terminal_size().columns if stream.isatty() else 0


def is_ascii() -> bool:
    """Whether stdout can show ASCII only."""
    try:
        "\N{SQUARE ROOT}".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False
