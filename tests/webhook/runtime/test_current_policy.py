"""The policy in force."""

from testbed.pods import mapping
from webhook.admission.identity import IdentityMapping
from webhook.config.command_line import load
from webhook.runtime.current_policy import CurrentPolicy

SETTINGS = load(["--service-accounts=examples"], {"AZURE_TENANT_ID": "9d1b6c3e-5a7f-4c2d-8e90-1f2a3b4c5d6e"})
CLIENT = "7d5b2f6e-3c1a-4b8e-9a55-0c6f1e2d3a4b"


def test_unknown_version() -> None:
    """A cluster whose version is not known yet is taken for a new one."""
    current = CurrentPolicy(SETTINGS, IdentityMapping())
    assert current.version is None
    assert current.get().proxy.native is True


def test_version() -> None:
    """The cluster's version counts as soon as it is known, also after an upgrade."""
    current = CurrentPolicy(SETTINGS, IdentityMapping(), (1, 28))
    before = current.get()
    current.set_version((1, 29))
    assert (before.proxy.native, current.get().proxy.native, current.version) == (False, True, (1, 29))


def test_mapping_and_version_stay_together() -> None:
    """A new mapping keeps the version, and the other way round."""
    current = CurrentPolicy(SETTINGS, IdentityMapping(), (1, 28))
    current.set_mapping(mapping(("shop", "web", CLIENT)))
    assert current.get().proxy.native is False
    current.set_version((1, 36))
    assert current.get().mapping.find("shop", "web") is not None
