"""Pods that run on Windows."""

import pytest

from azure_workload_identity.types import JsonObject
from testbed.pods import container, parsed
from webhook.admission.windows import is_windows


def affinity(*terms: JsonObject, kind: str = "requiredDuringSchedulingIgnoredDuringExecution") -> JsonObject:
    """Write node affinity of these terms."""
    return {"affinity": {"nodeAffinity": {kind: {"nodeSelectorTerms": list(terms)}}}}


def term(*values: str, key: str = "kubernetes.io/os", operator: str = "In") -> JsonObject:
    """Write a term of one expression, after one about something else."""
    zone = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["1"]}
    return {"matchExpressions": [zone, {"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("spec", "windows"),
    [
        ({}, False),
        ({"os": {"name": "linux"}}, False),
        ({"os": {"name": "windows"}}, True),
        ({"nodeSelector": {"kubernetes.io/os": "windows"}}, True),
        ({"nodeSelector": {"beta.kubernetes.io/os": "windows"}}, True),
        ({"nodeSelector": {"kubernetes.io/os": "linux"}}, False),
        ({"os": None, "nodeSelector": None}, False),
        (affinity(term("windows")), True),
        (affinity(term("windows", key="beta.kubernetes.io/os")), True),
        (affinity(term("windows"), term("windows")), True),
        (affinity(term("windows"), term("linux")), False),
        (affinity(term("windows"), {}), False),
        (affinity(term("windows", "linux")), False),
        (affinity(term("windows", operator="NotIn")), False),
        (affinity(term("windows", key="os")), False),
        (affinity(), False),
        (affinity(term("windows"), kind="preferredDuringSchedulingIgnoredDuringExecution"), False),
        ({"securityContext": {"windowsOptions": {"hostProcess": True}}}, True),
        ({"securityContext": {"windowsOptions": {}}}, False),
        ({"containers": [container(securityContext={"windowsOptions": {"runAsUserName": "u"}})]}, True),
        ({"initContainers": [container("i", securityContext={"windowsOptions": {"runAsUserName": "u"}})]}, True),
        ({"containers": [container(securityContext={"runAsUser": 1})]}, False),
    ],
)
def test_windows_pods(spec: JsonObject, windows: bool) -> None:  # noqa: FBT001  the expected value
    """A pod is for Windows when its os, node selector, required node affinity or windowsOptions are."""
    assert is_windows(parsed(**spec)) is windows


@pytest.mark.parametrize(
    "spec",
    [
        {"os": "windows"},
        {"nodeSelector": ["kubernetes.io/os"]},
        {"affinity": []},
        affinity(term("windows", key="x")) | {"securityContext": "x"},
        {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": {}}}}},
        {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [7]}}}},
        affinity({"matchExpressions": [7, {"key": [], "operator": "In", "values": ["windows"]}]}),
    ],
)
def test_fields_of_a_wrong_type(spec: JsonObject) -> None:
    """A field of a wrong type says nothing of Windows: the API server refuses it itself."""
    assert is_windows(parsed(**spec)) is False
