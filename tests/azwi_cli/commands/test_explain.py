"""`azwi explain`."""

import subprocess
import sys

from click.testing import CliRunner

from azwi_cli.console import errors
from azwi_cli.explanations import catalogue
from azwi_cli.main import program
from testbed.program import ROOT
from tests.azwi_cli.test_main import azwi
from tests.support.commands import resolved
from tests.support.schemas import follows_schema
from tests.test_docs import text


def test_text() -> None:
    """People read meaning, causes and fix; the manual shows what is printed."""
    done = azwi("explain", "AADSTS700213")
    assert done.exit_code == errors.Status.DONE
    assert done.stdout.startswith("AADSTS700213 (Microsoft Entra, a retry helps for some minutes after a change)\n")
    assert "Most likely causes:\n  1. the pod runs as another ServiceAccount" in done.stdout
    assert f"```\n$ azwi explain AADSTS700213\n{done.stdout}```" in text("use/azwi-explain.md")


def test_json() -> None:
    """Machines get the same, without Markdown."""
    document = follows_schema("explain", azwi("explain", "no-client-id", "--output=json").stdout)
    assert [one["source"] for one in document["explanations"]] == ["warning", "doctor"]
    assert "`" not in str(document)


def test_list() -> None:
    """Without a code all are listed."""
    document = follows_schema("explain", azwi("explain", "-o", "json").stdout)
    assert len(document["explanations"]) == len(catalogue.everything())
    assert "AADSTS700213" in azwi("explain").stdout


def test_stdin() -> None:
    """A log on stdin is searched for codes."""
    done = CliRunner().invoke(program, ["explain", "-"], input="ERROR AADSTS50013: Assertion failed\n")
    assert done.stdout.startswith("AADSTS50013 ")
    done = CliRunner().invoke(program, ["explain", "-"], input="all is well\n")
    assert done.exit_code == errors.Status.USAGE


def test_unknown() -> None:
    """An unknown code is wrong usage, answered with near ones; control characters do not reach the terminal."""
    done = azwi("explain", "AADSTS700214")
    assert done.exit_code == errors.Status.USAGE
    assert "did you mean AADSTS700213" in done.stderr
    assert "\x1b" not in azwi("explain", "\x1b[31mred").stderr


def test_completion() -> None:
    """A shell completes codes, whatever their case."""
    command, _ = resolved(["explain"])
    with command.make_context("explain", [], resilient_parsing=True) as context:
        offered = [item.value for item in command.params[0].shell_complete(context, "aadsts70021")]
    assert offered == ["AADSTS70021", "AADSTS700211", "AADSTS700212", "AADSTS700213", "AADSTS7002131", "AADSTS7002138"]


def test_loads_little() -> None:
    """Neither Azure nor a cluster is loaded for it."""
    code = (
        "import sys; from azwi_cli.main import program; program.main(['explain', '70021'], standalone_mode=False);"
        "print(sorted({'rich', 'kubernetes', 'azure', 'ssl', 'asyncio'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
