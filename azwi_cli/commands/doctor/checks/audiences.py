"""Are the tokens of pods for the audiences for which they are exchanged?"""

import json
from collections.abc import Iterator, Mapping
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.commands.doctor.checks.check import Check, Group
from azwi_cli.commands.doctor.findings import Area, Code, Finding
from azwi_cli.commands.doctor.fixes import pointer
from azwi_cli.commands.doctor.snapshot import LiveWorkload, Snapshot

MAX_NAMED: Final = 5


def injected(snapshot: Snapshot) -> Iterator[Finding]:
    """Pods that run have tokens for the audiences that the webhook gives new ones."""
    if snapshot.has_token_proxy is None:  # the webhook's settings are not known
        return
    for workload in snapshot.mutated():
        wanted = snapshot.audiences(workload)
        old = [(pod, found) for pod in workload.pods if (found := _tokens(pod)) and not _has(found, *wanted)]
        if old:
            pods = [pod["metadata"]["name"] for pod, _ in old]
            more = f" and {len(pods) - MAX_NAMED} more" if len(pods) > MAX_NAMED else ""
            now, then = (", ".join(filter(None, audiences)) for audiences in (wanted, sorted(set(old[0][1].values()))))
            yield Finding(
                Code.WRONG_AUDIENCE,
                workload.subject,
                "its pods have tokens for other audiences than new ones get: they are older than the annotation or the "
                "setting that changed it",
                (f"pods {', '.join(pods[:MAX_NAMED])}{more} have {then}, and new ones get {now}",),
                snapshot.commands.restart(workload.owner, pods),
            )


def _tokens(pod: JsonObject) -> Mapping[str, str]:
    """The audiences of the injected tokens, by their file's name."""
    return {
        str(token["path"]).rpartition("/")[2]: str(token.get("audience", ""))
        for volume in pod["spec"].get("volumes") or ()
        if str(volume.get("name")).startswith(names.VOLUME_PREFIX) or volume.get("name") in names.VOLUMES
        for source in (volume.get("projected") or {}).get("sources") or ()
        if (token := source.get("serviceAccountToken"))
    }


def _has(found: Mapping[str, str], first: str, second: str) -> bool:
    return found.get(names.TOKEN_FILE, first) == first and (not second or found.get(names.SECOND_TOKEN_FILE) == second)


def own_file(snapshot: Snapshot) -> Iterator[Finding]:
    """With an identity binding, a token file of the pod's own is for the token proxy's audience."""
    for workload in snapshot.bound() if snapshot.has_token_proxy is not False else ():
        first, _ = snapshot.audiences(workload)
        wrong = [(pointer_, audience) for pointer_, audience in _own_files(workload.pod) if audience != first]
        if wrong:
            operations: list[JsonObject] = [{"op": "remove", "path": place} for place, _ in reversed(wrong)]
            yield Finding(
                Code.WRONG_AUDIENCE,
                workload.subject,
                f"{names.ENV_TOKEN_FILE} of its own names a token for another audience than the token proxy's: it is "
                "refused there (AADSTS700212)",
                tuple(f"audience {audience or '(the API server)'}, in place of {first}" for _, audience in wrong),
                snapshot.commands.change_pods(workload.owner, operations),
            )


def _own_files(pod: JsonObject) -> Iterator[tuple[str, str]]:
    """Variables that name a token in a volume of the pod's own: their JSON pointers in the pod, and its audience."""
    spec = pod.get("spec") or {}
    volumes = {volume.get("name"): volume for volume in spec.get("volumes") or ()}
    for group in ("initContainers", "containers"):
        for number, container in enumerate(spec.get(group) or ()):
            for index, entry in enumerate(container.get("env") or ()):
                if entry.get("name") != names.ENV_TOKEN_FILE:
                    continue
                for mount in container.get("volumeMounts") or ():
                    path = str(mount.get("mountPath", "")).rstrip("/") + "/"
                    file = str(entry.get("value", ""))
                    tokens = _paths(volumes.get(mount.get("name")) or {}) if file.startswith(path) else {}
                    if file.removeprefix(path) in tokens:
                        yield pointer("spec", group, number, "env", index), tokens[file.removeprefix(path)]


def _paths(volume: JsonObject) -> Mapping[str, str]:
    sources = (volume.get("projected") or {}).get("sources") or ()
    tokens = (source["serviceAccountToken"] for source in sources if source.get("serviceAccountToken"))
    return {str(token.get("path")): str(token.get("audience", "")) for token in tokens}


def second(snapshot: Snapshot) -> Iterator[Finding]:
    """Pods that ask for a second token, or read one, get it."""
    if snapshot.has_token_proxy is None:
        return
    for workload in snapshot.mutated():
        first, given = snapshot.audiences(workload)
        asks = workload.annotations.get(names.SECOND_AUDIENCE, "")
        reads = names.ENV_SECOND_TOKEN_FILE in json.dumps(workload.pod.get("spec") or {})
        if given or not (asks or reads):
            continue
        yield Finding(
            Code.SECOND_TOKEN_MISSING,
            workload.subject,
            f"its first token is for {first}, and there is no second one for another audience: "
            f"{names.ENV_SECOND_TOKEN_FILE} is not set",
            (
                *((f"annotation {names.SECOND_AUDIENCE}={asks}, as the first token",) if asks else ()),
                *((f"a container uses {names.ENV_SECOND_TOKEN_FILE}",) if reads else ()),
            ),
            _second_command(snapshot, workload),
        )


def _second_command(snapshot: Snapshot, workload: LiveWorkload) -> str:
    """A second audience beside the first one: an identity binding beside a direct federation, or the other way."""
    if snapshot.is_bound(workload):
        wanted = {names.SECOND_AUDIENCE: names.DEFAULT_AUDIENCE}
    elif snapshot.has_token_proxy:
        wanted = {snapshot.binding_key: "true", names.SECOND_AUDIENCE: names.DEFAULT_AUDIENCE}
    else:
        wanted = {names.SECOND_AUDIENCE: names.BINDING_AUDIENCE}
    return snapshot.commands.merge_into_pods(workload.owner, {"metadata": {"annotations": wanted}})


CHECKS: Final = (
    Check(
        Group.WORKLOADS,
        "the tokens of running pods have the audiences of new ones",
        injected,
        frozenset({Area.WORKLOADS, Area.MAPPING}),
    ),
    Check(
        Group.WORKLOADS,
        "token files of pods with an identity binding are for the token proxy",
        own_file,
        frozenset({Area.WORKLOADS, Area.MAPPING}),
    ),
    Check(
        Group.WORKLOADS,
        "pods that need a second token get it",
        second,
        frozenset({Area.WORKLOADS, Area.MAPPING}),
    ),
)
