"""The manual knows the findings as they are."""

import re

from azwi_cli.commands.doctor.findings import WARNINGS, Code
from azwi_cli.commands.doctor.report import examine
from azwi_cli.commands.doctor.report import text as report
from tests.azwi_cli.commands.doctor.snapshots import CLIENT_ID, account, installation, snapshot
from tests.test_docs import text


def test_findings() -> None:
    """Every code is on the page of the doctor with its severity, and no other."""
    rows = dict(
        re.findall(r"^\| `([a-z-]+)` \| (error|warning) \| .+ \| .+ \|$", text("operate/doctor.md"), re.MULTILINE)
    )
    assert rows == {code: "warning" if code in WARNINGS else "error" for code in Code}


def test_example() -> None:
    """The example on the page is what the doctor prints."""
    misspelt = account("web", {"azure.workload.identity/client_id": CLIENT_ID})
    findings = examine(snapshot(installations=[installation()], accounts={("shop", "web"): misspelt}))
    assert report(findings, []).partition("\n\n")[0] in text("operate/doctor.md")
