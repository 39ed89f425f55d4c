"""The identities of client ids: managed identities of the subscription, by one list, and applications of the tenant."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from azwi_cli.azure.arm import IdentityCredentials
from azwi_cli.azure.errors import AzureApiError
from azwi_cli.azure.federation import Holder
from azwi_cli.azure.graph import ApplicationCredentials
from azwi_cli.azure.session import Session
from azwi_cli.console.errors import UsageError


@dataclass(slots=True)
class Identities:
    """What holds the federated credentials of each client id; `missing` says why there is none."""

    holders: dict[str, Holder] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def find(session: Session, client_ids: Iterable[str], *, group: str, everything: bool) -> Identities:
    """Those of some client ids; `everything`: of the other managed identities, too, where there may be leftovers.

    Raises:
        CommandError: when the tenant is not known, Azure does not answer, or managed identities may not be listed.
    """
    found = Identities()
    wanted = set(client_ids)
    _ = session.tenant  # without a login that names one, nothing can be looked at
    unlisted = "no managed identity of the subscription has this client id"
    if not session.subscription:
        unlisted = "no subscription is named, so managed identities were not looked for"
    else:
        for identity in session.arm.identities(session.subscription, group):
            client_id = identity.client_id.lower()
            if everything or client_id in wanted:
                found.holders[client_id] = IdentityCredentials(session.arm, identity)
    for client_id in sorted(wanted - found.holders.keys()):
        try:
            application = session.graph.application(client_id=client_id)
        except (AzureApiError, UsageError) as error:
            found.missing[client_id] = f"{unlisted}, and applications could not be looked at: {error.message}"
            continue
        if application is None:
            found.missing[client_id] = f"{unlisted}, and no application of the tenant has it"
        else:
            found.holders[client_id] = ApplicationCredentials(session.graph, application)
    return found
