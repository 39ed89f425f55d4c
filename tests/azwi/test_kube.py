"""The cluster that a command line and a kubeconfig name; what is asked of it is in tests/cluster."""

from pathlib import Path

import pytest

from azwi.errors import CommandError
from azwi.kube import Cluster, Target, path

KUBECONFIG = """
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: one, context: {cluster: c, user: u}}, {name: two, context: {cluster: c, user: u, namespace: n}}]
current-context: one
"""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("v1", "pods"), "/api/v1/pods"),
        (("v1", "pods", "n"), "/api/v1/namespaces/n/pods"),
        (("apps/v1", "deployments", "n", "d"), "/apis/apps/v1/namespaces/n/deployments/d"),
        (("v1", "serviceaccounts", "n", "a", "token"), "/api/v1/namespaces/n/serviceaccounts/a/token"),
        (("v1", "pods", "../x", "a?b"), "/api/v1/namespaces/..%2Fx/pods/a%3Fb"),
    ],
)
def test_path(arguments: tuple[str, ...], expected: str) -> None:
    """A resource has the path that the API gives it, and no name leads out of it."""
    assert path(*arguments) == expected


def test_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kubeconfig is found by KUBECONFIG, its context by --context, the namespace in the context."""
    file = tmp_path / "config"
    file.write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'none'}:{file}")
    assert Cluster.connect(Target()).namespace == "default"
    assert Cluster.connect(Target(context="two")).namespace == "n"


def test_unknown_context(tmp_path: Path) -> None:
    """A context that is not there is refused, and the message names the file and what to give."""
    file = tmp_path / "config"
    file.write_text(KUBECONFIG)
    with pytest.raises(CommandError, match="three") as refused:
        Cluster.connect(Target(kubeconfig=str(file), context="three"))
    assert str(file) in refused.value.message
    assert "--context" in refused.value.hint


@pytest.mark.parametrize("text", ["", "a: [", "text", "clusters: 1", "{}"])
def test_broken_kubeconfig(tmp_path: Path, text: str) -> None:
    """What is no kubeconfig is refused in a sentence."""
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(CommandError, match="no usable cluster configuration"):
        Cluster.connect(Target(kubeconfig=str(file)))


def test_no_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any configuration the message says how to give one."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(CommandError) as refused:
        Cluster.connect(Target())
    assert "--kubeconfig" in refused.value.hint
