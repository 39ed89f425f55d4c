"""Writes the page of the set-ups on which `azwi doctor` was tried: `python -m scripts.write_doctor_setups ROWS`.

ROWS is the file of JSON lines that the tests write on a real API server, one for each finding that was gone after its
fix had been run (`make doctor-setups`).
"""

import json
import re
import sys
from pathlib import Path
from typing import Final

from azwi_cli.commands.doctor.findings import Code

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "develop" / "doctor-setups.md"
HEAD: Final = """# Set-ups on which azwi doctor was tried

Each row is a broken set-up on a real API server, made by a test in `tests/cluster/doctor`. The finding was there, its
fix was run in bash as printed, and the doctor was run again. For a fix that no test can run the reason is given; the
test then did what the fix would do. `make doctor-setups` runs the tests and writes this page from their record; flags
that name the test's cluster and its emulated Azure are left out.

| Set-up | Finding | Fix | Afterwards |
|---|---|---|---|
"""
MAX_FIX: Final = 160
_FLAGS: Final = re.compile(r" (?:--arm-endpoint|--subscription-id|--auth-method|--kubeconfig)=\S+")
_PATHS: Final = re.compile(r"/tmp/\S+")  # noqa: S108  of the tests
_NAMES: Final = re.compile(r"\btest-[a-z0-9]{5}\b")


def page(rows: Path) -> str:
    """The page, a row for each set-up, in the order of its findings."""
    found = {(row["code"], row["setup"], row["fix"]): row for row in map(json.loads, rows.read_text().splitlines())}
    missing = {*Code} - {code for code, *_ in found}
    if missing:
        raise SystemExit(f"no test has fixed {', '.join(sorted(missing))}")
    return HEAD + "".join(f"| {' | '.join(_cells(found[key]))} |\n" for key in sorted(found))


def _cells(row: dict[str, str]) -> tuple[str, ...]:
    code, cannot_run = row["code"], row["cannotRun"]
    after = f"gone; the fix was not run: {cannot_run}" if cannot_run else "gone"
    return _setup(row["setup"]), _link(code), f"`{_fix(row['fix'])}`", after


def _link(code: str) -> str:
    return f"[`{code}`](../operate/doctor.md#{code})"


def _setup(test: str) -> str:
    """A test's name as words; its parameter says more, where there is one."""
    name, _, parameter = test.partition("[")
    words = name.removeprefix("test_").replace("_", " ")
    return (
        parameter.removesuffix("]")
        if words in {"broken", "no room"}
        else f"{words}{f': {parameter[:-1]}' if parameter else ''}"
    )


def _fix(command: str) -> str:
    line = _NAMES.sub("NAMESPACE", _PATHS.sub("FILE", _FLAGS.sub("", command))).replace("|", "\\|").replace("`", "'")
    return line if len(line) <= MAX_FIX else line[: MAX_FIX - 3] + "..."


if __name__ == "__main__":
    PAGE.write_text(page(Path(sys.argv[1])))
