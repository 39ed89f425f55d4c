"""The commands that findings print: azwi's are read by azwi itself; tests/cluster/doctor runs all kinds of them."""

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.azure.federation import MAX_CREDENTIALS, FederatedCredential
from azwi_cli.commands.doctor.checks import accounts, azure, mapping, workloads
from azwi_cli.commands.doctor.findings import Code
from azwi_cli.commands.doctor.fixes import CommandBuilder
from azwi_cli.commands.doctor.snapshot import HeldCredentials, StoredMapping
from tests.azwi_cli.commands.doctor.snapshots import CLIENT_ID, account, mapped, snapshot, workload
from tests.support.commands import azwi_commands, parsed

ISSUER = "https://issuer.test/"
SUBJECT = "system:serviceaccount:shop:app"
AUDIENCE = names.DEFAULT_AUDIENCE
APPLICATION = ("--aad-application-client-id", CLIENT_ID)
COMMANDS = CommandBuilder(cluster_flags=("--kubeconfig=k", "--context=c"), azure_flags=("--azure-env=AzureChinaCloud",))
MAPPING = StoredMapping("system", "map")


def credential(issuer: str = ISSUER, subject: str = SUBJECT, audience: str = AUDIENCE) -> FederatedCredential:
    """Write a federated credential."""
    return FederatedCredential("id", "name", issuer, subject, (audience,))


@pytest.mark.parametrize(
    ("code", "held", "flags"),
    [
        (Code.IDENTITY_MISSING, HeldCredentials(CLIENT_ID), [{"force_conflicts": True}]),
        (Code.CREDENTIAL_MISSING, [], [{"aad_application_client_id": CLIENT_ID}]),
        (Code.ISSUER_DIFFERS, [credential("https://issuer.test")], [{"service_account_issuer_url": ISSUER}]),
        (Code.SUBJECT_DIFFERS, [credential(subject=SUBJECT.upper())], [{"audience": AUDIENCE}]),
        (Code.AUDIENCE_DIFFERS, [credential(audience="x")], [{"audience": AUDIENCE}, {"audience": AUDIENCE}]),
        (Code.CREDENTIALS_FULL, [credential("x", "y")] * MAX_CREDENTIALS, [{"force_conflicts": True}]),
    ],
)
def test_azure(code: Code, held: HeldCredentials | list[FederatedCredential], flags: list[JsonObject]) -> None:
    """What fixes the trust is a command that azwi takes, for this account, cluster and cloud."""
    holder = (
        held if isinstance(held, HeldCredentials) else HeldCredentials(CLIENT_ID, "application web", APPLICATION, held)
    )
    seen = snapshot(accounts={("shop", "app"): account()}, held={CLIENT_ID: holder}, commands=COMMANDS)
    [finding] = azure.trusted(seen)
    assert finding.code is code
    found = [parsed(arguments) for arguments in azwi_commands(finding.fix)]
    assert len(found) == len(flags)
    for command, wanted in zip(found, flags, strict=True):
        common = {"service_account_namespace": "shop", "service_account_name": "app", "kubeconfig": "k", "context": "c"}
        assert command.items() >= {**common, **wanted, "azure_env": "AzureChinaCloud"}.items()


def test_identity_of_the_mapping() -> None:
    """Where the mapping says which identity it is, the account stays as it is."""
    seen = snapshot(
        accounts={("shop", "app"): account(annotations={})},
        held={CLIENT_ID: HeldCredentials(CLIENT_ID)},
        policy=mapped(("shop", "app")),
        mapping=MAPPING,
    )
    [finding] = azure.trusted(seen)
    [arguments] = azwi_commands(finding.fix)
    assert parsed(arguments)["skip_phases"] == ("service-account",)
    assert finding.fix.endswith(" && kubectl -n system edit configmap map")


def test_no_client_id() -> None:
    """An account without identity gets one by a command that azwi takes."""
    bare = workload(annotations={})
    [finding] = accounts.identified(snapshot(accounts={("shop", "app"): account()}, workloads=[bare]))
    [arguments] = azwi_commands(finding.fix)
    assert parsed(arguments)["service_account_name"] == "app"


def test_unseen_mapping() -> None:
    """A mapping that is not shown may name the identity, so that none is called missing."""
    unreadable = StoredMapping("system", "map", there=None)
    seen = snapshot(accounts={("shop", "app"): account()}, workloads=[workload(annotations={})], mapping=unreadable)
    assert list(accounts.identified(seen)) == []
    assert list(mapping.readable(seen)) == []


def test_invalid_client_id() -> None:
    """A client id that cannot be one is replaced, whoever wrote it."""
    refused = workload(annotations={names.CLIENT_ID: "not an id"})
    [finding] = workloads.refused(snapshot(workloads=[refused]))
    [arguments] = azwi_commands(finding.fix)
    assert parsed(arguments)["force_conflicts"] is True
