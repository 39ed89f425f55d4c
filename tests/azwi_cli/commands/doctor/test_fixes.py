"""Commands that can be pasted, whatever is in them."""

import subprocess

import pytest

from azwi_cli.commands.doctor.fixes import CommandBuilder, line, pointer

JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "once", "namespace": "shop", "labels": {"job-name": "once"}},
    "spec": {
        "selector": {"matchLabels": {"controller-uid": "u"}},
        "template": {"metadata": {"labels": {"controller-uid": "u"}}},
    },
}


WORDS = [
    "plain",
    "",
    "it's",
    '"',
    "$(touch x)",
    "a\nb",
    "tab\there",
    "\x1b[31mred",
    "back\\slash'\n",
    "schön",
    "\u202e",
]


@pytest.mark.parametrize("word", WORDS)
def test_words(word: str) -> None:
    """A shell reads each word as it is, and nothing in the line steers a terminal."""
    command = line("printf", "%s", word)
    assert command.isprintable()
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert done.stdout.decode() == word


def test_flags() -> None:
    """The flags by which the cluster was found are in each command."""
    commands = CommandBuilder(
        ("--context=my ctx",), ("--kube-context=my ctx",), ("--context=my ctx",), ("--azure-env=X",)
    )
    assert commands.kubectl("get", "pods", namespace="shop") == "kubectl '--context=my ctx' -n shop get pods"
    assert commands.helm("uninstall", "x") == "helm '--kube-context=my ctx' uninstall x"
    assert commands.azwi("sa") == "azwi sa '--context=my ctx' --azure-env=X"


def test_pointer() -> None:
    """Slashes and tildes of keys are escaped."""
    assert pointer("metadata", "labels", "a/b~c", 0) == "/metadata/labels/a~1b~0c/0"


def test_custom_kind() -> None:
    """A kind that is not Kubernetes' own is named with its group."""
    rollout = {"apiVersion": "argoproj.io/v1", "kind": "Rollout", "metadata": {"name": "r", "namespace": "shop"}}
    assert " patch rollout.v1.argoproj.io r " in CommandBuilder().merge_into_pods(rollout, {})


def test_job() -> None:
    """What only its controller may write is taken out of a Job that is created again."""
    command = CommandBuilder().merge_into_pods(JOB, {"metadata": {}})
    for path in ("/spec/selector", "/metadata/labels/job-name", "/spec/template/metadata/labels/controller-uid"):
        assert f'{{"op":"remove","path":"{path}"}}' in command
