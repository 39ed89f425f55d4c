"""Makes the JSON patch (RFC 6902) of an injection: only `add` and `replace` operations, against the raw pod.

A pod that has been patched gets no second patch. What the user has set stays: a variable of the same name, a mount at
the same path, a container with the proxy's name.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from posixpath import normpath
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from webhook.admission import fragments
from webhook.admission.decision import Injection
from webhook.admission.pod import Pod, maps
from webhook.admission.policy import Policy, ProxySettings
from webhook.admission.proxy import ProxyMode
from webhook.admission.reasons import AdmissionWarning, Reason, Refusal, WarningCode, quoted

# The longest path of Linux: longer ones cannot be mounted, so only this much of them is cached.
MAX_PATH: Final = 4096
# Volumes that a kubelet always mounts read-only, so that no mount point can be made below them.
READ_ONLY_SOURCES: Final = frozenset({"configMap", "downwardAPI", "image", "projected", "secret"})
# The variables of a container that are looked at: those that may be injected, and those that compete with them.
_RELEVANT: Final = names.INJECTED_VARIABLES | names.ENV_OTHER_CREDENTIALS
_STANDARD: Final = (names.DOCUMENTED_DIRECTORY, names.V160_DIRECTORY)


@dataclass(frozen=True, slots=True)
class Patch:
    """The operations, in order, and the warnings about what the pod already has."""

    operations: list[JsonObject]
    warnings: list[AdmissionWarning]


def mutate(pod: Pod, injection: Injection, policy: Policy) -> Patch:
    """Make the patch that gives a pod its injection.

    Raises:
        Refusal: MALFORMED_POD, VOLUME_NAME_TAKEN or TOKEN_PATHS_TAKEN.
    """
    injector = _ContainerInjector(pod, injection, policy)
    operations: list[JsonObject] = []
    for pointer, container in pod.all_containers():
        if container["name"] in injection.containers:
            operations += injector.operations(container, pointer)
    # Containers are added last: until then the pointers above refer to the pod as it came.
    operations += _volume_operations(pod, injection, policy)
    operations += _proxy_operations(pod, injection, policy.proxy, injector.standard)
    return Patch(operations, injector.warnings)


class _ContainerInjector:
    """Makes the operations for the containers of one pod; what they have in common is worked out once."""

    def __init__(self, pod: Pod, injection: Injection, policy: Policy) -> None:
        self.warnings: list[AdmissionWarning] = []
        self._injection = injection
        self._authority_host = policy.authority_host
        self._read_only_volumes = {volume["name"] for volume in pod.volumes if _is_read_only(volume)}
        self._redirection = fragments.environment_mode_variables(injection.proxy)
        self.standard = self._variables(names.DOCUMENTED_DIRECTORY)

    def operations(self, container: JsonObject, pointer: str) -> Iterator[JsonObject]:
        env = maps(container, "env", pointer)
        mounts = maps(container, "volumeMounts", pointer)
        devices = maps(container, "volumeDevices", pointer)
        taken = [*mounts, *({"mountPath": device.get("devicePath")} for device in devices)] if devices else mounts
        directory, missing = self._choose_directory(container["name"], taken)
        wanted = self.standard if directory == names.DOCUMENTED_DIRECTORY else self._variables(directory)
        if self._redirection and container["name"] != names.PROXY_CONTAINER:
            wanted = {**wanted, **self._redirection}
        if env:
            present = {name: entry for entry in env if isinstance(name := entry.get("name"), str) and name in _RELEVANT}
            self._warn_of_shadows(container["name"], present, wanted)
            kept = set(present)
            if names.ENV_TOKEN_PROXY_CAS & kept:
                # SDKs refuse a CA file beside CA data, so the user's one replaces both.
                kept |= names.ENV_TOKEN_PROXY_CAS
            wanted = {name: value for name, value in wanted.items() if name not in kept}
        yield from _append(f"{pointer}/env", env, fragments.as_env(wanted))
        yield from _append(f"{pointer}/volumeMounts", mounts, [fragments.mount(path) for path in missing])

    def _variables(self, directory: str) -> Mapping[str, str]:
        injection = self._injection
        return fragments.identity_variables(injection.identity, self._authority_host, directory, injection.endpoint)

    def _choose_directory(self, name: str, mounts: list[JsonObject]) -> tuple[str, list[str]]:
        """The directory that AZURE_FEDERATED_TOKEN_FILE names, and the directories to mount the volume at."""
        ours: set[str] = set()
        blocked: set[str] = set()
        for mount in mounts:
            path = mount.get("mountPath")
            if not isinstance(path, str):
                continue
            path = path[:MAX_PATH]
            if mount.get("name") == names.VOLUME and "subPath" not in mount and "subPathExpr" not in mount:
                ours.add(_absolute(path))
            else:
                conflict = mount_conflict(path)
                blocked |= conflict.always
                if conflict.read_only and self._is_read_only_mount(mount):
                    blocked |= conflict.read_only
        free = [path for path in _STANDARD if path in ours or path not in blocked]
        if names.DOCUMENTED_DIRECTORY not in free:
            free = free or self._last_resort(name, ours, blocked)
            self.warnings.append(
                AdmissionWarning(
                    WarningCode.TOKEN_PATH_TAKEN,
                    f"container {quoted(name)} has a mount of its own in the way of {names.DOCUMENTED_DIRECTORY}; "
                    f"its token is {fragments.token_file(free[0])}",
                )
            )
        return free[0], [path for path in free if path not in ours]

    @staticmethod
    def _last_resort(name: str, ours: AbstractSet[str], blocked: AbstractSet[str]) -> list[str]:
        if names.FALLBACK_DIRECTORY in ours or names.FALLBACK_DIRECTORY not in blocked:
            return [names.FALLBACK_DIRECTORY]
        raise Refusal(
            Reason.TOKEN_PATHS_TAKEN,
            f"container {quoted(name)} has mounts of its own in the way of {', '.join(_STANDARD)} and "
            f"{names.FALLBACK_DIRECTORY}; move one, or name the container in {names.SKIP_CONTAINERS}",
        )

    def _is_read_only_mount(self, mount: JsonObject) -> bool:
        name = mount.get("name")
        return bool(mount.get("readOnly")) or (isinstance(name, str) and name in self._read_only_volumes)

    def _warn_of_shadows(self, name: str, present: Mapping[str, JsonObject], wanted: Mapping[str, str]) -> None:
        for variable in wanted:
            if variable not in present:
                continue
            value = present[variable].get("value")
            if value == wanted[variable] or (variable == names.ENV_TOKEN_FILE and _is_token_file(value)):
                continue
            self.warnings.append(
                AdmissionWarning(
                    WarningCode.SHADOWED_VARIABLE,
                    f"container {quoted(name)} sets {variable} itself; its value stays and the identity's is not used",
                )
            )
        for variable in sorted(names.ENV_OTHER_CREDENTIALS & present.keys()):
            self.warnings.append(
                AdmissionWarning(
                    WarningCode.OTHER_CREDENTIAL,
                    f"container {quoted(name)} sets {variable}, which DefaultAzureCredential prefers to the identity",
                )
            )


def _absolute(path: str) -> str:
    """The path as a kubelet mounts it: absolute, with single slashes and none at the end."""
    return normpath("/" + path.lstrip("/"))


@dataclass(frozen=True, slots=True)
class MountConflict:
    """The token directories that a mount makes unusable: `always`, or only if the mount is `read_only`."""

    always: frozenset[str]
    read_only: frozenset[str]


@lru_cache(maxsize=1024)
def mount_conflict(mount_path: str) -> MountConflict:
    """The conflict of a mount with ours: at or below a directory it collides, above one it must be writable.

    /var/run is a link to /run in most images, so both spellings of a directory count.
    """
    path = _absolute(mount_path)
    always, read_only = set(), set()
    for directory in (*_STANDARD, names.FALLBACK_DIRECTORY):
        for spelling in (directory, directory.removeprefix("/var")):
            if path == spelling or path.startswith(spelling + "/"):
                always.add(directory)
            elif spelling.startswith(path.rstrip("/") + "/"):
                read_only.add(directory)
    return MountConflict(frozenset(always), frozenset(read_only))


def _volume_operations(pod: Pod, injection: Injection, policy: Policy) -> Iterator[JsonObject]:
    proxy_ca = policy.proxy.ca_configmap if injection.proxy else ""
    wanted = fragments.volume(injection.identity, policy.audience, injection.endpoint, proxy_ca)
    for index, volume in enumerate(pod.volumes):
        if volume["name"] != names.VOLUME:
            continue
        if fragments.has_sources(volume, wanted):
            return
        if not fragments.is_ours(volume):
            raise Refusal(
                Reason.VOLUME_NAME_TAKEN,
                f"the pod has a volume of its own named {names.VOLUME}; give it another name",
            )
        yield {"op": "replace", "path": f"/spec/volumes/{index}", "value": wanted}
        return
    yield from _append("/spec/volumes", pod.volumes, [wanted])


def _proxy_operations(
    pod: Pod, injection: Injection, settings: ProxySettings, variables: Mapping[str, str]
) -> Iterator[JsonObject]:
    """Insert the proxy before the user's containers, and its init container before the proxy."""
    if injection.proxy is None:
        return
    present = pod.container_names
    first: list[JsonObject] = []
    if injection.proxy.mode is ProxyMode.REDIRECT and names.PROXY_INIT_CONTAINER not in present:
        first.append(fragments.proxy_init_container(injection.proxy, settings))
    if names.PROXY_CONTAINER not in present:
        sidecar = fragments.proxy_container(injection.proxy, settings, variables)
        if settings.native:
            first.append(sidecar)
        else:
            yield from _prepend("/spec/containers", pod.containers, [sidecar])
    yield from _prepend("/spec/initContainers", pod.init_containers, first)


def _append(pointer: str, present: list[JsonObject], items: list[JsonObject]) -> Iterator[JsonObject]:
    """`add` to the end of a list, or the whole list where there is none (absent, null or empty)."""
    if not items:
        return
    if present:
        for item in items:
            yield {"op": "add", "path": f"{pointer}/-", "value": item}
    else:
        yield {"op": "add", "path": pointer, "value": items}


def _prepend(pointer: str, present: list[JsonObject], items: list[JsonObject]) -> Iterator[JsonObject]:
    """`add` to the front of a list, keeping the order of `items`, or the whole list where there is none."""
    if not present:
        yield from _append(pointer, present, items)
        return
    for index, item in enumerate(items):
        yield {"op": "add", "path": f"{pointer}/{index}", "value": item}


def _is_token_file(value: object) -> bool:
    return isinstance(value, str) and value in fragments.TOKEN_FILES


def _is_read_only(volume: JsonObject) -> bool:
    return any(
        source in READ_ONLY_SOURCES or (isinstance(detail, dict) and detail.get("readOnly") is True)
        for source, detail in volume.items()
    )
