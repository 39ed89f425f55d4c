"""The cluster that a command line, the environment and kubeconfigs name."""

from pathlib import Path

import pytest

from azwi_cli.cluster.kube import Cluster, ClusterTarget
from azwi_cli.console.errors import CommandError

KUBECONFIG = """
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: one, context: {cluster: c, user: u}}, {name: two, context: {cluster: c, user: u, namespace: n}}]
current-context: one
"""


def test_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kubeconfig is found by KUBECONFIG, its context by --context, the namespace in the context."""
    file = tmp_path / "config"
    file.write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'none'}:{file}")
    assert Cluster.connect(ClusterTarget()).namespace == "default"
    assert Cluster.connect(ClusterTarget(context="two")).namespace == "n"


def test_current_context_of_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several kubeconfigs the first that names a current context decides, as with kubectl."""
    files = [tmp_path / name for name in ("none", "first", "second")]
    files[0].write_text(KUBECONFIG.replace("current-context: one", ""))
    files[1].write_text(KUBECONFIG.replace("current-context: one", "current-context: two"))
    files[2].write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", ":".join(map(str, files)))
    assert Cluster.connect(ClusterTarget()).namespace == "n"


def test_unknown_context(tmp_path: Path) -> None:
    """A context that is not there is refused, and the message names the file and what to give."""
    file = tmp_path / "config"
    file.write_text(KUBECONFIG)
    with pytest.raises(CommandError, match="three") as refused:
        Cluster.connect(ClusterTarget(kubeconfig=str(file), context="three"))
    assert str(file) in refused.value.message
    assert "--context" in refused.value.hint


@pytest.mark.parametrize("text", ["", "a: [", "text", "clusters: 1", "{}"])
def test_broken_kubeconfig(tmp_path: Path, text: str) -> None:
    """What is no kubeconfig is refused in a sentence."""
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(CommandError, match="no usable cluster configuration"):
        Cluster.connect(ClusterTarget(kubeconfig=str(file)))


def test_no_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any configuration the message says how to give one."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(CommandError) as refused:
        Cluster.connect(ClusterTarget())
    assert "--kubeconfig" in refused.value.hint
    with pytest.raises(CommandError, match=r"there is no kubeconfig .*none"):
        Cluster.connect(ClusterTarget(kubeconfig=str(tmp_path / "none")))
