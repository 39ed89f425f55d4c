"""The manual knows the findings as they are."""

import re

from azwi.doctor.findings import WARNINGS, Code
from tests.test_docs import text


def test_findings() -> None:
    """Every code is on the page of the doctor with its severity, and no other."""
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (error|warning) \| .+ \| .+ \|$", text("doctor.md"), re.MULTILINE))
    assert rows == {code: "warning" if code in WARNINGS else "error" for code in Code}
