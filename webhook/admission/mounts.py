"""Which of a container's own mounts are in the way of the token's, and where it sees the token then."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from webhook.admission.layout import MAX_PATH, Layout, TokenMount, absolute, is_whole
from webhook.admission.reasons import AdmissionWarning, Reason, Refusal, WarningCode, quoted

# Volumes that a kubelet always mounts read-only, so that no mount point can be made below them.
READ_ONLY_SOURCES: Final = frozenset({"configMap", "downwardAPI", "image", "projected", "secret"})
_NONE: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one container sees the token: at `token` for its variable, after the `missing` mounts are added."""

    token: TokenMount
    missing: Sequence[TokenMount]
    warnings: Sequence[AdmissionWarning] = ()


def read_only_volumes(volumes: Iterable[JsonObject]) -> frozenset[str]:
    """The names of the volumes that are always mounted read-only."""
    return frozenset(volume["name"] for volume in volumes if _is_read_only(volume))


def place(name: str, mounts: Sequence[JsonObject], layout: Layout, read_only: AbstractSet[str]) -> Placement:
    """Place the token in the container of that name, whose own mounts and devices are `mounts`.

    `read_only` are the names of the pod's read-only volumes.

    Raises:
        Refusal: TOKEN_PATHS_TAKEN.
    """
    present, blocked = _survey(mounts, layout, read_only) if mounts else (_NONE, _NONE)
    free = [mount for mount in layout.mounts if mount.directory in present or mount.directory not in blocked]
    if layout.preferred in free:
        return Placement(layout.preferred, [mount for mount in free if mount.directory not in present])
    last = layout.fallback.directory
    if not free and (last in present or last not in blocked):
        free = [layout.fallback]
    if not free:
        raise Refusal(
            Reason.TOKEN_PATHS_TAKEN,
            f"container {quoted(name)} has mounts of its own in the way of {_listed(layout)}; "
            f"move one, or name the container in {names.SKIP_CONTAINERS}",
        )
    warning = AdmissionWarning(
        WarningCode.TOKEN_PATH_TAKEN,
        f"container {quoted(name)} has a mount of its own in the way of {layout.preferred.directory}; "
        f"its token is {free[0].token_file}",
    )
    return Placement(free[0], [mount for mount in free if mount.directory not in present], [warning])


def _survey(
    mounts: Sequence[JsonObject], layout: Layout, read_only: AbstractSet[str]
) -> tuple[AbstractSet[str], AbstractSet[str]]:
    """The directories at which the token is mounted already, and those that other mounts block."""
    present: set[str] = set()
    blocked: AbstractSet[str] = _NONE
    volumes = layout.directories_by_volume
    for mount in mounts:
        path, name = mount.get("mountPath"), mount.get("name")
        if not isinstance(path, str):
            continue
        if isinstance(name, str) and name in volumes and is_whole(mount):
            directory = absolute(path[:MAX_PATH])
            if directory in volumes[name]:
                present.add(directory)
                continue
        conflict = layout.conflict(path[:MAX_PATH])
        if conflict.always:
            blocked |= conflict.always
        if conflict.read_only and (mount.get("readOnly") or (isinstance(name, str) and name in read_only)):
            blocked |= conflict.read_only
    return present, blocked


def _listed(layout: Layout) -> str:
    *directories, last = layout.directories
    return f"{', '.join(directories)} and {last}"


def _is_read_only(volume: JsonObject) -> bool:
    return any(
        source in READ_ONLY_SOURCES or (isinstance(detail, dict) and detail.get("readOnly") is True)
        for source, detail in volume.items()
    )
