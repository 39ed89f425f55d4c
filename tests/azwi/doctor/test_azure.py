"""What Azure is asked of identities."""

from azwi.azure.session import Session
from azwi.doctor import azure as reading
from azwi.doctor.snapshot import Held, Named
from azwi.policy import UNKNOWN_TENANT
from tests.support.azure_management import Azure

CLIENT_ID = "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"
OTHER_TENANT = "0f8fad5b-d9cb-469f-a165-70867728950e"


def test_another_tenant(session: Session) -> None:
    """A client id of another tenant is not missing in this one: that is told, with what to do."""
    seen = reading.read(session, [Named(CLIENT_ID, OTHER_TENANT)])
    assert seen.held == {}
    [unseen] = seen.unseen
    assert unseen.what == f"federated credentials of {CLIENT_ID}"
    assert OTHER_TENANT in unseen.why
    assert "--tenant-id" in unseen.why


def test_this_tenant(session: Session, azure: Azure) -> None:
    """It is missing when an account says this tenant, or none that is known."""
    for tenant in (azure.tenant.upper(), UNKNOWN_TENANT):
        identities = [Named(CLIENT_ID, tenant), Named(CLIENT_ID, OTHER_TENANT)]
        seen = reading.read(session, identities)
        assert (seen.held, seen.unseen) == ({CLIENT_ID: Held(CLIENT_ID)}, [])
