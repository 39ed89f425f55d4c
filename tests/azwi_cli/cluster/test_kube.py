"""Paths of resources; what is asked of a cluster is in tests/cluster."""

import pytest

from azwi_cli.cluster.kube import path


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
