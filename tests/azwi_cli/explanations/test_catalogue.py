"""Every code that a user can meet is explained, and found by what the user has of it."""

import re
import subprocess
import sys

import pytest

from azure_workload_identity.entra import MEANINGS
from azwi_cli.commands.doctor.findings import WARNINGS, Code, link
from azwi_cli.console import manual
from azwi_cli.explanations import catalogue, decisions
from azwi_cli.explanations.explanation import Explanation, Source
from azwi_cli.explanations.findings import FINDINGS
from testbed.program import ROOT
from tests.support.commands import azwi_commands, flags, given, resolved
from tests.test_docs import text
from webhook.admission.reasons import AdmissionWarning, Reason, WarningCode

# Nothing is wrong.
WITHOUT_CAUSE = {Reason.INJECTED, Reason.ALREADY_INJECTED, Reason.NOT_CREATE}


def of(source: Source) -> list[Explanation]:
    """Return the explanations of a source."""
    return [one for one in catalogue.everything() if one.source is source]


def test_every_code() -> None:
    """Each code of Entra, the webhook and the doctor has one explanation, and nothing else has one."""
    assert [one.code for one in of(Source.ENTRA)] == [f"AADSTS{code}" for code in sorted(MEANINGS)]
    assert {one.code for one in of(Source.WARNING)} == {*WarningCode}
    assert {row.code for row in decisions.REASONS if row.note != "error"} == {*Reason}
    assert {row.code: row.severity for row in FINDINGS} == {
        code: "warning" if code in WARNINGS else "error" for code in Code
    }
    keys = [(one.code, one.source) for one in catalogue.everything()]
    assert len(keys) == len(set(keys))


def test_causes_and_fix() -> None:
    """What can go wrong has causes and a fix."""
    lacking = {one.code for one in catalogue.everything() if not (one.causes and one.fix)}
    assert lacking == WITHOUT_CAUSE


def test_each_stands_alone() -> None:
    """No explanation refers to another by its place: `azwi explain` prints one."""
    for one in catalogue.everything():
        assert not re.match(r"(it|they)\b", one.meaning), one.code
        assert not [text for text in (one.meaning, *one.causes, *one.fix) if re.search(r"\bas (above|below)\b", text)]


def test_links() -> None:
    """Each leads to a section of its own in the manual, with symptom, cause and fix; the doctor's to what it prints."""
    for one in catalogue.everything():
        page, _, anchor = one.page.removeprefix(f"{manual.MANUAL}/").partition("#")
        (section,) = re.findall(rf"^### {anchor}\n(.*?)(?=^#|\Z)", text(page), re.MULTILINE | re.DOTALL | re.IGNORECASE)
        needed = {"Symptom"} if one.code in WITHOUT_CAUSE else {"Symptom", "Cause", "Fix"}
        assert needed <= set(re.findall(r"^- \*\*(\w+)\*\*:", section, re.MULTILINE)), one.page
    assert {one.page for one in of(Source.DOCTOR)} == {link(code) for code in Code}


def test_pages() -> None:
    """The manual's lists are the ones that the explanations make."""
    command = [sys.executable, "-m", "scripts.write_explanations", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_commands() -> None:
    """Every command of azwi that a fix names is one, with flags that it has."""
    quoted = [part for one in catalogue.everything() for fix in one.fix for part in fix.split("`")[1::2]]
    commands = [arguments for line in quoted for arguments in azwi_commands(line)]
    assert ["doctor", "--pre"] in commands
    for arguments in commands:
        command, rest = resolved(arguments)
        assert given(rest) <= flags(command), arguments


@pytest.mark.parametrize(
    "given_text",
    [
        "AADSTS700213",
        "aadsts700213",
        "700213",
        "AADSTS700213:",
        "azure.core.exceptions.ClientAuthenticationError: AADSTS700213: No matching federated identity record found",
    ],
)
def test_found(given_text: str) -> None:
    """A code of Entra is found in any case, by its number, and in the message of an SDK."""
    assert [one.code for one in catalogue.find(given_text)] == ["AADSTS700213"]


def test_found_in_a_warning() -> None:
    """The warning that kubectl prints leads to its code, as a warning and as a finding."""
    warning = str(AdmissionWarning(WarningCode.NEAR_MISS, "client_id is ignored"))
    assert {one.source for one in catalogue.find(warning)} == {Source.WARNING, Source.DOCTOR}


def test_found_in_order() -> None:
    """The codes of a text come in its order, each once."""
    found = catalogue.find("AADSTS70021 then AADSTS50013, then (no-containers), again AADSTS70021")
    assert [one.code for one in found] == ["AADSTS70021", "AADSTS50013", "no-containers"]


@pytest.mark.parametrize("given_text", ["", " ", "AADSTS", "12", "no such thing", "\x00" * 100, "AADSTS99999999"])
def test_not_found(given_text: str) -> None:
    """What has no known code finds nothing."""
    assert catalogue.find(given_text) == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("AADSTS700214", "AADSTS700213"), ("700214", "AADSTS700213"), ("no-clientid", "no-client-id")],
)
def test_similar(typed: str, meant: str) -> None:
    """A wrong code leads to near ones."""
    assert meant in catalogue.similar(typed)
