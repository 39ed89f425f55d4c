"""The checked view of a raw pod."""

import re

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.pods import container, parsed, pod
from webhook.admission.pod import MAX_ANNOTATIONS_SIZE, MAX_CONTAINERS, Pod
from webhook.admission.reasons import Reason, Refusal


def test_what_is_read() -> None:
    """Name, labels, annotations and account are read; lists are the raw ones."""
    raw = pod(annotations={"a": "b"}, volumes=[{"name": "data", "emptyDir": {}}])
    read = Pod.parse(raw)
    assert (read.name, read.service_account, read.annotations) == ("app", "app", {"a": "b"})
    assert read.host_network is False
    assert read.containers is raw["spec"]["containers"]
    assert read.volumes is raw["spec"]["volumes"]


def test_all_containers_with_their_pointers() -> None:
    """Init containers come first, with their JSON pointers."""
    read = parsed(container("a"), container("b"), init=(container("i"),))
    assert [(pointer, own["name"]) for pointer, own in read.all_containers()] == [
        ("/spec/initContainers/0", "i"),
        ("/spec/containers/0", "a"),
        ("/spec/containers/1", "b"),
    ]


def test_a_generated_name() -> None:
    """A pod without a name yet goes by the prefix of its generated name."""
    raw = pod()
    raw["metadata"] = {"generateName": "app-7d4b9c6f5d-"}
    assert Pod.parse(raw).name == "app-7d4b9c6f5d-"


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({}, "default"),
        ({"serviceAccountName": ""}, "default"),
        ({"serviceAccountName": None}, "default"),
        ({"serviceAccountName": "app"}, "app"),
        ({"serviceAccount": "old"}, "old"),
        ({"serviceAccountName": "app", "serviceAccount": "old"}, "app"),
        ({"serviceAccountName": "team.app"}, "team.app"),
    ],
)
def test_the_account_of_a_pod(spec: JsonObject, name: str) -> None:
    """An account that is missing or empty is `default`; the deprecated field counts where it stands alone."""
    assert Pod.parse({"spec": spec}).service_account == name


@pytest.mark.parametrize("absent", [{}, {"containers": None, "initContainers": None, "volumes": None}])
def test_absent_lists_are_empty(absent: JsonObject) -> None:
    """Lists and maps that are absent or null are empty."""
    read = Pod.parse({"metadata": None, "spec": absent})
    assert (read.containers, read.init_containers, read.volumes) == ([], [], [])
    assert (read.name, read.labels, read.annotations) == ("", {}, {})


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "the object must be a pod, not null"),
        ([], "the object must be a pod, not a list"),
        ("pod", "the object must be a pod, not the string 'pod'"),
        ({}, "spec must be a map, not null"),
        ({"spec": None}, "spec must be a map"),
        ({"spec": []}, "spec must be a map, not a list"),
        ({"spec": {}, "metadata": []}, "metadata must be a map"),
        ({"spec": {}, "metadata": {"labels": []}}, "metadata.labels must be a map"),
        ({"spec": {}, "metadata": {"labels": {"a": 1}}}, "metadata.labels['a'] must be a string, not the number '1'"),
        ({"spec": {}, "metadata": {"annotations": {"a": True}}}, "metadata.annotations['a'] must be a string"),
        ({"spec": {}, "metadata": {"annotations": {"a": None}}}, "metadata.annotations['a'] must be a string"),
        ({"spec": {}, "metadata": {"name": 1}}, "metadata.name must be a string"),
        ({"spec": {}, "metadata": {"name": "x" * 254}}, "at most 253 characters"),
        ({"spec": {}, "metadata": {"generateName": []}}, "metadata.generateName must be a string"),
        ({"spec": {"containers": {}}}, "spec.containers must be a list, not a map"),
        ({"spec": {"containers": ["a"]}}, "spec.containers must be a list of maps"),
        ({"spec": {"containers": [{}]}}, "the name of an entry of spec.containers must be a string, not null"),
        ({"spec": {"initContainers": [{"name": 1}]}}, "the name of an entry of spec.initContainers must be a string"),
        ({"spec": {"volumes": [{"emptyDir": {}}]}}, "the name of an entry of spec.volumes must be a string"),
        ({"spec": {"volumes": "none"}}, "spec.volumes must be a list"),
        ({"spec": {"serviceAccountName": 1}}, "spec.serviceAccountName must be a string"),
        ({"spec": {"serviceAccountName": "../default"}}, "spec.serviceAccountName must be a ServiceAccount's name"),
        ({"spec": {"serviceAccountName": "App"}}, "spec.serviceAccountName must be a ServiceAccount's name"),
        ({"spec": {"serviceAccountName": "app\n"}}, "spec.serviceAccountName must be a ServiceAccount's name"),
        ({"spec": {"hostNetwork": "true"}}, "spec.hostNetwork must be true or false, not the string 'true'"),
    ],
)
def test_malformed_pods(raw: object, message: str) -> None:
    """A field of a wrong type is refused with its path, the type that it should have and the one that it has."""
    with pytest.raises(Refusal, match=re.escape(message)) as refused:
        Pod.parse(raw)
    assert refused.value.reason is Reason.MALFORMED_POD


def test_too_many_containers() -> None:
    """The size of a patch is bounded by the number of containers."""
    half = [container(f"c{number}") for number in range(MAX_CONTAINERS // 2 + 1)]
    with pytest.raises(Refusal, match="more than 30000 containers") as refused:
        Pod.parse({"spec": {"containers": half, "initContainers": half}})
    assert refused.value.reason is Reason.TOO_MANY_CONTAINERS


@pytest.mark.parametrize("host_network", [True, False])
def test_host_network(host_network: bool) -> None:  # noqa: FBT001  the value set
    """Whether the pod shares its node's network is read."""
    assert parsed(hostNetwork=host_network).host_network is host_network


@pytest.mark.parametrize(
    "annotations",
    [
        {names.INJECT_CONTAINERS: "a;" * (MAX_ANNOTATIONS_SIZE // 2)},
        {"example.com/a": "x" * MAX_ANNOTATIONS_SIZE},
        {f"example.com/{number}": "x" * 1000 for number in range(300)},
        {"x" * (MAX_ANNOTATIONS_SIZE + 1): ""},
    ],
)
def test_large_annotations(annotations: dict[str, str]) -> None:
    """Annotations that are together larger than the API server's limit are refused before one of them is read."""
    with pytest.raises(Refusal, match="annotations have more than 262144 bytes") as refused:
        parsed(annotations=annotations)
    assert refused.value.reason is Reason.ANNOTATIONS_TOO_LARGE


def test_the_largest_annotations() -> None:
    """Annotations of exactly the API server's limit are read."""
    assert parsed(annotations={"k": "x" * (MAX_ANNOTATIONS_SIZE - 1)}).annotations


@pytest.mark.parametrize(("annotations", "mirror"), [({}, False), ({names.MIRROR_POD: ""}, True)])
def test_mirror_pods(annotations: dict[str, str], *, mirror: bool) -> None:
    """A pod is the mirror of a static pod when it has the kubelet's annotation, whatever the value."""
    assert parsed(annotations=annotations).is_mirror is mirror
