"""Makes the JSON patch (RFC 6902) of an injection: only `add` and `replace` operations, against the raw pod.

A pod that has been patched gets no second patch. What the user has set stays: a variable of the same name, a mount at
the same path, a container with the proxy's name.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from webhook.admission import fragments
from webhook.admission.decision import Injection
from webhook.admission.layout import Layout, layout_of
from webhook.admission.mounts import Placement, Placer
from webhook.admission.pod import Pod, maps, size
from webhook.admission.policy import Policy, ProxySettings
from webhook.admission.proxy import ProxyMode
from webhook.admission.reasons import AdmissionWarning, Reason, Refusal, WarningCode, quoted

# The variables of a container that are looked at: those that may be injected, and those that compete with them.
RELEVANT: Final = names.INJECTED_VARIABLES | names.ENV_OTHER_CREDENTIALS | {names.ENV_TOKEN_CREDENTIALS}
# The values of AZURE_TOKEN_CREDENTIALS with which DefaultAzureCredential still uses the identity; case does not count.
WITH_IDENTITY: Final = frozenset({"", "prod", "workloadidentitycredential"})
WITH_PROXY: Final = WITH_IDENTITY | {"managedidentitycredential"}
# The API server has no such limits. A node starts no pod that comes near to them, and the time for a pod stays small.
MAX_MOUNTS: Final = 5_000
MAX_VARIABLES: Final = 50_000


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
    proxy_ca = policy.proxy.ca_configmap if injection.proxy else ""
    layout = layout_of(pod, extended=bool(proxy_ca or injection.second_audience))
    injector = _ContainerInjector(pod, injection, policy, layout)
    operations: list[JsonObject] = []
    for pointer, container in pod.all_containers():
        if container["name"] in injection.containers:
            operations += injector.operations(container, pointer)
    # Containers are added last: until then the pointers above refer to the pod as it came.
    operations += _volume_operations(
        pod,
        [
            fragments.volume(
                volume, injection.identity, policy.audience, injection.endpoint, proxy_ca, injection.second_audience
            )
            for volume in layout.volumes
        ],
    )
    operations += _proxy_operations(pod, injection, policy.proxy, injector.standard, layout)
    return Patch(operations, injector.warnings)


class _ContainerInjector:
    """Makes the operations for the containers of one pod; what they have in common is worked out once."""

    def __init__(self, pod: Pod, injection: Injection, policy: Policy, layout: Layout) -> None:
        self.warnings: list[AdmissionWarning] = []
        self._injection = injection
        self._authority_host = policy.authority_host
        self._layout = layout
        self._placer = Placer(layout, pod.volumes, second_token=bool(injection.second_audience))
        self._redirection = fragments.environment_mode_variables(injection.proxy)
        self.standard = self._variables(self._placer.usual)
        self._mounts = self._variable_count = 0

    def operations(self, container: JsonObject, pointer: str) -> list[JsonObject]:
        """Make the operations for one container."""
        self._count(size(container, "volumeMounts") + size(container, "volumeDevices"), size(container, "env"))
        env = maps(container, "env", pointer)
        mounts = maps(container, "volumeMounts", pointer)
        devices = maps(container, "volumeDevices", pointer)
        taken = [*mounts, *({"mountPath": device.get("devicePath")} for device in devices)] if devices else mounts
        placement = self._placer.place(container["name"], taken)
        self.warnings += placement.warnings
        wanted = self.standard if placement is self._placer.usual else self._variables(placement)
        if self._redirection and container["name"] != names.PROXY_CONTAINER:
            wanted = {**wanted, **self._redirection}
        present = {name: entry for entry in env if isinstance(name := entry.get("name"), str) and name in RELEVANT}
        if present:
            self._warn_of_doubles(container["name"], env, present)
            self._warn_of_shadows(container["name"], present, wanted)
            self._warn_of_token_credentials(container["name"], present.get(names.ENV_TOKEN_CREDENTIALS))
            kept = set(present)
            if names.ENV_TOKEN_PROXY_CAS & kept:
                # SDKs refuse a CA file beside CA data, so the user's one replaces both.
                kept |= names.ENV_TOKEN_PROXY_CAS
            wanted = {name: value for name, value in wanted.items() if name not in kept}
        missing = [fragments.mount(token) for token in placement.missing]
        # Variables first, since Kubernetes expands $(AZURE_CLIENT_ID) only in those that come after it.
        return [
            *_prepend(f"{pointer}/env", env, fragments.as_env(wanted)),
            *_append(f"{pointer}/volumeMounts", mounts, missing),
        ]

    def _count(self, mounts: int, variables: int) -> None:
        self._mounts += mounts
        self._variable_count += variables
        if self._mounts > MAX_MOUNTS:
            raise Refusal(Reason.TOO_MANY_MOUNTS, f"the pod's containers have more than {MAX_MOUNTS} mounts")
        if self._variable_count > MAX_VARIABLES:
            raise Refusal(Reason.TOO_MANY_VARIABLES, f"the pod's containers have more than {MAX_VARIABLES} variables")

    def _variables(self, placement: Placement) -> Mapping[str, str]:
        injection = self._injection
        return fragments.identity_variables(
            injection.identity, self._authority_host, placement.token, injection.endpoint, placement.second
        )

    def _warn_of_doubles(self, name: str, env: list[JsonObject], present: Mapping[str, JsonObject]) -> None:
        """Warn of variables that are set again to something else; as in Kubernetes the last entry counts."""
        doubled = {
            variable
            for entry in env
            if isinstance(variable := entry.get("name"), str) and entry != present.get(variable, entry)
        }
        for variable in sorted(doubled):
            self.warnings.append(
                AdmissionWarning(
                    WarningCode.DOUBLED_VARIABLE,
                    f"container {quoted(name)} sets {variable} more than once; the last entry counts",
                )
            )

    def _warn_of_shadows(self, name: str, present: Mapping[str, JsonObject], wanted: Mapping[str, str]) -> None:
        for variable in wanted:
            if variable not in present:
                continue
            value = present[variable].get("value")
            if value == wanted[variable] or (variable == names.ENV_TOKEN_FILE and value in self._layout.token_files):
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

    def _warn_of_token_credentials(self, name: str, entry: JsonObject | None) -> None:
        value = entry.get("value") if entry else None
        allowed = WITH_PROXY if self._injection.proxy else WITH_IDENTITY
        if isinstance(value, str) and value.strip().lower() not in allowed:
            self.warnings.append(
                AdmissionWarning(
                    WarningCode.TOKEN_CREDENTIALS,
                    f"container {quoted(name)} sets {names.ENV_TOKEN_CREDENTIALS} to {quoted(value)}, with which "
                    "DefaultAzureCredential does not use the identity; remove it, or set WorkloadIdentityCredential",
                )
            )


def _volume_operations(pod: Pod, wanted: list[JsonObject]) -> Iterator[JsonObject]:
    """Add the volumes that are missing, and update those that were injected under other settings."""
    missing = {volume["name"]: volume for volume in wanted}
    for index, volume in enumerate(pod.volumes):
        injected = missing.pop(volume["name"], None)
        if injected is None or fragments.has_sources(volume, injected):
            continue
        if not fragments.is_ours(volume):
            raise Refusal(
                Reason.VOLUME_NAME_TAKEN,
                f"the pod has a volume of its own named {volume['name']}; give it another name",
            )
        yield {"op": "replace", "path": f"/spec/volumes/{index}", "value": injected}
    yield from _append("/spec/volumes", pod.volumes, list(missing.values()))


def _proxy_operations(
    pod: Pod, injection: Injection, settings: ProxySettings, variables: Mapping[str, str], layout: Layout
) -> Iterator[JsonObject]:
    """Insert the proxy before the user's containers, and its init container before the proxy."""
    if injection.proxy is None:
        return
    present = pod.container_names
    first: list[JsonObject] = []
    if injection.proxy.mode is ProxyMode.REDIRECT and names.PROXY_INIT_CONTAINER not in present:
        first.append(fragments.proxy_init_container(injection.proxy, settings))
    if names.PROXY_CONTAINER not in present:
        sidecar = fragments.proxy_container(injection.proxy, settings, variables, layout.mounts)
        if settings.native:
            first.append(sidecar)
        else:
            yield from _prepend("/spec/containers", pod.containers, [sidecar])
            yield from _default_container(pod)
    yield from _prepend("/spec/initContainers", pod.init_containers, first)


def _default_container(pod: Pod) -> Iterator[JsonObject]:
    """Keep kubectl's default container, which is the first one unless an annotation names it."""
    if pod.containers and names.DEFAULT_CONTAINER not in pod.annotations:
        pointer = "/metadata/annotations/" + names.DEFAULT_CONTAINER.replace("/", "~1")
        yield {"op": "add", "path": pointer, "value": pod.containers[0]["name"]}


def _append(pointer: str, present: list[JsonObject], items: list[JsonObject]) -> list[JsonObject]:
    """`add` to the end of a list, or the whole list where there is none (absent, null or empty)."""
    if present:
        return [{"op": "add", "path": f"{pointer}/-", "value": item} for item in items]
    return [{"op": "add", "path": pointer, "value": items}] if items else []


def _prepend(pointer: str, present: list[JsonObject], items: list[JsonObject]) -> list[JsonObject]:
    """`add` to the front of a list, keeping the order of `items`, or the whole list where there is none."""
    if present:
        return [{"op": "add", "path": f"{pointer}/{index}", "value": item} for index, item in enumerate(items)]
    return _append(pointer, present, items)
