"""A decision and a pod become JSON patch operations (RFC 6902): only `add` and `replace`, against the raw pod.

Applied to its own result it yields nothing. What the user set stays: a variable of the same name, a mount on the
same path, a container of the proxy's name.
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

# The longest path that Linux takes; what is longer cannot be mounted, and need not be kept.
MAX_PATH: Final = 4096
# What a kubelet always mounts read-only, so that nothing can be mounted below it.
READ_ONLY_SOURCES: Final = frozenset({"configMap", "downwardAPI", "image", "projected", "secret"})
# The variables of a container that matter here: those that may be injected, and those that compete with them.
_WATCHED: Final = names.INJECTED_VARIABLES | names.ENV_OTHER_CREDENTIALS
_STANDARD: Final = (names.DOCUMENTED_DIRECTORY, names.V160_DIRECTORY)


@dataclass(frozen=True, slots=True)
class Patch:
    """The operations, in order, and what was noticed while making them."""

    operations: list[JsonObject]
    warnings: list[AdmissionWarning]


def mutate(pod: Pod, decision: Injection, policy: Policy) -> Patch:
    """The patch that carries out `decision`.

    Raises:
        Refusal: MALFORMED_POD, VOLUME_NAME_TAKEN or TOKEN_PATHS_TAKEN.
    """
    injection = _Injection(pod, decision, policy)
    operations: list[JsonObject] = []
    for pointer, container in pod.all_containers():
        if container["name"] in decision.containers:
            operations += injection.into(container, pointer)
    # Containers go in last: until then the pointers above mean the pod as it came.
    operations += _volume_operations(pod, decision, policy)
    operations += _proxy_operations(pod, decision, policy.proxy, injection.standard)
    return Patch(operations, injection.warnings)


class _Injection:
    """What every selected container of one pod gets, worked out once."""

    def __init__(self, pod: Pod, decision: Injection, policy: Policy) -> None:
        self.warnings: list[AdmissionWarning] = []
        self._decision = decision
        self._authority_host = policy.authority_host
        self._read_only_volumes = {volume["name"] for volume in pod.volumes if _is_read_only(volume)}
        self._redirection = fragments.environment_mode_variables(decision.proxy)
        self.standard = self._variables(names.DOCUMENTED_DIRECTORY)

    def into(self, container: JsonObject, pointer: str) -> Iterator[JsonObject]:
        env = maps(container, "env", pointer)
        mounts = maps(container, "volumeMounts", pointer)
        devices = maps(container, "volumeDevices", pointer)
        taken = [*mounts, *({"mountPath": device.get("devicePath")} for device in devices)] if devices else mounts
        directory, missing = self._place(container["name"], taken)
        wanted = self.standard if directory == names.DOCUMENTED_DIRECTORY else self._variables(directory)
        if self._redirection and container["name"] != names.PROXY_CONTAINER:
            wanted = {**wanted, **self._redirection}
        if env:
            present = {name: entry for entry in env if isinstance(name := entry.get("name"), str) and name in _WATCHED}
            self._warn_of_shadows(container["name"], present, wanted)
            kept = set(present)
            if names.ENV_TOKEN_PROXY_CAS & kept:
                # SDKs refuse a CA file beside CA data, so one of the user's stands for both.
                kept |= names.ENV_TOKEN_PROXY_CAS
            wanted = {name: value for name, value in wanted.items() if name not in kept}
        yield from _append(f"{pointer}/env", env, fragments.as_env(wanted))
        yield from _append(f"{pointer}/volumeMounts", mounts, [fragments.mount(path) for path in missing])

    def _variables(self, directory: str) -> Mapping[str, str]:
        decision = self._decision
        return fragments.identity_variables(decision.identity, self._authority_host, directory, decision.endpoint)

    def _place(self, name: str, mounts: list[JsonObject]) -> tuple[str, list[str]]:
        """The directory whose token file the container is told of, and the directories to mount the volume at."""
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
                hit = _in_the_way(path)
                blocked |= hit.always
                if hit.read_only and self._is_read_only_mount(mount):
                    blocked |= hit.read_only
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
    """The path as a kubelet mounts it: from the root, with single slashes and none at the end."""
    return normpath("/" + path.lstrip("/"))


@dataclass(frozen=True, slots=True)
class _Hit:
    """The directories that a mount makes unusable: whatever it is, or when it is read-only."""

    always: frozenset[str]
    read_only: frozenset[str]


@lru_cache(maxsize=1024)
def _in_the_way(mount_path: str) -> _Hit:
    """What a mount at this path does to ours: at or below one it collides, above one it must be writable.

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
    return _Hit(frozenset(always), frozenset(read_only))


def _volume_operations(pod: Pod, decision: Injection, policy: Policy) -> Iterator[JsonObject]:
    proxy_ca = policy.proxy.ca_configmap if decision.proxy else ""
    wanted = fragments.volume(decision.identity, policy.audience, decision.endpoint, proxy_ca)
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
    pod: Pod, decision: Injection, settings: ProxySettings, variables: Mapping[str, str]
) -> Iterator[JsonObject]:
    """Inserts the proxy before everything of the user's, the init container before the proxy."""
    if decision.proxy is None:
        return
    present = pod.container_names
    first: list[JsonObject] = []
    if decision.proxy.mode is ProxyMode.REDIRECT and names.PROXY_INIT_CONTAINER not in present:
        first.append(fragments.proxy_init_container(decision.proxy, settings))
    if names.PROXY_CONTAINER not in present:
        sidecar = fragments.proxy_container(decision.proxy, settings, variables)
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
