"""Settings as CEL."""

import re
from fnmatch import fnmatchcase

import pytest

from testbed.pods import CLIENT_ID, OTHER_CLIENT_ID, TENANT_ID, endpoint, mapping, policy
from webhook.admission.policy import Policy, TrustBundle
from webhook.admission_policy.settings import regular_expression, settings_variables

NAMES = ("shop", "shop-dev", "team-a-dev", "team-b", "a.b", "a-b", "x1", "x]", "[", "!a")


@pytest.mark.parametrize(
    "pattern", ["shop*", "*", "team-?-dev", "a.b", "x[0-9]", "x[!0-9]", "x[]]", "[", "x[!]]", "sh[o"]
)
def test_patterns(pattern: str) -> None:
    """A pattern matches as a regular expression what it matches as a pattern."""
    expression = re.compile(regular_expression(pattern), re.ASCII)
    assert [name for name in NAMES if expression.search(name)] == [name for name in NAMES if fnmatchcase(name, pattern)]


def values(of: Policy) -> dict[str, str]:
    """Return the expressions of settings by name."""
    return {variable.name: variable.expression for variable in settings_variables(of)}


def test_values() -> None:
    """A setting is JSON, with the escapes of Helm."""
    found = values(policy(audience="api://<a>"))
    assert found["audience"] == r'"api://\u003ca\u003e"'
    assert found["defaultTenantId"] == f'"{TENANT_ID}"'
    assert found["defaultExpiration"] == "3600"
    assert found["optIn"] == '["pod-label"]'
    assert found["proxyIsNative"] == "true"


def test_mapping() -> None:
    """Entries without patterns are found by name; of those with patterns the most specific one is first."""
    entries = mapping(
        ("*", "*", CLIENT_ID),
        ("shop", "*", OTHER_CLIENT_ID),
        ("shop", "web", CLIENT_ID),
        ("shop", "web", OTHER_CLIENT_ID),
    )
    found = values(policy(mapping=entries))
    assert found["mappedAccounts"] == (
        f'{{"shop/web":{{"clientId":"{CLIENT_ID}","tenantId":"","tokenExpiration":""}}}}'
    )
    assert found["mappedPatterns"].index("^shop$") < found["mappedPatterns"].index('"namespace":"^.*$"')


def test_selector_of_bundles() -> None:
    """A label selector has members of several types, which are dyn."""
    selector = {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "k", "operator": "Exists"}]}
    found = values(policy(custom_endpoint=endpoint(ca_bundle=TrustBundle("example.com/signer", selector))))
    assert found["endpointCaSelector"] == (
        '[{"matchExpressions":dyn([dyn({"key":dyn("k"),"operator":dyn("Exists")})]),"matchLabels":dyn({"a":dyn("b")})}]'
    )
