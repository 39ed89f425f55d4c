"""The steps of a release. Everything is made from a clone of one commit; what is not committed is left out."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import yaml

from scripts.release import archive, changelog, krew, links, provenance

CHART: Final = Path("charts") / "workload-identity-webhook"
LOCKS: Final = ("run", "image", "build", "cli", "dist", "sbom")
PLATFORM: Final = "linux-amd64"
# The released policies have a variable for the tenant, as v1.6.0's manifest has.
TENANT: Final = "5f6d5e7c-0d3c-4c8e-9b56-1c1d4f0c7a11"
TENANT_VARIABLE: Final = "${AZURE_TENANT_ID}"


class ReleaseError(Exception):
    """The release cannot be made; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller chose.

    `homepage`, `downloads`, `registry` and `builder` are public addresses. With an empty registry the packaged chart
    has no default for it. `image` is false for a release without the container image.
    """

    version: str
    homepage: str
    downloads: str
    registry: str
    builder: str
    image: bool


@dataclass(frozen=True, slots=True)
class Release:
    """One build: the clone it is made from, the folder it goes to, and the caches of tools beside it."""

    options: Options
    source: Path
    output: Path
    tools: Path
    commit: str
    epoch: int
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_commit(cls, options: Options, repository: Path, scratch: Path, output: Path) -> "Release":
        """Clone the commit that is checked out in a repository.

        Raises:
            ReleaseError: The commit is of another version.
        """
        source = scratch / "source"
        commit = _run("git", "-C", str(repository), "rev-parse", "HEAD").strip()
        _run("git", "clone", "--quiet", "--shared", "--no-checkout", str(repository), str(source))
        _run("git", "-C", str(source), "-c", "advice.detachedHead=false", "checkout", "--quiet", commit)
        epoch = int(_run("git", "-C", str(source), "log", "-1", "--format=%ct"))
        check_versions(source, options.version)
        environment = {
            **os.environ,
            "SOURCE_DATE_EPOCH": str(epoch),
            "PYTHON": sys.executable,
            "PYTHONHASHSEED": "0",
            "TOOLS": str(repository / "build"),
        }
        output.mkdir(parents=True, exist_ok=True)
        return cls(options, source, output, repository / "build", commit, epoch, environment)

    def run(self, *command: str) -> str:
        """Run a command in the clone and return its output."""
        return _run(*command, directory=self.source, environment=self.environment)

    def named(self, suffix: str) -> Path:
        """Return the path of a file of the release that begins with the program's name and version."""
        return self.output / f"azwi-{self.options.version}{suffix}"

    def linked(self, text: str, folder: str = "") -> str:
        """Return a text of a folder of the repository with absolute links to this version of it."""
        return links.absolute(text, folder, f"{self.options.homepage}/blob/v{self.options.version}")

    def build(self) -> None:
        """Make every file. The checksums and the provenance come last, because they are about all others."""
        self.distributions()
        self.chart()
        self.documents()
        self.policies()
        self.plugin()
        if self.options.image:
            self.image()
        self.bill_of_the_command_line()
        self.provenance()

    def distributions(self) -> None:
        """Build the wheel and the source distribution, which know their commit, checked by twine."""
        module = self.source / "azure_workload_identity" / "version.py"
        module.write_text(stamped(module.read_text(), self.commit, self.epoch))
        self.run("sh", "scripts/dist.sh", str(self.output))

    def chart(self) -> None:
        """Package the chart, with the registry as its default and absolute links in its README."""
        page = self.source / CHART / "README.md"
        page.write_text(self.linked(page.read_text(), str(CHART)))
        values = self.source / CHART / "values.yaml"
        if self.options.registry:
            text = values.read_text()
            values.write_text(text.replace('  registry: ""\n', f"  registry: {self.options.registry}\n", 1))
            if yaml.safe_load(values.read_text())["image"]["registry"] != self.options.registry:
                raise ReleaseError(f"{values.name} has no image.registry to set")
        self.run(helm(), "package", str(CHART), "--destination", str(self.output))
        archive.normalize(self.output / f"{CHART.name}-{self.options.version}.tgz", self.epoch)

    def documents(self) -> None:
        """Write the man pages, the JSON schemas and the changelog's section."""
        self.run(sys.executable, "-m", "scripts.write_man", "build/man")
        schemas = self.source / "docs" / "reference" / "schemas"
        for name, folder in (("man", self.source / "build" / "man"), ("schemas", schemas)):
            files = {file.name: file.read_bytes() for file in folder.iterdir()}
            archive.write(self.named(f"-{name}.tar.gz"), files, self.epoch)
        text = changelog.excerpt((self.source / "CHANGELOG.md").read_text(), self.options.version)
        (self.output / "CHANGES.md").write_text(self.linked(text))

    def policies(self) -> None:
        """Write the admission policies that do without a webhook, with a variable for the tenant."""
        image = f"{self.options.registry or 'localhost'}/azwi:{self.options.version}"
        text = _run(
            *(sys.executable, "-m", "azwi_cli", "policy", "--tenant-id", TENANT),
            directory=self.source,
            environment={"PATH": os.environ["PATH"], "PROXY_IMAGE": image},
        )
        if "$" + "{" in text:
            raise ReleaseError("a policy has ${ in it, which envsubst would take for a variable")
        self.named("-policies.yaml").write_text(text.replace(TENANT, TENANT_VARIABLE))

    def plugin(self) -> None:
        """Write the krew plugin's archive and its manifest."""
        (wheel,) = self.output.glob("*.whl")
        packed = self.named("-krew.tar.gz")
        files = krew.files(wheel, self.source / "requirements" / "cli.txt", self.source / "LICENSE")
        archive.write(packed, files, self.epoch, executable=frozenset({krew.PROGRAM}))
        uri = f"{self.options.downloads}/{packed.name}"
        digest = provenance.sha256(packed)
        manifest = krew.manifest(self.options.version, self.options.homepage, uri, digest)
        (self.output / "azwi.yaml").write_text(manifest)

    def image(self) -> None:
        """Build the image, save it as a docker-archive and write its bill of materials."""
        name, file = f"azwi:{self.options.version}", self.named(f"-{PLATFORM}.tar")
        engine = shlex.split(self.environment.get("ENGINE", "")) or [_engine()]
        flags = shlex.split(self.environment.get("FLAGS", ""))
        _run(
            *("sh", "scripts/image.sh", *flags),
            directory=self.source,
            environment={**self.environment, "ENGINE": shlex.join(engine), "IMAGE": name},
        )
        file.unlink(missing_ok=True)
        if Path(engine[0]).name == "buildah":
            self.run(*engine, "push", "--quiet", name, f"docker-archive:{file}:{name}")
        else:
            self.run(*engine, "save", "--output", str(file), name)
        self.run("sh", "scripts/sbom.sh", str(file), str(self.named("-image.cdx.json")))

    def bill_of_the_command_line(self) -> None:
        """Write the bill of materials of the wheel with its locked packages."""
        output = self.named("-cli.cdx.json")
        self.run("sh", "scripts/sbom.sh", "requirements/cli.txt", str(output))

    def provenance(self) -> None:
        """Write the statement about all files, and their checksums and its own."""
        build = provenance.Build(
            version=self.options.version,
            commit=self.commit,
            epoch=self.epoch,
            homepage=self.options.homepage,
            builder=self.options.builder,
            parameters={"registry": self.options.registry, "base": self.environment.get("BASE", "")},
            locks=tuple(self.source / "requirements" / f"{lock}.txt" for lock in LOCKS),
            tools={"python": sys.version.split()[0], "helm": self.run(helm(), "version", "--template={{.Version}}")},
        )
        statement = provenance.statement(build, self.output.iterdir())
        self.named(".intoto.json").write_text(json.dumps(statement, indent=2) + "\n")
        (self.output / "SHA256SUMS").write_text(provenance.checksums(self.output.iterdir()))


def check_versions(source: Path, version: str) -> None:
    """Check that the package and the chart are of the version to release.

    Raises:
        ReleaseError: One is not; the message names it.
    """
    chart = yaml.safe_load((source / CHART / "Chart.yaml").read_text())
    package = (source / "azure_workload_identity" / "__init__.py").read_text()
    found = {
        "azure_workload_identity/__init__.py": package.split('__version__ = "')[1].split('"')[0],
        f"version in {CHART}/Chart.yaml": chart["version"],
        f"appVersion in {CHART}/Chart.yaml": chart["appVersion"],
    }
    if others := [f"{place} is {value}" for place, value in found.items() if value != version]:
        raise ReleaseError(f"this commit is not version {version}: {', '.join(others)}. Change and commit it first.")


def stamped(module: str, commit: str, epoch: int) -> str:
    """Return the text of version.py with the commit and the time of a build.

    Raises:
        ReleaseError: It has no place for them.
    """
    date = f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%dT%H:%M:%SZ}"
    for name, value in (("COMMIT", commit), ("BUILD_DATE", date)):
        before = f'{name}: Final = "unknown"\n'
        if before not in module:
            raise ReleaseError(f"version.py has no {before}")
        module = module.replace(before, f'{name}: Final = "{value}"\n')
    return module


def helm() -> str:
    """Return helm as make cluster-tools brings it, or from PATH.

    Raises:
        ReleaseError: There is none.
    """
    found = shutil.which("helm", path=os.pathsep.join((os.environ.get("KUBEBUILDER_ASSETS", ""), os.environ["PATH"])))
    if found is None:
        raise ReleaseError("helm is needed to package the chart: run make cluster-tools, or install Helm")
    return found


def _engine() -> str:
    found = next((name for name in ("docker", "podman", "buildah") if shutil.which(name)), None)
    if found is None:
        raise ReleaseError("docker, podman or buildah is needed for the image; RELEASE=--no-image leaves it out")
    return found


def _run(*command: str, directory: Path | None = None, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(  # noqa: S603  the project's own scripts and the tools of a build
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ReleaseError(f"{shlex.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout
