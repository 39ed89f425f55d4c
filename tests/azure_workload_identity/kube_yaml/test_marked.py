"""Marked manifests."""

from azure_workload_identity.kube_yaml.marked import ADDED, GREEN, KEPT, marked_lines, rendered

BEFORE = {"spec": {"containers": [{"name": "app"}]}}
AFTER = {"spec": {"containers": [{"name": "app", "env": [{"name": "A", "value": "b"}]}], "volumes": []}}


def test_added_lines_are_marked() -> None:
    """Every line that was not there before is marked, and no other."""
    assert list(marked_lines(BEFORE, AFTER)) == [
        (KEPT, "spec:"),
        (KEPT, "  containers:"),
        (KEPT, "  - name: app"),
        (ADDED, "    env:"),
        (ADDED, "    - name: A"),
        (ADDED, "      value: b"),
        (ADDED, "  volumes: []"),
    ]


def test_colour() -> None:
    """Colour is for terminals only."""
    assert GREEN in rendered(BEFORE, AFTER, colour=True)
    assert GREEN not in rendered(BEFORE, AFTER, colour=False)
