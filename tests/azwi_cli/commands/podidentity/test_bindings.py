"""Which pods aad-pod-identity gives which identity."""

import pytest

from azure_workload_identity.types import JsonObject
from azwi_cli.commands.podidentity.bindings import AzureIdentity, AzureIdentityBinding, exempt, parse_bindings
from tests.azwi_cli.commands.podidentity.objects import CLIENT, binding, exception, identity


def parsed(*, namespaced: bool = False) -> AzureIdentityBinding:
    """Return the one binding of namespace and selector `shop`."""
    [found], _ = parse_bindings([identity(namespaced=namespaced)], [binding()])
    return found


@pytest.mark.parametrize(
    ("namespace", "selector", "namespaced", "force", "expected"),
    [
        ("shop", "shop", False, False, True),
        ("shop", "Shop", False, False, False),
        ("other", "shop", False, False, True),
        ("other", "shop", True, False, False),
        ("shop", "shop", True, False, True),
        ("other", "shop", False, True, False),
    ],
)
def test_matching(namespace: str, selector: str, *, namespaced: bool, force: bool, expected: bool) -> None:
    """A selector matches exactly, and across namespaces unless the identity or the component says otherwise."""
    assert parsed(namespaced=namespaced).matches(namespace, selector, force_namespaced=force) is expected


@pytest.mark.parametrize(
    ("identities", "bound", "why"),
    [
        ([identity()], binding(selector=""), "no selector"),
        ([identity()], binding(azure_identity=""), "names no AzureIdentity"),
        ([identity()], binding(azure_identity="none"), "there is no AzureIdentity none"),
        ([identity()], binding(namespace="other"), "there is no AzureIdentity shop in its namespace"),
        ([identity(client_id="")], binding(), "has no clientID"),
    ],
)
def test_broken(identities: list[JsonObject], bound: JsonObject, why: str) -> None:
    """A binding that identifies nobody is reported with the reason."""
    good, [broken] = parse_bindings(identities, [bound])
    assert good == []
    assert why in broken.why


def test_order() -> None:
    """Bindings have the order of their namespaces and names, whatever the API server's."""
    found, _ = parse_bindings(
        [identity(), identity(namespace="a")], [binding("b"), binding("a"), binding("z", namespace="a")]
    )
    assert [(binding.namespace, binding.name) for binding in found] == [("a", "z"), ("shop", "a"), ("shop", "b")]


def test_identity() -> None:
    """An identity is read with what is there; blanks context ids are no part of them."""
    raw = identity(client_id=f" {CLIENT}\n", type=1, tenantID="t", resourceID=None)
    assert AzureIdentity.parse(raw) == AzureIdentity("shop", "shop", 1, CLIENT, "", "t", namespaced=False)


def test_exceptions() -> None:
    """An exception counts in its namespace for pods with all its labels; one without labels for none."""
    labels = {"app": "web", "more": "1"}
    assert list(exempt([exception({"app": "web"})], "shop", labels)) == ["exempt"]
    assert not list(exempt([exception({"app": "web"})], "other", labels))
    assert not list(exempt([exception({"app": "web", "x": "y"})], "shop", labels))
    assert not list(exempt([exception({})], "shop", labels))
