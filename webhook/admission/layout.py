"""Where a pod has its token: in which volumes, and where its containers mount them.

A pod that has a layout already keeps it: one of a former version of this webhook, and one of v1.6.0 or v1.6.1 where
that webhook came first.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from posixpath import dirname, normpath
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from webhook.admission.pod import Pod, maps

# The longest path of Linux: longer ones cannot be mounted, so only this much of them is looked at.
MAX_PATH: Final = 4096
CACHED_PATHS: Final = 1024


@dataclass(frozen=True, slots=True)
class TokenMount:
    """A volume at a directory; `token` is the path of the token inside the volume."""

    volume: str
    directory: str
    token: str

    @property
    def token_file(self) -> str:
        """The token's path in the container."""
        return f"{self.directory}/{self.token}"


@dataclass(frozen=True, slots=True)
class TokenVolume:
    """A volume that the pod must have; one that is not `extended` has nothing that v1.6.0's does not have."""

    name: str
    tokens: tuple[str, ...]
    extended: bool


@dataclass(frozen=True, slots=True)
class MountConflict:
    """The token directories that a mount makes unusable: `always`, or only if the mount is `read_only`."""

    always: frozenset[str]
    read_only: frozenset[str]


_NONE: Final[frozenset[str]] = frozenset()
NO_CONFLICT: Final = MountConflict(_NONE, _NONE)


@dataclass(frozen=True)
class Layout:
    """The mounts of a container, in order, and the volumes that they need.

    AZURE_FEDERATED_TOKEN_FILE names the token of `preferred` unless a mount of the container's own is in its way. A
    container that has no room for any of the mounts gets `fallback`. Where a volume is extended, it is the fallback's.
    """

    mounts: tuple[TokenMount, ...]
    preferred: TokenMount
    fallback: TokenMount
    volumes: tuple[TokenVolume, ...]

    @cached_property
    def directories(self) -> tuple[str, ...]:
        """The directories of all mounts, the fallback's last."""
        return (*(mount.directory for mount in self.mounts), self.fallback.directory)

    @cached_property
    def token_files(self) -> tuple[str, ...]:
        """The paths at which a container may find the token."""
        return (*(mount.token_file for mount in self.mounts), self.fallback.token_file)

    @cached_property
    def directories_by_volume(self) -> Mapping[str, AbstractSet[str]]:
        """The directories at which a volume may be, the fallback's among them."""
        found: dict[str, set[str]] = {}
        for mount in (*self.mounts, self.fallback):
            found.setdefault(mount.volume, set()).add(mount.directory)
        return found

    @cached_property
    def conflict(self) -> Callable[[str], MountConflict]:
        """Find the conflict of a mount path with these directories; results are cached.

        /var/run is a link to /run in most images, so both spellings of a directory count.
        """
        spellings = {
            f"{spelling}/": directory
            for directory in self.directories
            for spelling in (directory, directory.removeprefix("/var"))
        }
        parents: dict[str, set[str]] = {}
        for spelling, directory in spellings.items():
            parent = spelling.rstrip("/")
            while parent != "/":
                parent = dirname(parent)
                parents.setdefault(parent, set()).add(directory)
        frozen = {parent: frozenset(below) for parent, below in parents.items()}
        return lru_cache(maxsize=CACHED_PATHS)(partial(mount_conflict, spellings, frozen))


def mount_conflict(
    spellings: Mapping[str, str], parents: Mapping[str, frozenset[str]], mount_path: str
) -> MountConflict:
    """The conflict of a mount with the token's: at or below a directory it collides, above one it must be writable.

    `spellings` are directories by the paths that lead to them, `parents` the directories below a path.
    """
    path = absolute(mount_path)
    above = parents.get(path)
    if above is not None:
        return MountConflict(_NONE, above)
    inside = path + "/"
    if not inside.startswith(tuple(spellings)):
        return NO_CONFLICT
    return MountConflict(frozenset(spellings[prefix] for prefix in spellings if inside.startswith(prefix)), _NONE)


_V160: Final = TokenMount(names.VOLUME, names.V160_DIRECTORY, names.V160_TOKEN_FILE)
_DOCUMENTED: Final = TokenMount(names.DOCUMENTED_VOLUME, names.DOCUMENTED_DIRECTORY, names.TOKEN_FILE)
_DOCUMENTED_VOLUME: Final = TokenVolume(names.DOCUMENTED_VOLUME, (names.TOKEN_FILE,), extended=True)

# v1.6.0's volume to the letter, first and at its path, as its users' policies and tests expect; a second volume has the
# token at the path that Azure documents. Both share an entry of the kubelet's token cache, by audience and expiration.
TWO_VOLUMES: Final = Layout(
    mounts=(_V160, _DOCUMENTED),
    preferred=_DOCUMENTED,
    fallback=replace(_DOCUMENTED, directory=names.FALLBACK_DIRECTORY),
    volumes=(TokenVolume(names.VOLUME, (names.V160_TOKEN_FILE,), extended=False), _DOCUMENTED_VOLUME),
)
_OLD_DOCUMENTED: Final = TokenMount(names.VOLUME, names.DOCUMENTED_DIRECTORY, names.TOKEN_FILE)
# The layout of former versions of this webhook.
ONE_VOLUME: Final = Layout(
    mounts=(_OLD_DOCUMENTED, _V160),
    preferred=_OLD_DOCUMENTED,
    fallback=replace(_OLD_DOCUMENTED, directory=names.FALLBACK_DIRECTORY),
    volumes=(TokenVolume(names.VOLUME, (names.TOKEN_FILE, names.V160_TOKEN_FILE), extended=True),),
)


def layout_of(pod: Pod, *, extended: bool) -> Layout:
    """The layout of a pod; `extended`: it needs files that v1.6.0's volume does not have."""
    of_upstream = ""
    for volume in pod.volumes:
        name = volume["name"]
        if name == names.VOLUME:
            return ONE_VOLUME if _has_token(volume, names.TOKEN_FILE) else TWO_VOLUMES
        if name.startswith(names.VOLUME_PREFIX) and _has_token(volume, names.V160_TOKEN_FILE):
            of_upstream = name
    return _upstream(pod, of_upstream, extended=extended) if of_upstream else TWO_VOLUMES


def absolute(path: str) -> str:
    """The path as a kubelet mounts it: absolute, with single slashes and none at the end."""
    return normpath("/" + path.lstrip("/"))


def is_whole(mount: JsonObject) -> bool:
    """Whether a mount shows its whole volume, not a part of it."""
    return "subPath" not in mount and "subPathExpr" not in mount


def _upstream(pod: Pod, volume: str, *, extended: bool) -> Layout:
    """The layout of a pod into which v1.6.0 or v1.6.1 has put a volume of this name."""
    mount = TokenMount(volume, _upstream_directory(pod, volume), names.V160_TOKEN_FILE)
    return Layout(
        mounts=(mount, _DOCUMENTED) if extended else (mount,),
        preferred=mount,
        fallback=replace(_DOCUMENTED if extended else mount, directory=names.FALLBACK_DIRECTORY),
        volumes=(_DOCUMENTED_VOLUME,) if extended else (),
    )


def _upstream_directory(pod: Pod, volume: str) -> str:
    """v1.6.0's directory, or the one below it that v1.6.1 names after a hash."""
    for pointer, container in pod.all_containers():
        for mount in maps(container, "volumeMounts", pointer):
            path = mount.get("mountPath")
            if mount.get("name") == volume and isinstance(path, str) and is_whole(mount):
                directory = absolute(path[:MAX_PATH])
                if directory.startswith(names.V160_DIRECTORY + "/"):
                    return directory
    return names.V160_DIRECTORY


def _has_token(volume: JsonObject, path: str) -> bool:
    projected = volume.get("projected")
    sources = projected.get("sources") if isinstance(projected, dict) else None
    return isinstance(sources, list) and any(_token_path(source) == path for source in sources)


def _token_path(source: object) -> object:
    token = source.get("serviceAccountToken") if isinstance(source, dict) else None
    return token.get("path") if isinstance(token, dict) else None
