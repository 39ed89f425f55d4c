"""The mounts of a container that are in the way of the token's."""

import pytest

from azure_workload_identity import names
from testbed.pods import mounted
from webhook.admission.layout import CACHED_PATHS, NO_CONFLICT, TWO_VOLUMES, MountConflict
from webhook.admission.mounts import Placer

V160, DOCUMENTED, FALLBACK = TWO_VOLUMES.directories
NONE: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("path", "always", "read_only"),
    [
        ("/data", NONE, NONE),
        ("/var/runner", NONE, NONE),
        (DOCUMENTED + "-mine", NONE, NONE),
        (DOCUMENTED, {DOCUMENTED}, NONE),
        (DOCUMENTED + "//sub/", {DOCUMENTED}, NONE),
        ("/run/secrets/azure/wi", {V160}, NONE),
        ("/tmp/../var/run/secrets/azure/wi/token", {V160}, NONE),  # noqa: S108  a path in the container
        (FALLBACK, {FALLBACK}, NONE),
        ("/var/run/secrets/azure", NONE, {V160, DOCUMENTED}),
        ("run", NONE, {V160, DOCUMENTED}),
        ("/", NONE, {V160, DOCUMENTED, FALLBACK}),
        ("", NONE, {V160, DOCUMENTED, FALLBACK}),
    ],
)
def test_conflicts(path: str, always: set[str], read_only: set[str]) -> None:
    """A mount collides at or below a directory of the token; above one it must be writable."""
    assert TWO_VOLUMES.conflict(path) == MountConflict(frozenset(always), frozenset(read_only))


def test_paths_that_are_cached() -> None:
    """However many paths pods come with, only so many are kept."""
    assert all(TWO_VOLUMES.conflict(f"/data/{number}") is NO_CONFLICT for number in range(2 * CACHED_PATHS))
    assert TWO_VOLUMES.conflict.cache_info().currsize == CACHED_PATHS  # type: ignore[attr-defined]  # of lru_cache


def test_the_usual_placement() -> None:
    """A container without a mount in the way gets what most get: both mounts, and the documented path."""
    placer = Placer(TWO_VOLUMES, [], second_token=False)
    assert placer.place("app", []) is placer.place("app", mounted("/data")["volumeMounts"]) is placer.usual
    assert (placer.usual.token, placer.usual.second) == (TWO_VOLUMES.preferred, None)
    assert placer.usual.missing == TWO_VOLUMES.mounts


def test_the_mount_with_the_second_token() -> None:
    """The second token is where its volume is mounted."""
    placer = Placer(TWO_VOLUMES, [], second_token=True)
    assert placer.usual.second is TWO_VOLUMES.mounts[1]
    placement = placer.place("app", mounted(names.DOCUMENTED_DIRECTORY)["volumeMounts"])
    assert (placement.token, placement.second) == (TWO_VOLUMES.mounts[0], TWO_VOLUMES.fallback)
