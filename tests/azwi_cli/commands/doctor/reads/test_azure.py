"""What Azure is asked of identities."""

from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

from azwi_cli.azure.session import Session
from azwi_cli.commands.doctor.reads import azure as reading
from azwi_cli.commands.doctor.snapshot import HeldCredentials, ResolvedIdentity
from azwi_cli.offline.policy import UNKNOWN_TENANT
from testbed.azure_management import Azure
from tests.azwi_cli.conftest import session_of

CLIENT_ID = "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"
OTHER_TENANT = "0f8fad5b-d9cb-469f-a165-70867728950e"


def test_another_tenant(session: Session) -> None:
    """A client id of another tenant is not missing in this one: that is reported, with what to do."""
    seen = reading.read(session, [ResolvedIdentity(CLIENT_ID, OTHER_TENANT)])
    assert seen.held == {}
    [unreadable] = seen.unreadable
    assert unreadable.what == f"federated credentials of {CLIENT_ID}"
    assert OTHER_TENANT in unreadable.why
    assert "--tenant-id" in unreadable.why


class Nobody:
    """A credential without a token, which counts how often it is asked."""

    asked = 0

    def get_token(self, *_: str, **__: object) -> AccessToken:
        """Fail as azure-identity does where there is no network."""
        self.asked += 1
        raise ClientAuthenticationError("Failed to resolve") from ServiceRequestError("Failed to resolve")


def test_no_way(azure: Azure) -> None:
    """Where Azure issues no token, one request is sent, not one for each identity, and the hint is reported."""
    with session_of(azure) as session:
        session.__dict__["credential"] = nobody = Nobody()
        seen = reading.read(
            session, [ResolvedIdentity(CLIENT_ID, UNKNOWN_TENANT), ResolvedIdentity(OTHER_TENANT, UNKNOWN_TENANT)]
        )
    [unreadable] = seen.unreadable
    assert "Failed to resolve; check that it can be reached from here" in unreadable.why
    assert nobody.asked == 1


def test_this_tenant(session: Session, azure: Azure) -> None:
    """It is missing when an account says this tenant, or none that is known."""
    for tenant in (azure.tenant.upper(), UNKNOWN_TENANT):
        identities = [ResolvedIdentity(CLIENT_ID, tenant), ResolvedIdentity(CLIENT_ID, OTHER_TENANT)]
        seen = reading.read(session, identities)
        assert (seen.held, seen.unreadable) == ({CLIENT_ID: HeldCredentials(CLIENT_ID)}, [])
