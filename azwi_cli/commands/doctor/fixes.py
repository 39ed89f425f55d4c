"""Builds shell commands that fix findings. Names and values are untrusted, so each word is quoted."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from azure_workload_identity.types import JsonObject
from azwi_cli.offline.owners import JOB_LABELS
from azwi_cli.offline.templates import POD_PATHS

_RELEASE_NAME: Final = "meta.helm.sh/release-name"
_RELEASE_NAMESPACE: Final = "meta.helm.sh/release-namespace"
# Kinds that make new pods when their template changes, and that `kubectl rollout restart` knows.
ROLLING: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet"})


def quote(word: str) -> str:
    """One word of a command; what is not printable as bash and zsh read it, so that a terminal can show it."""
    if word.isprintable():
        return shlex.quote(word)
    escaped = word.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + "".join(character if character.isprintable() else _escape(character) for character in escaped) + "'"


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\U{number:08x}" if number > 0x7F else f"\\x{number:02x}"  # noqa: PLR2004  ASCII


def line(*words: str) -> str:
    """One command."""
    return " ".join(map(quote, words))


def pointer(*parts: str | int) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def release(manifest: JsonObject) -> tuple[str, str]:
    """Name and namespace of the Helm release that an object belongs to; empty where it is of none."""
    annotations = manifest["metadata"].get("annotations") or {}
    return str(annotations.get(_RELEASE_NAME, "")), str(annotations.get(_RELEASE_NAMESPACE, ""))


@dataclass(frozen=True, slots=True)
class CommandBuilder:
    """The programs of the commands, with the flags by which the doctor itself found cluster and cloud."""

    kubectl_flags: tuple[str, ...] = ()
    helm_flags: tuple[str, ...] = ()
    cluster_flags: tuple[str, ...] = ()
    azure_flags: tuple[str, ...] = ()

    def kubectl(self, *words: str, namespace: str = "") -> str:
        """A command of kubectl."""
        return line("kubectl", *self.kubectl_flags, *(["-n", namespace] if namespace else []), *words)

    def helm(self, *words: str) -> str:
        """A command of helm."""
        return line("helm", *self.helm_flags, *words)

    def azwi(self, *words: str) -> str:
        """A command of azwi about a ServiceAccount and its identity."""
        return line("azwi", *words, *self.cluster_flags, *self.azure_flags)

    def annotate(self, kind: str, namespace: str, name: str, changes: Mapping[str, str | None]) -> str:
        """Change annotations: None takes one away."""
        return self._set("annotate", kind, namespace, name, changes)

    def label(self, kind: str, namespace: str, name: str, changes: Mapping[str, str | None]) -> str:
        """Change labels: None takes one away."""
        return self._set("label", kind, namespace, name, changes)

    def uninstall(self, configuration: JsonObject) -> str:
        """Remove a MutatingWebhookConfiguration, with its Helm release if it is of one."""
        name, namespace = release(configuration)
        if name and namespace:
            return self.helm("uninstall", name, "--namespace", namespace)
        return self.kubectl("delete", "mutatingwebhookconfiguration", configuration["metadata"]["name"])

    def upgrade(self, configuration: JsonObject, chart: str, *values: str) -> str:
        """Create again what is missing of its Helm release, with more values if any; empty where it is of none.

        Not `helm get manifest | kubectl apply`: another owner of fields would be in the way of the next upgrade.
        """
        name, namespace = release(configuration)
        if not (name and namespace):
            return ""
        flags = [word for value in values for word in ("--set", value)]
        return self.helm("upgrade", name, chart, "--namespace", namespace, "--reuse-values", *flags)

    def patch(self, kind: str, name: str, operations: Sequence[JsonObject], *, namespace: str = "") -> str:
        """Apply operations (RFC 6902) to an object."""
        return self.kubectl("patch", kind, name, "--type=json", "-p", _json(operations), namespace=namespace)

    def apply(self, manifest: JsonObject) -> str:
        """Create or change an object."""
        return f"{line('printf', '%s', _json(manifest))} | {self.kubectl('apply', '-f', '-')}"

    def merge_into_pods(self, workload: JsonObject, pod: JsonObject) -> str:
        """Merge `pod` (RFC 7386) into the pods that a workload makes."""
        if workload["kind"] in {"Pod", "Job"}:
            return self._recreate(workload, "merge", _within(POD_PATHS[workload["kind"]], pod))
        path = POD_PATHS.get(workload["kind"], ("spec", "template"))
        return self._patch(workload, "merge", _within(path, pod))

    def change_pods(self, workload: JsonObject, operations: Sequence[JsonObject]) -> str:
        """Apply operations (RFC 6902), with paths in the pod, to the pods that a workload makes."""
        path = pointer(*POD_PATHS.get(workload["kind"], ("spec", "template")))
        placed = [{**operation, "path": path + operation["path"]} for operation in operations]
        if workload["kind"] in {"Pod", "Job"}:
            return self._recreate(workload, "json", placed)
        return self._patch(workload, "json", placed)

    def restart(self, workload: JsonObject, pods: Sequence[str]) -> str:
        """Restart a workload, so that its pods are created again."""
        kind, metadata = workload["kind"], workload["metadata"]
        namespace = metadata["namespace"]
        if kind in ROLLING:
            return self.kubectl("rollout", "restart", f"{kind.lower()}/{metadata['name']}", namespace=namespace)
        if kind == "Pod":
            return self._recreate(workload, "", None)
        return self.kubectl("delete", "pod", *pods, namespace=namespace)

    def _set(self, verb: str, kind: str, namespace: str, name: str, changes: Mapping[str, str | None]) -> str:
        words = [f"{key}-" if value is None else f"{key}={value}" for key, value in changes.items()]
        return self.kubectl(verb, "--overwrite", kind, name, *words, namespace=namespace)

    def _patch(self, workload: JsonObject, patch_type: str, patch: object) -> str:
        metadata = workload["metadata"]
        words = ["patch", _resource(workload), metadata["name"], f"--type={patch_type}", "-p", _json(patch)]
        return self.kubectl(*words, namespace=metadata["namespace"])

    def _recreate(self, workload: JsonObject, patch_type: str, patch: object) -> str:
        """Delete and create a Pod or Job, whose template cannot be changed."""
        metadata = workload["metadata"]
        name = [_resource(workload), metadata["name"]]
        steps = [self.kubectl("get", *name, "-o", "json", namespace=metadata["namespace"])]
        if workload["kind"] == "Job":
            steps.append(self._local("json", _without_selector(workload)))
        if patch_type:
            steps.append(self._local(patch_type, patch))
        steps.append(self.kubectl("replace", "--force", "-f", "-"))
        return " | ".join(steps)

    def _local(self, patch_type: str, patch: object) -> str:
        return self.kubectl("patch", "--local", "-f", "-", f"--type={patch_type}", "-p", _json(patch), "-o", "json")


def _resource(workload: JsonObject) -> str:
    """How kubectl names the kind; of a group that is not Kubernetes' own, in full."""
    group, _, version = str(workload.get("apiVersion", "")).rpartition("/")
    kind = str(workload["kind"]).lower()
    return f"{kind}.{version}.{group}" if "." in group else kind


def _within(path: Sequence[str], inner: JsonObject) -> JsonObject:
    for part in reversed(path):
        inner = {part: inner}
    return inner


def _without_selector(job: JsonObject) -> list[JsonObject]:
    """The operations that take out of a Job what only its controller may write."""
    operations = [{"op": "remove", "path": "/spec/selector"}] if job["spec"].get("selector") else []
    for place in (("metadata",), ("spec", "template", "metadata")):
        parent = job
        for part in place:
            parent = parent.get(part) or {}
        mine = sorted(JOB_LABELS & (parent.get("labels") or {}).keys())
        operations += [{"op": "remove", "path": pointer(*place, "labels", label)} for label in mine]
    return operations


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
