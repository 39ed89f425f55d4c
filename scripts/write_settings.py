"""Writes docs/reference/settings.md from the settings themselves: `python -m scripts.write_settings [--check]`."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Final

from azure_workload_identity.durations import written
from webhook.config.settings import SOURCES, Address, Settings

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "reference" / "settings.md"
HEAD: Final = """# Settings

Of a flag and a variable for the same setting the flag wins; an empty variable counts as not set. Flags are written with
one dash or two, as `--flag=value` or `--flag value`. What cannot be used is refused at start, with a sentence that says
what to do, and exit status 2. Made from the code by `make docs`.

| Flag | Variable | Default | Meaning |
|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(f"{_row(name)}\n" for name in SOURCES)


def _row(name: str) -> str:
    source, default = SOURCES[name], Settings.model_fields[name].default
    flag = f"`--{source.flag}`" if source.flag else ""
    variable = f"`{source.env}`" if source.env else ""
    return f"| {flag} | {variable} | {_shown(default)} | {source.help} |"


def _shown(default: object) -> str:
    if default is None or default == "":
        return ""
    if isinstance(default, frozenset | tuple):
        return ", ".join(f"`{item}`" for item in sorted(default))
    if isinstance(default, timedelta):
        return f"`{written(default)}`"
    if isinstance(default, Address):
        return f"`{default.host}:{default.port}`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text() == page() else f"{PAGE} is not what the code says: run make docs")
    PAGE.write_text(page())
