"""The conditions that the API server evaluates for every ServiceAccount."""

import json

from testbed.pods import CLIENT_ID, TENANT_ID, mapping, policy
from webhook.admission_policy.conditions import OWN_ACCOUNT, usual_settings, with_settings


def test_settings() -> None:
    """A condition has the settings as literals, since the API server takes no variables there."""
    written = with_settings(OWN_ACCOUNT, usual_settings(policy(audience="api://other")))
    assert "settings." not in written
    assert "variables." not in written
    assert f'.orValue("{TENANT_ID}")' in written
    assert 'dyn("api://other")' in written


def test_no_usual_pod() -> None:
    """A setting by which pods differ is empty, so that none of them counts as complete before it is looked at."""
    mapped = usual_settings(policy(mapping=mapping(("shop", "web", CLIENT_ID))))
    assert [json.loads(mapped[name]) for name in ("tenantId", "expiration")] == ["", ""]
    assert json.loads(usual_settings(policy(second_audience="api://second"))["audience"]) == ""
