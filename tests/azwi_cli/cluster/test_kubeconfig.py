"""The cluster that a command line, the environment and kubeconfigs name."""

from pathlib import Path

import pytest

from azwi_cli.cluster import kubeconfig
from azwi_cli.cluster.kube import Cluster, ClusterTarget
from azwi_cli.console.errors import CommandError

KUBECONFIG = """
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: one, context: {cluster: c, user: u}}, {name: two, context: {cluster: c, user: u, namespace: shop}}]
current-context: one
"""


def test_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kubeconfig is found by KUBECONFIG, its context by --context, the namespace in the context."""
    file = tmp_path / "config"
    file.write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'none'}:{file}")
    assert Cluster.connect(ClusterTarget()).namespace == "default"
    assert Cluster.connect(ClusterTarget(context="two")).namespace == "shop"


def test_current_context_of_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several kubeconfigs the first that names a current context decides, as with kubectl."""
    files = [tmp_path / name for name in ("none", "first", "second")]
    files[0].write_text(KUBECONFIG.replace("current-context: one", ""))
    files[1].write_text(KUBECONFIG.replace("current-context: one", "current-context: two"))
    files[2].write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", ":".join(map(str, files)))
    assert Cluster.connect(ClusterTarget()).namespace == "shop"


def test_unknown_context(tmp_path: Path) -> None:
    """A context that is not there is refused, and the message names the file and what to give."""
    file = tmp_path / "config"
    file.write_text(KUBECONFIG)
    with pytest.raises(CommandError, match="three") as refused:
        Cluster.connect(ClusterTarget(kubeconfig=str(file), context="three"))
    assert str(file) in refused.value.message
    assert "--context" in refused.value.hint


def read_by_azwi(tmp_path: Path, text: str) -> Cluster:
    """Connect by a kubeconfig with this text."""
    file = tmp_path / "config"
    file.write_text(text)
    return Cluster.connect(ClusterTarget(kubeconfig=str(file)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no current context is set"),
        ("{}", "no current context is set"),
        ("a: [", "cannot be read: line 2: "),
        ("a: &a [*a]", "cannot be read: line 1: the anchor &a contains itself"),
        ("[" * 300 + "]" * 300, "cannot be read: .* nested deeper than 200"),
        ("a: " + "x" * (4 << 20), "is larger than 4 MiB"),
        ("a: 1\n---\na: 2\n", "cannot be read"),
        ("text", "is not a kubeconfig"),
        ("clusters: 1", "clusters of kubeconfig .* are not a list"),
        ("users: [{user: {token: t}}]", "users of kubeconfig .* are not a list of named entries"),
        (KUBECONFIG.replace("shop", "n"), "namespace of context 'two' in .* is read as False and must be text"),
        (KUBECONFIG.replace("token: t", "token: 1234"), "token of user 'u' in .* is read as 1234 and must be text"),
        (KUBECONFIG.replace("name: c,", "name: d,"), "context 'one' names cluster 'c', which is not in"),
        (KUBECONFIG.replace("name: u,", "name: v,"), "context 'one' names user 'u', which is not in"),
        (KUBECONFIG.replace("one, context: {cluster: c, user: u}", "one, context: {cluster: c}"), "names no user"),
        (KUBECONFIG.replace("token: t", ""), "user 'u' has no credentials, so requests would be anonymous"),
        (
            KUBECONFIG.replace("token: t", "auth-provider: {name: azure}"),
            "auth-provider 'azure', which Kubernetes removed",
        ),
        (KUBECONFIG.replace("token: t", "token: t, as: x, as-groups: [y]"), "impersonates with as-groups"),
        (KUBECONFIG.replace("127.0.0.1:1", "127.0.0.1:99999"), "is not a URL such as"),
        (KUBECONFIG.replace("https://127.0.0.1:1", "127.0.0.1"), "is not a URL such as"),
    ],
)
def test_unusable_kubeconfig(tmp_path: Path, text: str, message: str) -> None:
    """A kubeconfig that kubectl would not use, or use without credentials, is refused in a sentence with a hint."""
    with pytest.raises(CommandError, match=message) as refused:
        read_by_azwi(tmp_path, text)
    assert refused.value.hint


def test_kubectl_proxy(tmp_path: Path) -> None:
    """`kubectl proxy` serves plain HTTP and adds credentials itself, so none are needed."""
    text = KUBECONFIG.replace("https:", "http:").replace("token: t", "")
    assert read_by_azwi(tmp_path, text).namespace == "default"


def test_merged_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing and empty files of a list are skipped, and of a name in several files the first counts."""
    (tmp_path / "empty").touch()
    (tmp_path / "token").write_text("t")
    (tmp_path / "first").write_text("users: [{name: u, user: {tokenFile: token}}]")
    (tmp_path / "second").write_text(KUBECONFIG)
    files = ":".join(str(tmp_path / name) for name in ("none", "empty", "first", "second"))
    monkeypatch.setenv("KUBECONFIG", files)
    assert Cluster.connect(ClusterTarget(context="two")).namespace == "shop"
    merged = kubeconfig.read(files)
    assert merged.users["u"] == {"tokenFile": str(tmp_path / "token")}


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
