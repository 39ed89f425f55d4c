"""The provenance of a release: an in-toto statement with SLSA's v1 predicate, not signed by itself.

It has the commit, the locks, the parameters and the tools, and no times, so that a second build of the same commit
writes the same statement.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from azure_workload_identity.types import JsonObject

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"


@dataclass(frozen=True, slots=True)
class Build:
    """What a build was given.

    `homepage` is the public address of the repository, `builder` the URI of whoever ran the build, `parameters` the
    caller's, `locks` the files that pin every package, `tools` the version of each tool by name.
    """

    version: str
    commit: str
    epoch: int
    homepage: str
    builder: str
    parameters: Mapping[str, str]
    locks: tuple[Path, ...]
    tools: Mapping[str, str]


def statement(build: Build, subjects: Iterable[Path]) -> JsonObject:
    """Return the statement about files, which are named without their folder."""
    dependencies: list[JsonObject] = [{"uri": f"git+{build.homepage}", "digest": {"gitCommit": build.commit}}]
    dependencies += [{"name": f"requirements/{lock.name}", "digest": {"sha256": sha256(lock)}} for lock in build.locks]
    return {
        "_type": STATEMENT,
        "subject": [{"name": file.name, "digest": {"sha256": sha256(file)}} for file in sorted(subjects)],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": f"{build.homepage}/blob/v{build.version}/docs/develop/release.md",
                "externalParameters": {"version": build.version, **build.parameters},
                "internalParameters": {"SOURCE_DATE_EPOCH": build.epoch},
                "resolvedDependencies": dependencies,
            },
            "runDetails": {"builder": {"id": build.builder, "version": dict(build.tools)}},
        },
    }


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def checksums(files: Iterable[Path]) -> str:
    """Return the lines that `sha256sum --check` reads."""
    return "".join(f"{sha256(file)}  {file.name}\n" for file in sorted(files))
