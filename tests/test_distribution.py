"""The wheel, built as for the index and installed where nothing else of the project is."""

import os
import re
import subprocess
import sys
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Final

import pytest

from azure_workload_identity import __version__
from scripts.release import krew
from testbed.program import ROOT
from tests.test_project import PYPROJECT

pytestmark = pytest.mark.dist

# No other project of the index installs under these names, but for `webhook` and `certs`, which the project keeps.
TOP_LEVEL: Final = {"azure_workload_identity", "azwi_cli", "certs", "imds_proxy", "webhook"}
IMPORT_ALL: Final = """
import importlib, pkgutil, azwi_cli
for module in pkgutil.walk_packages(azwi_cli.__path__, "azwi_cli."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
import azure.core, azure.identity, httpx, kubernetes, rich  # loaded by a command when it runs
"""
FIND: Final = "import sys, importlib.util as u; print([n for n in sys.argv[1:] if u.find_spec(n)])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the distributions and have twine check them; the wheel."""
    directory = tmp_path_factory.mktemp("dist")
    run("sh", "scripts/dist.sh", str(directory))
    assert len(list(directory.glob("*.tar.gz"))) == 1
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Have the kubectl plugin make its environment of the locked packages and the wheel; its programs."""
    directory = tmp_path_factory.mktemp("environment")
    for name, content in krew.files(wheel, ROOT / "requirements" / "cli.txt", ROOT / "LICENSE").items():
        (directory / name).write_bytes(content)
    (directory / krew.PROGRAM).chmod(0o755)
    link = directory / "bin" / krew.PROGRAM
    link.parent.mkdir()
    link.symlink_to(f"../{krew.PROGRAM}")
    first = run(str(link), "--version", AZWI_PYTHON=sys.executable)
    assert "installing its packages" in first
    assert __version__ in first
    assert "installing" not in run(str(link), "--version")
    programs = directory / "venv" / "bin"
    run(str(programs / "python"), "-m", "pip", "--disable-pip-version-check", "check")
    return programs


def run(*command: str, status: int = 0, **variables: str) -> str:
    """Run a command in the project's folder, with this interpreter for the scripts; what it printed."""
    environ = {**os.environ, "PYTHON": sys.executable, **variables}
    environ.pop("PYTHONPATH", None)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def metadata(wheel: Path) -> Message:
    """The wheel's METADATA."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def test_top_level_names(wheel: Path) -> None:
    """The wheel installs under names that are the project's own, and brings nothing of the tests."""
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert tops == {*TOP_LEVEL, f"azure_workload_identity-{__version__}.dist-info"}


def test_name_and_extras(wheel: Path) -> None:
    """It is not named as another project of the index is; what each program needs beside azwi is an extra."""
    found = metadata(wheel)
    assert (found["Name"], found["Version"]) == ("azure-workload-identity", __version__)
    assert set(found.get_all("Provides-Extra", [])) == {"webhook", "proxy", "image"}
    assert {line.split(",")[0] for line in found.get_all("Project-URL", [])} >= {"Homepage", "Source", "Changelog"}


def test_long_description(wheel: Path) -> None:
    """Every link of the description is absolute, and those into the repository lead to a file of this version."""
    text = str(metadata(wheel).get_payload())
    blob = f"{PYPROJECT['project']['urls']['Source']}/blob/v{__version__}/"
    targets = re.findall(r"\]\(([^)#]+)", text)
    assert targets
    assert not [target for target in targets if not target.startswith("https://")]
    files = [target.removeprefix(blob) for target in targets if target.startswith(blob)]
    assert files
    assert not [name for name in files if not (ROOT / name).exists()]


def test_command_line(environment: Path) -> None:
    """Without an extra azwi runs, with every command that it has, and no part of a server is installed."""
    assert "doctor" in run(str(environment / "azwi"), "--help")
    assert "AZURE_CLIENT_ID" in run(str(environment / "azwi"), "mutate", "-f", "examples/quickstart.yaml")
    run(str(environment / "python"), "-I", "-c", IMPORT_ALL)
    servers = ("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "prometheus_client", "hatchling")
    assert run(str(environment / "python"), "-I", "-c", FIND, *servers, "azwi_cli") == "['azwi_cli']\n"


@pytest.mark.parametrize("extra", ["webhook", "proxy"])
def test_server_without_its_extra(environment: Path, extra: str) -> None:
    """A program whose packages are not installed names the extra that brings them."""
    said = run(str(environment / f"azwi-{extra}"), status=2, AZURE_TENANT_ID="contoso.onmicrosoft.com")
    assert f"pip install 'azure-workload-identity[{extra}]'" in said
    assert "Traceback" not in said
