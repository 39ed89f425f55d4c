"""The Dockerfile and the files it uses, without building anything."""

import ast
import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from azure_workload_identity import __version__, names
from scripts import image_report, image_root
from scripts.image_report import PACKAGES
from testbed.program import ROOT

DOCKERFILE: Final = (ROOT / "Dockerfile").read_text()
# One instruction a line: comments out, continued lines joined.
LINES: Final = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.MULTILINE)).splitlines()
INSTRUCTIONS: Final = [tuple(line.split(maxsplit=1)) for line in LINES if line.strip()]


def arguments(instruction: str) -> list[str]:
    """The arguments of every use of an instruction."""
    return [rest for name, rest in INSTRUCTIONS if name == instruction]


def locked(lock: str) -> set[str]:
    """The packages of a lock, with versions and markers."""
    return set(re.findall(r"^[a-zA-Z0-9][^\\\n]*", (ROOT / "requirements" / f"{lock}.txt").read_text(), re.MULTILINE))


def test_bases() -> None:
    """Bases are the two arguments, of a named release; the last stage begins with nothing."""
    assert arguments("ARG")[:2] == ["BASE=debian:trixie-slim", "BUILD_BASE=${BASE}"]
    stages = [re.split(r" AS ", rest)[0] for rest in arguments("FROM")]
    assert stages == ["${BASE}", "${BUILD_BASE}", "libraries", "scratch"]


def test_user() -> None:
    """The user is a number, so that runAsNonRoot can be checked, and set after everything is in place."""
    assert arguments("USER") == ["65532:65532"]
    assert [name for name, _ in INSTRUCTIONS[-3:]] == ["USER", "EXPOSE", "ENTRYPOINT"]


def test_no_risky_instruction() -> None:
    """Nothing is added from elsewhere, run at a later build or in a shell of choice, and there is no HEALTHCHECK."""
    assert {name for name, _ in INSTRUCTIONS} == {
        *("ARG", "FROM", "RUN", "COPY", "ENV", "LABEL", "USER", "EXPOSE", "ENTRYPOINT")
    }
    assert "No HEALTHCHECK, on purpose" in DOCKERFILE
    assert all(rest.startswith("[") for rest in arguments("ENTRYPOINT"))


def test_packages_are_locked() -> None:
    """Every pip call takes a hashed lock and ready wheels, or nothing from outside at all."""
    calls = re.findall(r"/build/bin/pip[^&]*", "&".join(arguments("RUN")))
    assert len(calls) == 4
    for call in calls:
        assert "--require-hashes --only-binary :all:" in call or "--no-index" in call


def test_no_secret() -> None:
    """The index settings of pip are mounted for one step, never an argument, a variable or a copy."""
    assert not [
        rest for rest in arguments("ARG") + arguments("ENV") if re.search("(?i)token|password|index|secret", rest)
    ]
    assert not re.search(r"https?://", " ".join(rest for _, rest in INSTRUCTIONS))
    mounted = [rest for rest in arguments("RUN") if "--requirement" in rest]
    assert all("--mount=type=secret,id=pip,target=/etc/pip.conf" in rest for rest in mounted)


def test_copied_files_are_in_the_context() -> None:
    """Everything that is copied exists and passes .dockerignore."""
    copied = {word for rest in arguments("COPY") if "--from" not in rest for word in rest.split()[:-1]}
    allowed = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert copied == allowed
    assert not [name for name in copied if not (ROOT / name).exists()]
    assert set(PACKAGES) <= copied


@pytest.mark.parametrize("package", PACKAGES)
def test_layer_of_the_program(package: str) -> None:
    """The table of sizes counts every package of the wheel as this project's."""
    assert image_report.layer_of(f"opt/azwi/lib/python3.13/site-packages/{package}/__init__.py") == "program"


def test_version() -> None:
    """The version that a bare build gets is the project's."""
    assert f"VERSION={__version__}" in arguments("ARG")


def test_names_of_v160() -> None:
    """The programs have the absolute names that v1.6.0's chart and the injected containers use."""
    links = re.findall(r"ln -s (\S+) /program(\S+)", DOCKERFILE)
    assert links == [("opt/azwi/bin/azwi-webhook", "/manager"), ("opt/azwi/bin/azwi-proxy", names.PROXY_PROGRAM)]


def test_accounts() -> None:
    """The image knows its own user and the proxy's by name."""
    uids = {int(line.split(":")[2]) for line in image_root.ACCOUNTS["etc/passwd"].splitlines()}
    assert uids == {0, names.PROXY_UID, 65532}


def test_locks() -> None:
    """The image has the tested versions: its two locks together are run.txt."""
    assert locked("image") | locked("build") == locked("run")
    assert locked("cli") < locked("image")
    assert not {re.split("==", package)[0] for package in locked("image")} & {"hatchling", "editables", "pip"}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_generated_kubernetes_class(package: str) -> None:
    """Nobody imports the API and model classes of the Kubernetes client: the image leaves them out."""
    files, found = list((ROOT / package).rglob("*.py")), []
    for file in files:
        found += [
            f"{file}: {name}"
            for name in imported(file)
            if re.search(r"kubernetes.*\.(?:api|models|\w+Api|V\d\w+)\b", name)
        ]
    assert files
    assert found == []


def imported(file: Path) -> list[str]:
    """Everything that a module imports, by its full name."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def test_closure() -> None:
    """Of alternatives the installed one is taken, of virtual packages the provider, and no installer."""
    depends = {
        "app": {"one", "other", "virtual", "dpkg"},
        "other": {"deep"},
        "deep": set(),
        "real": set(),
        "dpkg": set(),
    }
    assert image_root.closure(["app"], depends, {"virtual": "real"}) == ["app", "deep", "other", "real"]


def test_image_script_without_a_builder(tmp_path: Path) -> None:
    """Where no builder is installed, make image says what to install."""
    (tmp_path / "dirname").symlink_to("/usr/bin/dirname")
    script = ROOT / "scripts" / "image.sh"
    done = subprocess.run(["/bin/sh", script], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "docker, podman or buildah is needed" in done.stderr


def test_sbom_without_an_image() -> None:
    """Make sbom says how to get the file that it reads."""
    script = ROOT / "scripts" / "sbom.sh"
    done = subprocess.run(["/bin/sh", script, "", "x"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "make sbom ARCHIVE=" in done.stderr
