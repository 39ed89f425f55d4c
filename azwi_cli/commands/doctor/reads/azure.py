"""The federated credentials of the identities that ServiceAccounts name, read from Azure."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from azwi_cli.azure.arm import IdentityCredentials
from azwi_cli.azure.errors import NoAnswerError
from azwi_cli.azure.graph import ApplicationCredentials
from azwi_cli.azure.session import Session
from azwi_cli.clock_skew import ClockReading
from azwi_cli.commands.doctor.findings import Unreadable
from azwi_cli.commands.doctor.reads.reader import Reader
from azwi_cli.commands.doctor.snapshot import HeldCredentials, ResolvedIdentity, Snapshot
from azwi_cli.console.errors import CommandError
from azwi_cli.offline.policy import UNKNOWN_TENANT

MAX_IDENTITIES: Final = 100
IDENTITIES: Final = "federated credentials"
PERMISSION: Final = "Application.Read.All in Microsoft Graph, and Reader on managed identities"
LOGIN: Final = "a login to Azure: az login, or another --auth-method"


@dataclass(frozen=True, slots=True)
class AzureState:
    """The credentials of each client id (None: Azure could not be asked), what could not be read, and Azure's clock."""

    held: Mapping[str, HeldCredentials] | None = None
    unreadable: Sequence[Unreadable] = ()
    clock: ClockReading | None = None


def reader(connect: Callable[[], Session]) -> Callable[[Reader, Snapshot], Snapshot]:
    """Reads what the identities of a snapshot's accounts trust; without any, no connection is made."""

    def read_into(reader: Reader, snapshot: Snapshot) -> Snapshot:
        identities = snapshot.identities().values()
        if not identities:
            return snapshot
        reader.on_step("reading Azure")
        with connect() as session:
            seen = read(session, identities, reader.on_step)
        reader.unreadable += seen.unreadable
        return replace(snapshot, held=seen.held, azure_clock=seen.clock)

    return read_into


def read(
    session: Session, identities: Collection[ResolvedIdentity], on_step: Callable[[str], None] = lambda _: None
) -> AzureState:
    """Ask Azure for the identities."""
    held: dict[str, HeldCredentials] = {}
    unreadable: list[Unreadable] = []
    wanted = sorted({identity.client_id for identity in identities})
    try:
        graph = session.graph
    except CommandError as error:
        return AzureState(unreadable=[Unreadable(IDENTITIES, f"{error.message}; {error.hint}", needs=LOGIN)])
    for number, client_id in enumerate(wanted[:MAX_IDENTITIES], 1):
        on_step(f"reading Azure: identity {number} of {len(wanted)}")
        try:
            application = graph.application(client_id=client_id)
            if application is not None:
                held[client_id] = _of_application(ApplicationCredentials(graph, application))
                continue
            principal = graph.principal(client_id=client_id)
            if principal is None and (elsewhere := _elsewhere(session, client_id, identities)):
                unreadable.append(Unreadable(f"{IDENTITIES} of {client_id}", elsewhere))
            elif principal is None:
                held[client_id] = HeldCredentials(client_id)
            elif found := session.arm.identity(principal.resource_id) if principal.resource_id else None:
                held[client_id] = _of_identity(IdentityCredentials(session.arm, found))
            else:
                unreadable.append(
                    Unreadable(f"{IDENTITIES} of {client_id}", "its application is of another tenant, or gone")
                )
        except NoAnswerError as error:
            unreadable.append(Unreadable(IDENTITIES, f"{error.message}; {error.hint}", needs=LOGIN))
            break
        except CommandError as error:
            unreadable.append(Unreadable(f"{IDENTITIES} of {client_id}", error.message, needs=PERMISSION))
    if len(wanted) > MAX_IDENTITIES:
        unreadable.append(Unreadable(IDENTITIES, f"there are more than {MAX_IDENTITIES} client ids; name a namespace"))
    return AzureState(held, unreadable, graph.endpoint.clock)


def _elsewhere(session: Session, client_id: str, identities: Collection[ResolvedIdentity]) -> str:
    """Whether this tenant need not know a client id, since every account that has it names another one."""
    tenants = {identity.tenant_id.lower() for identity in identities if identity.client_id == client_id}
    if tenants & {UNKNOWN_TENANT, session.tenant.lower()}:
        return ""
    return f"it is of tenant {', '.join(sorted(tenants))}, and looked at was {session.tenant}: --tenant-id"


def _of_application(holder: ApplicationCredentials) -> HeldCredentials:
    client_id = holder.application.client_id
    return HeldCredentials(client_id, holder.label, ("--aad-application-client-id", client_id), holder.credentials())


def _of_identity(holder: IdentityCredentials) -> HeldCredentials:
    flags = ("--identity-resource-id", holder.identity.resource_id)
    return HeldCredentials(holder.identity.client_id, holder.label, flags, holder.credentials())
