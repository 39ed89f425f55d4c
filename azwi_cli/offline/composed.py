"""The pods that a controller puts together from its object, where the object has no pod template.

Argo Workflows: https://argo-workflows.readthedocs.io/en/latest/fields/ (Template, WorkflowSpec).
Spark operator: https://github.com/kubeflow/spark-operator/blob/master/docs/api-docs.md (SparkPodSpec).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from azure_workload_identity.types import JsonObject

_KNATIVE_GROUP: Final = "serving.knative.dev"


@dataclass(frozen=True, slots=True)
class ComposedPod:
    """A pod as its controller would make it; `part` names it within its object."""

    pod: JsonObject = field(repr=False)
    part: str
    assumption: str


def pods(kind: str, manifest: JsonObject) -> Iterator[ComposedPod]:
    """The pods of an object of one of the kinds that are known here."""
    compose = KINDS.get(kind)
    if compose:
        yield from compose(manifest)


def with_container_names(group: str, pod: JsonObject) -> tuple[JsonObject, str]:
    """The pod with the names that a controller gives to containers without one, and a sentence that says so.

    The names are those that Knative gives, in other groups too.
    """
    spec = pod["spec"]
    changed: JsonObject = {}
    given: list[str] = []
    for key, default in (("containers", "user-container"), ("initContainers", "init-container")):
        containers = spec.get(key)
        if isinstance(containers, list) and not all(map(_is_named, containers)):
            changed[key] = _with_names(containers, default)
            given += [new["name"] for old, new in zip(containers, changed[key], strict=True) if old is not new]
    if not given:
        return pod, ""
    owner = "Knative" if group == _KNATIVE_GROUP else "its controller"
    return {
        **pod,
        "spec": {**spec, **changed},
    }, f"{owner} is assumed to name containers without a name {', '.join(given)}"


def _with_names(containers: list[object], default: str) -> list[object]:
    taken = {container.get("name") for container in containers if isinstance(container, dict)}
    free = (name for number in range(2 * len(containers) + 1) if (name := f"{default}-{number}") not in taken)
    return [
        container
        if _is_named(container) or not isinstance(container, dict)
        else {**container, "name": default if len(containers) == 1 else next(free)}
        for container in containers
    ]


def _is_named(container: object) -> bool:
    return not isinstance(container, dict) or container.get("name") is not None


def _workflow(manifest: JsonObject) -> Iterator[ComposedPod]:
    spec = _map(manifest, "spec")
    spec = _map(spec, "workflowSpec") or spec
    for template in _list(spec, "templates"):
        containers = _workflow_containers(template)
        if not containers:
            continue
        name = str(template.get("name", ""))
        yield ComposedPod(
            {
                "metadata": _metadata(_map(spec, "podMetadata"), _map(template, "metadata")),
                "spec": {
                    "serviceAccountName": template.get("serviceAccountName") or spec.get("serviceAccountName"),
                    "nodeSelector": template.get("nodeSelector") or spec.get("nodeSelector"),
                    "hostNetwork": spec.get("hostNetwork"),
                    "containers": [*containers, *_list(template, "sidecars")],
                    "initContainers": _list(template, "initContainers"),
                    "volumes": [*_list(spec, "volumes"), *_list(template, "volumes")],
                },
            },
            name,
            "the pod is put together as Argo would, without Argo's own containers, and this file stays as it is",
        )


def _workflow_containers(template: JsonObject) -> list[JsonObject]:
    for key in ("container", "script"):
        if _map(template, key):
            return [{**_map(template, key), "name": "main"}]
    if _map(template, "resource"):
        return [{"name": "main"}]
    return _list(_map(template, "containerSet"), "containers")


def _spark_application(manifest: JsonObject) -> Iterator[ComposedPod]:
    spec = _map(manifest, "spec")
    spec = _map(spec, "template") or spec
    for role in ("driver", "executor"):
        settings = _map(spec, role)
        if not settings:
            continue
        container = {"name": f"spark-kubernetes-{role}", "env": _list(settings, "env")}
        mounts = _list(settings, "volumeMounts")
        yield ComposedPod(
            {
                "metadata": _metadata(settings),
                "spec": {
                    "serviceAccountName": settings.get("serviceAccount"),
                    "nodeSelector": settings.get("nodeSelector"),
                    "hostNetwork": settings.get("hostNetwork"),
                    "containers": [{**container, "volumeMounts": mounts}, *_list(settings, "sidecars")],
                    "initContainers": _list(settings, "initContainers"),
                    "volumes": _list(spec, "volumes"),
                },
            },
            role,
            "the pod is put together as the Spark operator would, and this file stays as it is",
        )


KINDS: Final[Mapping[str, Callable[[JsonObject], Iterator[ComposedPod]]]] = {
    **dict.fromkeys(("Workflow", "WorkflowTemplate", "ClusterWorkflowTemplate", "CronWorkflow"), _workflow),
    **dict.fromkeys(("SparkApplication", "ScheduledSparkApplication"), _spark_application),
}


def _metadata(*sources: JsonObject) -> JsonObject:
    """Labels and annotations of several places; the last wins."""
    return {
        key: {name: value for source in sources for name, value in _map(source, key).items()}
        for key in ("labels", "annotations")
    }


def _map(parent: JsonObject, key: str) -> JsonObject:
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def _list(parent: JsonObject, key: str) -> list[JsonObject]:
    value = parent.get(key)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
