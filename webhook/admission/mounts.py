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
    """Where one container sees the token, after the `missing` mounts are added.

    AZURE_FEDERATED_TOKEN_FILE names the token at `token`; `second` is the mount with the second token, if there is one.
    """

    token: TokenMount
    missing: Sequence[TokenMount]
    second: TokenMount | None
    warnings: Sequence[AdmissionWarning] = ()


class Placer:
    """Places the token in the containers of one pod; most get the `usual` placement."""

    def __init__(self, layout: Layout, volumes: Iterable[JsonObject], *, second_token: bool) -> None:
        """`volumes` are the pod's own; with a second token each container needs the volume that has it."""
        self._layout = layout
        self._read_only = frozenset(volume["name"] for volume in volumes if _is_read_only(volume))
        self._required = layout.fallback.volume if second_token else ""
        self.usual = Placement(layout.preferred, layout.mounts, self._second(layout.mounts))

    def place(self, name: str, mounts: Sequence[JsonObject]) -> Placement:
        """Place the token in the container of that name, whose own mounts and devices are `mounts`.

        Raises:
            Refusal: TOKEN_PATHS_TAKEN.
        """
        if not mounts:
            return self.usual
        layout = self._layout
        present, blocked = self._survey(mounts)
        if not present and not blocked:
            return self.usual
        free = [mount for mount in layout.mounts if mount.directory in present or mount.directory not in blocked]
        if not free or (self._required and self._second(free) is None):
            if layout.fallback.directory in blocked and layout.fallback.directory not in present:
                raise Refusal(
                    Reason.TOKEN_PATHS_TAKEN,
                    f"container {quoted(name)} has mounts of its own in the way of {_listed(layout)}; "
                    f"move one, or name the container in {names.SKIP_CONTAINERS}",
                )
            free.append(layout.fallback)
        missing = [mount for mount in free if mount.directory not in present]
        if layout.preferred in free:
            return Placement(layout.preferred, missing, self._second(free))
        warning = AdmissionWarning(
            WarningCode.TOKEN_PATH_TAKEN,
            f"container {quoted(name)} has a mount of its own in the way of {layout.preferred.directory}; "
            f"its token is {free[0].token_file}",
        )
        return Placement(free[0], missing, self._second(free), [warning])

    def _second(self, mounts: Iterable[TokenMount]) -> TokenMount | None:
        if not self._required:
            return None
        return next((mount for mount in mounts if mount.volume == self._required), None)

    def _survey(self, mounts: Sequence[JsonObject]) -> tuple[AbstractSet[str], AbstractSet[str]]:
        """The directories at which the token is mounted already, and those that other mounts block."""
        present: set[str] = set()
        blocked: AbstractSet[str] = _NONE
        volumes, conflict_of, read_only = self._layout.directories_by_volume, self._layout.conflict, self._read_only
        for mount in mounts:
            path, name = mount.get("mountPath"), mount.get("name")
            if not isinstance(path, str):
                continue
            if isinstance(name, str) and name in volumes and is_whole(mount):
                directory = absolute(path[:MAX_PATH])
                if directory in volumes[name]:
                    present.add(directory)
                    continue
            conflict = conflict_of(path[:MAX_PATH])
            if conflict.always:
                blocked |= conflict.always
            if conflict.read_only and (mount.get("readOnly") or (isinstance(name, str) and name in read_only)):
                blocked |= conflict.read_only
        return present, blocked


def _listed(layout: Layout) -> str:
    *directories, last = layout.directories
    return f"{', '.join(directories)} and {last}"


def _is_read_only(volume: JsonObject) -> bool:
    return not READ_ONLY_SOURCES.isdisjoint(volume) or any(
        isinstance(detail, dict) and detail.get("readOnly") is True for detail in volume.values()
    )
