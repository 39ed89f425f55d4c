"""The federated credentials of the identities that ServiceAccounts name, read from Azure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from azwi.azure.arm import IdentityCredentials
from azwi.azure.errors import NoAnswerError
from azwi.azure.graph import ApplicationCredentials
from azwi.azure.session import Session
from azwi.clock_skew import Reading
from azwi.commands.doctor.findings import Unseen
from azwi.commands.doctor.snapshot import Held, Named
from azwi.console.errors import CommandError
from azwi.offline.policy import UNKNOWN_TENANT

MAX_IDENTITIES: Final = 100
IDENTITIES: Final = "federated credentials"


@dataclass(frozen=True, slots=True)
class Seen:
    """What each client id trusts (None: Azure cannot be asked at all), what was not shown, and Azure's clock."""

    held: Mapping[str, Held] | None = None
    unseen: Sequence[Unseen] = ()
    clock: Reading | None = None


def read(session: Session, identities: Collection[Named]) -> Seen:
    """Ask Azure for the identities."""
    held: dict[str, Held] = {}
    unseen: list[Unseen] = []
    wanted = sorted({each.client_id for each in identities})
    try:
        graph = session.graph
    except CommandError as error:
        return Seen(unseen=[Unseen(IDENTITIES, f"{error.message}; {error.hint}")])
    for client_id in wanted[:MAX_IDENTITIES]:
        try:
            application = graph.application(client_id=client_id)
            if application is not None:
                held[client_id] = _of_application(ApplicationCredentials(graph, application))
                continue
            principal = graph.principal(client_id=client_id)
            if principal is None and (elsewhere := _elsewhere(session, client_id, identities)):
                unseen.append(Unseen(f"{IDENTITIES} of {client_id}", elsewhere))
            elif principal is None:
                held[client_id] = Held(client_id)
            elif found := session.arm.identity(principal.resource_id) if principal.resource_id else None:
                held[client_id] = _of_identity(IdentityCredentials(session.arm, found))
            else:
                unseen.append(Unseen(f"{IDENTITIES} of {client_id}", "its application is of another tenant, or gone"))
        except NoAnswerError as error:
            unseen.append(Unseen(IDENTITIES, f"{error.message}; {error.hint}"))
            break
        except CommandError as error:
            unseen.append(Unseen(f"{IDENTITIES} of {client_id}", error.message))
    if len(wanted) > MAX_IDENTITIES:
        unseen.append(Unseen(IDENTITIES, f"there are more than {MAX_IDENTITIES} client ids; name a namespace"))
    return Seen(held, unseen, graph.endpoint.clock)


def _elsewhere(session: Session, client_id: str, identities: Collection[Named]) -> str:
    """Whether this tenant need not know a client id, since every account that has it names another one."""
    tenants = {each.tenant_id.lower() for each in identities if each.client_id == client_id}
    if tenants & {UNKNOWN_TENANT, session.tenant.lower()}:
        return ""
    return f"it is of tenant {', '.join(sorted(tenants))}, and looked at was {session.tenant}: --tenant-id"


def _of_application(holder: ApplicationCredentials) -> Held:
    client_id = holder.application.client_id
    return Held(client_id, holder.label, ("--aad-application-client-id", client_id), holder.credentials())


def _of_identity(holder: IdentityCredentials) -> Held:
    flags = ("--identity-resource-id", holder.identity.resource_id)
    return Held(holder.identity.client_id, holder.label, flags, holder.credentials())
