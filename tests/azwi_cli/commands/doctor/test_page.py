"""The manual knows the findings as they are."""

import re

from azwi_cli.commands.doctor.checks.check import Group
from azwi_cli.commands.doctor.findings import WARNINGS, Code
from azwi_cli.commands.doctor.text import Style, result_lines
from tests.azwi_cli.commands.doctor.snapshots import CLIENT_ID, account, examine, installation, snapshot
from tests.test_docs import text


def test_findings() -> None:
    """Every code is on the page of the doctor with its severity, and no other."""
    section = r"^### ([a-z-]+)\n\n- \*\*Severity\*\*: (error|warning)$"
    sections = dict(re.findall(section, text("operate/doctor.md"), re.MULTILINE))
    assert sections == {code: "warning" if code in WARNINGS else "error" for code in Code}


def test_example() -> None:
    """The example on the page is what the doctor prints."""
    misspelt = account("web", {"azure.workload.identity/client_id": CLIENT_ID})
    report = examine(snapshot(installations=[installation()], accounts={("shop", "web"): misspelt}))
    of_accounts = [result for result in report.results if result.group is Group.ACCOUNTS]
    assert "\n".join(result_lines(of_accounts, Style())).strip() in text("operate/doctor.md")


def test_setups() -> None:
    """Every finding has a set-up in the table of those on which its fix was tried, and there are more than 40."""
    page = text("develop/doctor-setups.md")
    rows = re.findall(r"^\| .+ \| \[`([a-z-]+)`\]\(.+\) \| `.+` \| gone", page, re.MULTILINE)
    assert len(rows) >= 40
    assert {*rows} == {*Code}
