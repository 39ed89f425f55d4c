"""The files of a release that need no tool to make."""

import gzip
import io
import re
import tarfile
import time
from pathlib import Path
from typing import Final

import pytest
import yaml

from scripts.release import archive, build, changelog, krew, links, provenance
from testbed.program import ROOT

EPOCH: Final = 1_795_797_750
HOMEPAGE: Final = "https://git.example.com/azure-workload-identity"
CHANGELOG: Final = """# Changelog

## [Unreleased]

- three

### Fixed

- four

## [1.1.0] - 2026-11-01

- two

## [1.0.0]

- one
"""


def test_archive_is_reproducible(tmp_path: Path) -> None:
    """The same files make the same bytes, in whatever order they come and whenever they are written."""
    archive.write(tmp_path / "a.tar.gz", {"b": b"2", "a": b"1"}, EPOCH, executable=frozenset({"b"}))
    archive.write(tmp_path / "b.tar.gz", {"a": b"1", "b": b"2"}, EPOCH, executable=frozenset({"b"}))
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        assert [(member.name, member.mode, member.mtime) for member in tar] == [
            ("a", 0o644, EPOCH),
            ("b", 0o755, EPOCH),
        ]


def test_commit_and_date_of_a_build() -> None:
    """A build has its commit and time in version.py; a module without a place for them is an error."""
    module = (ROOT / "azure_workload_identity" / "version.py").read_text()
    stamped = build.stamped(module, "c" * 40, EPOCH)
    assert f'COMMIT: Final = "{"c" * 40}"\nBUILD_DATE: Final = "2026-11-27T16:42:30Z"\n' in stamped
    with pytest.raises(build.ReleaseError, match="has no COMMIT"):
        build.stamped(stamped, "d" * 40, EPOCH)


def test_archive_of_another_tool(tmp_path: Path) -> None:
    """An archive loses the times, owners and order of bytes of the tool that wrote it, and keeps names and contents."""
    written = []
    for owner, when in ((0, int(time.time())), (1000, 1)):
        file = tmp_path / f"{owner}.tgz"
        with gzip.open(file, "wb", compresslevel=1) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
            for name in ("chart/values.yaml", "chart/Chart.yaml"):
                member = tarfile.TarInfo(name)
                member.size, member.uid, member.uname, member.mtime = len(name), owner, str(owner), when
                tar.addfile(member, io.BytesIO(name.encode()))
        archive.normalize(file, EPOCH)
        written.append(file.read_bytes())
        with tarfile.open(file) as tar:
            contents = {member.name: stream.read().decode() for member in tar if (stream := tar.extractfile(member))}
        assert list(contents.items()) == [(name, name) for name in ("chart/values.yaml", "chart/Chart.yaml")]
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("version", "text"), [("1.1.0", "- two\n"), ("1.0.0", "- one\n"), ("1.2.0", "- three\n\n### Fixed\n\n- four\n")]
)
def test_changelog(version: str, text: str) -> None:
    """The excerpt is the version's section, or what is unreleased while the version has none."""
    assert changelog.excerpt(CHANGELOG, version) == text


def test_changelog_without_the_version() -> None:
    """A changelog without a section for the version ends the release with what to add."""
    with pytest.raises(ValueError, match=re.escape("add the heading ## [1.0.0]")):
        changelog.excerpt("# Changelog\n\n## [Unreleased]\n\n## [0.9.0]\n\n- one\n", "1.0.0")


def test_links() -> None:
    """A relative link leads to the repository, whatever folder the text is from; other links stay."""
    text = "[a](../../docs/a.md#b) [c](values.yaml) [d](https://example.com/e) [f](#g)"
    assert links.absolute(text, "charts/one", "R") == (
        "[a](R/docs/a.md#b) [c](R/charts/one/values.yaml) [d](https://example.com/e) [f](#g)"
    )
    assert links.absolute("[a](docs/a.md)", "", "R") == "[a](R/docs/a.md)"


def test_krew_manifest() -> None:
    """The manifest keeps krew's rules for a plugin, and has the archive and its program for every platform."""
    manifest = yaml.safe_load(krew.manifest("0.1.0", HOMEPAGE, f"{HOMEPAGE}/azwi.tar.gz", "0" * 64))
    assert (manifest["apiVersion"], manifest["kind"]) == ("krew.googlecontainertools.github.com/v1alpha2", "Plugin")
    assert manifest["metadata"]["name"] == krew.PROGRAM.removeprefix("kubectl-")
    spec = manifest["spec"]
    assert spec["version"] == "v0.1.0"
    assert len(spec["shortDescription"]) <= 50
    assert not spec["shortDescription"].endswith(".")
    files = [(platform["uri"], platform["sha256"], platform["bin"]) for platform in spec["platforms"]]
    assert files == [(f"{HOMEPAGE}/azwi.tar.gz", "0" * 64, krew.PROGRAM)] * 4
    assert len({tuple(platform["selector"]["matchLabels"].values()) for platform in spec["platforms"]}) == 4


def test_provenance(tmp_path: Path) -> None:
    """The statement names every file by its digest, the commit, the locks and the builder, and no time."""
    for name in ("b.tgz", "a.whl", "run.txt"):
        (tmp_path / name).write_text(name)
    made = provenance.Build(
        version="0.1.0",
        commit="c" * 40,
        epoch=EPOCH,
        homepage=HOMEPAGE,
        builder=f"{HOMEPAGE}/builder",
        parameters={"registry": "registry.example.com"},
        locks=(tmp_path / "run.txt",),
        tools={"python": "3.11.7"},
    )
    statement = provenance.statement(made, [tmp_path / "b.tgz", tmp_path / "a.whl"])
    digest = {"sha256": provenance.sha256(tmp_path / "run.txt")}
    assert [subject["name"] for subject in statement["subject"]] == ["a.whl", "b.tgz"]
    assert statement["subject"][1]["digest"] == {"sha256": provenance.sha256(tmp_path / "b.tgz")}
    definition, run = statement["predicate"]["buildDefinition"], statement["predicate"]["runDetails"]
    assert definition["externalParameters"] == {"version": "0.1.0", "registry": "registry.example.com"}
    assert definition["resolvedDependencies"] == [
        {"uri": f"git+{HOMEPAGE}", "digest": {"gitCommit": "c" * 40}},
        {"name": "requirements/run.txt", "digest": digest},
    ]
    assert run == {"builder": {"id": f"{HOMEPAGE}/builder", "version": {"python": "3.11.7"}}}


def test_version_must_be_the_commits() -> None:
    """A version that the commit is not of is refused, with every place that has another one."""
    with pytest.raises(build.ReleaseError) as refused:
        build.check_versions(ROOT, "99.0.0")
    message = str(refused.value)
    assert "__init__.py is" in message
    assert "version in charts" in message
    assert "appVersion in charts" in message
