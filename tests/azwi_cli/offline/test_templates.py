"""Pod templates in objects of all kinds."""

import re
from typing import Any

import pytest

from azure_workload_identity.types import JsonObject
from azwi_cli.console.errors import CommandError
from azwi_cli.offline import composed, templates
from azwi_cli.offline.templates import Search
from testbed.program import ROOT

POD: JsonObject = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "app"}]}}


def found(document: JsonObject) -> list[tuple[str, str | None, object]]:
    """Return the names of the templates of a document, where they are, and their pods."""
    return [
        (str(template), template.pointer, template.pod) for template in templates.search(document, "shop").templates
    ]


def custom(api_version: str, kind: str, **spec: object) -> JsonObject:
    """Write an object named x."""
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, "spec": spec}


@pytest.mark.parametrize(
    "kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"]
)
def test_templates(kind: str) -> None:
    """The pod of a workload is its template."""
    document = {"kind": kind, "metadata": {"name": "x"}, "spec": {"template": POD}}
    assert found(document) == [(f"{kind} shop/x", "/spec/template", POD)]


def test_pod() -> None:
    """A pod is its own."""
    pod = {"kind": "Pod", **POD, "metadata": {"name": "x", "namespace": "other"}}
    assert found(pod) == [("Pod other/x", "", pod)]


def test_cron_job() -> None:
    """The pod of a CronJob lies deeper."""
    document = {"kind": "CronJob", "metadata": {"name": "x"}, "spec": {"jobTemplate": {"spec": {"template": POD}}}}
    assert found(document) == [("CronJob shop/x", "/spec/jobTemplate/spec/template", POD)]


def test_lists() -> None:
    """Lists are looked into, lists of lists too, and their pods have pointers from the outermost."""
    deployment = {"kind": "Deployment", "metadata": {"name": "x"}, "spec": {"template": POD}}
    document = {"kind": "List", "items": [{"kind": "Service"}, {"kind": "DeploymentList", "items": [deployment]}, 1]}
    assert found(document) == [("Deployment shop/x", "/items/1/items/0/spec/template", POD)]


# Kinds of others, by what makes pods of them: their pointers and, of several, their names.
CUSTOM: list[tuple[JsonObject, list[tuple[str, str]]]] = [
    (custom("serving.knative.dev/v1", "Service", template=POD), [("/spec/template", "")]),
    (custom("keda.sh/v1alpha1", "ScaledJob", jobTargetRef={"template": POD}), [("/spec/jobTargetRef/template", "")]),
    (
        custom(
            "ray.io/v1",
            "RayCluster",
            headGroupSpec={"template": POD},
            workerGroupSpecs=[{"template": POD}, {"template": POD}],
        ),
        [
            ("/spec/headGroupSpec/template", "headGroupSpec"),
            ("/spec/workerGroupSpecs/0/template", "workerGroupSpecs.0"),
            ("/spec/workerGroupSpecs/1/template", "workerGroupSpecs.1"),
        ],
    ),
    (
        custom(
            "jobset.x-k8s.io/v1alpha2",
            "JobSet",
            replicatedJobs=[{"name": "w", "template": {"spec": {"template": POD}}}],
        ),
        [("/spec/replicatedJobs/0/template/spec/template", "")],
    ),
    (
        custom(
            "kubeflow.org/v1",
            "PyTorchJob",
            pytorchReplicaSpecs={"Master": {"template": POD}, "Worker": {"template": POD}},
        ),
        [
            ("/spec/pytorchReplicaSpecs/Master/template", "pytorchReplicaSpecs.Master"),
            ("/spec/pytorchReplicaSpecs/Worker/template", "pytorchReplicaSpecs.Worker"),
        ],
    ),
    (custom("argoproj.io/v1alpha1", "Rollout", template=POD), [("/spec/template", "")]),
    (custom("actions.github.com/v1alpha1", "AutoscalingRunnerSet", template=POD), [("/spec/template", "")]),
    (custom("batch.volcano.sh/v1alpha1", "Job", tasks=[{"template": POD}]), [("/spec/tasks/0/template", "")]),
    (
        custom(
            "leaderworkerset.x-k8s.io/v1",
            "LeaderWorkerSet",
            leaderWorkerTemplate={"leaderTemplate": POD, "workerTemplate": POD},
        ),
        [
            ("/spec/leaderWorkerTemplate/leaderTemplate", "leaderWorkerTemplate.leaderTemplate"),
            ("/spec/leaderWorkerTemplate/workerTemplate", "leaderWorkerTemplate.workerTemplate"),
        ],
    ),
    (
        custom(
            "sparkoperator.k8s.io/v1beta2", "SparkApplication", driver={"template": POD}, executor={"template": POD}
        ),
        [("/spec/driver/template", "driver"), ("/spec/executor/template", "executor")],
    ),
    (custom("apps.openshift.io/v1", "DeploymentConfig", template=POD), [("/spec/template", "")]),
    (
        custom("example.com/v1", "Bundle", parts={"a/b": {"kind": "Pod", **POD}}),
        [("/spec/parts/a~1b", "")],
    ),
]


@pytest.mark.parametrize(("document", "expected"), CUSTOM, ids=[document["kind"] for document, _ in CUSTOM])
def test_custom_kinds(document: JsonObject, expected: list[tuple[str, str]]) -> None:
    """Templates are found wherever they are in an object of any kind, and several are reported apart."""
    names = [(pointer, f"{document['kind']} shop/x" + (f" ({part})" if part else "")) for pointer, part in expected]
    assert [(pointer, name) for name, pointer, _ in found(document)] == names


def test_spark_without_templates() -> None:
    """The pods of a SparkApplication without templates are put together from driver and executor."""
    driver = {"serviceAccount": "spark", "labels": {"a": "b"}, "sidecars": [{"name": "logs"}]}
    document = custom("sparkoperator.k8s.io/v1beta2", "SparkApplication", driver=driver, executor={"cores": 1})
    first, second = templates.search(document, "shop").templates
    assert (str(first), first.pointer) == ("SparkApplication shop/x (driver)", None)
    assert first.pod["metadata"]["labels"] == {"a": "b"}
    assert first.pod["spec"]["serviceAccountName"] == "spark"
    assert [container["name"] for container in first.pod["spec"]["containers"]] == ["spark-kubernetes-driver", "logs"]
    assert second.pod["spec"]["containers"][0]["name"] == "spark-kubernetes-executor"
    assert "Spark operator" in second.assumption


@pytest.mark.parametrize("kind", ["Workflow", "WorkflowTemplate", "CronWorkflow"])
def test_argo_workflow(kind: str) -> None:
    """The pods of a Workflow are put together from its templates; steps make none."""
    spec: dict[str, Any] = {
        "serviceAccountName": "runner",
        "podMetadata": {"labels": {"azure.workload.identity/use": "true"}},
        "templates": [
            {"name": "all", "steps": [[{"name": "one", "template": "build"}]]},
            {"name": "build", "container": {"image": "i", "name": ""}, "sidecars": [{"name": "db"}]},
            {"name": "run", "script": {"image": "i", "source": "x"}, "serviceAccountName": "other"},
        ],
    }
    document = custom("argoproj.io/v1alpha1", kind, **({"workflowSpec": spec} if kind == "CronWorkflow" else spec))
    build, run = templates.search(document, "shop").templates
    assert (str(build), build.pointer) == (f"{kind} shop/x (build)", None)
    assert build.pod["metadata"]["labels"] == {"azure.workload.identity/use": "true"}
    assert [container["name"] for container in build.pod["spec"]["containers"]] == ["main", "db"]
    assert (build.pod["spec"]["serviceAccountName"], run.pod["spec"]["serviceAccountName"]) == ("runner", "other")


def test_container_names() -> None:
    """A container without a name gets the one that its controller gives it, and the assumption is reported."""
    one = custom("serving.knative.dev/v1", "Service", template={"spec": {"containers": [{"image": "i"}]}})
    [template] = templates.search(one, "shop").templates
    assert template.pod["spec"]["containers"] == [{"image": "i", "name": "user-container"}]
    assert template.assumption == "Knative is assumed to name containers without a name user-container"
    containers = [{"image": "i"}, {"name": "user-container-0"}, {"image": "j"}]
    three = custom("serving.knative.dev/v1", "Service", template={"spec": {"containers": containers}})
    [template] = templates.search(three, "shop").templates
    names = [container["name"] for container in template.pod["spec"]["containers"]]
    assert names == ["user-container-1", "user-container-0", "user-container-2"]


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "Service", "spec": {"template": "text"}},
        {"kind": "ConfigMap"},
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": {}},
        {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "spec": {"secretTemplate": {}}},
        {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject"},
    ],
)
def test_kinds_without_pods(document: JsonObject) -> None:
    """A kind that never leads to a pod is passed over without a word."""
    assert templates.search(document, "shop") == Search(())


def test_unread() -> None:
    """An object of another kind in which no template was found is named, unless its kind is ignored."""
    kafka = custom("kafka.strimzi.io/v1beta2", "Kafka", template={"pod": {"metadata": {}}})
    assert templates.search(kafka, "shop") == Search((), ("Kafka shop/x",))
    assert templates.search(kafka, "shop", frozenset({"Kafka"})) == Search(())


def test_incomplete() -> None:
    """A workload without its pod is refused by name."""
    with pytest.raises(CommandError, match=r"CronJob x has no spec\.jobTemplate\.spec\.template"):
        found({"kind": "CronJob", "metadata": {"name": "x"}})


def documented() -> list[tuple[str, str]]:
    """Return the kinds of the manual's table, each with the fields of its templates."""
    page = (ROOT / "docs" / "use" / "check-manifests.md").read_text()
    table = page.partition("## Where pod templates are found")[2].partition("## ")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")]
    return [(name.split()[-1], where.strip()) for names, where in rows[1:] for name in names.split(",")]


def test_page() -> None:
    """The manual's table has Kubernetes' own kinds, those put together, and every kind that is tested here."""
    kinds = documented()
    for kind, path in templates.POD_PATHS.items():
        assert (kind, f"`{'.'.join(path)}`" if path else "the object itself") in kinds
    assert composed.KINDS.keys() <= {kind for kind, _ in kinds}
    for document, expected in CUSTOM[:-1]:
        fields = [re.sub(r"\.\d+", "[]", pointer.strip("/").replace("/", ".")) for pointer, _ in expected]
        assert any(kind == document["kind"] and all(f"`{field}`" in where for field in fields) for kind, where in kinds)
