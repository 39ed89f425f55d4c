"""`azwi podidentity detect`: the workloads that use aad-pod-identity, and the manifests that migrate them."""

import shlex
from pathlib import Path

import click

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.cluster import options as cluster_flags
from azwi_cli.cluster.kube import Cluster, ClusterTarget
from azwi_cli.commands.podidentity import plan, workloads
from azwi_cli.commands.podidentity.bindings import USER_ASSIGNED
from azwi_cli.commands.podidentity.plan import Migration, MigrationOptions, MigrationPlan
from azwi_cli.console import output
from azwi_cli.console.errors import UsageError
from azwi_cli.console.option_types import TokenExpiration
from azwi_cli.console.output import OutputFormat
from azwi_cli.console.printable import printable
from webhook.admission import values
from webhook.admission.proxy import MAX_PORT


@click.command("detect")
@cluster_flags.cluster_options
@cluster_flags.namespace_option("Only this namespace; default: all.")
@click.option(
    "--output-dir",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write one manifest file for each workload there; default: only list them.",
)
@click.option(
    "--proxy-port",
    "-p",
    metavar="PORT",
    type=click.IntRange(1, MAX_PORT),
    default=names.DEFAULT_PROXY_PORT,
    show_default=True,
    help="Port of the proxy.",
)
@click.option(
    "--service-account-token-expiration",
    "token_expiration",
    type=TokenExpiration(),
    default="1h0m0s",
    show_default=True,
    help="How long a token lives: 1h to 24h.",
)
@click.option(
    "--tenant-id", metavar="ID", default="", help="Tenant to annotate ServiceAccounts with; default: the webhook's."
)
@click.option(
    "--force-namespaced",
    is_flag=True,
    help="Bindings count in their own namespace only, as with aad-pod-identity's --forceNamespaced.",
)
@output.format_option(short=False)
def detect(  # noqa: PLR0913  one parameter a flag
    *,
    kubeconfig: str,
    context: str,
    namespace: str,
    output_dir: Path | None,
    proxy_port: int,
    token_expiration: int,
    tenant_id: str,
    force_namespaced: bool,
    output_format: OutputFormat,
) -> None:
    """Find what uses aad-pod-identity, and write what migrates it.

    Workloads are found by their pod templates: idle CronJobs and workloads scaled to zero, too, in all namespaces.
    For each a file is written with its ServiceAccount and itself, opted in and with the proxy, which answers its
    requests for managed identity tokens. Nothing in the cluster or in Azure is changed.
    """
    if tenant_id and not values.is_tenant(tenant_id):
        raise UsageError(f"--tenant-id {tenant_id!a} is not a tenant", "give the tenant's UUID or one of its domains")
    with output.progress("reading the cluster"):
        snapshot = workloads.read(Cluster.connect(ClusterTarget(kubeconfig, context, namespace)), namespace)
    made = plan.make(snapshot, MigrationOptions(tenant_id, token_expiration, proxy_port, force_namespaced))
    if output_dir is not None:
        for migration in made.migrations:
            output.write_file(output_dir / migration.file, output.as_documents(migration.documents))
    output.write(_document(made), output_format, lambda: _text(made, output_dir))


def _document(made: MigrationPlan) -> JsonObject:
    return {
        "migrations": [
            {
                "namespace": migration.namespace,
                "kind": migration.kind,
                "name": migration.name,
                "azureIdentity": str(migration.identity),
                "clientID": migration.identity.client_id,
                "resourceID": migration.identity.resource_id,
                "serviceAccount": migration.service_account,
                "subject": migration.subject,
                "file": migration.file,
                "notes": list(migration.notes),
            }
            for migration in made.migrations
        ],
        "skipped": [
            {"namespace": skipped.namespace, "kind": skipped.kind, "name": skipped.name, "why": skipped.why}
            for skipped in made.skipped
        ],
        "notes": list(made.notes),
    }


def _text(made: MigrationPlan, output_dir: Path | None) -> str:
    parts: list[str] = []
    if made.migrations:
        rows = [
            [
                migration.namespace,
                migration.kind,
                migration.name,
                migration.identity,
                migration.identity.client_id,
                migration.service_account,
            ]
            for migration in made.migrations
        ]
        parts.append(output.table(["namespace", "kind", "name", "azureidentity", "client id", "service account"], rows))
    else:
        parts.append("Nothing here uses aad-pod-identity in a way that can be migrated.")
    if notes := [
        *made.notes,
        *(f"{_name(migration)}: {note}" for migration in made.migrations for note in migration.notes),
    ]:
        parts.append("\n".join(["To know:", *(f"  {printable(note)}" for note in notes)]))
    if made.skipped:
        rows = [[skipped.namespace, skipped.kind, skipped.name, skipped.why] for skipped in made.skipped]
        parts.append("Left out:\n" + output.table(["namespace", "kind", "name", "why"], rows))
    if made.migrations:
        parts.append(_next_steps(made, output_dir))
    return "\n\n".join(parts)


def _name(migration: Migration) -> str:
    return f"{migration.kind} {migration.namespace}/{migration.name}"


def _next_steps(made: MigrationPlan, output_dir: Path | None) -> str:
    if output_dir is None:
        return "Next: azwi podidentity detect --output-dir DIR writes the manifests."
    accounts = {migration.subject: migration for migration in made.migrations}
    return "\n".join(
        [
            f"{len(made.migrations)} files are in {output_dir}. Next:",
            "  1. install the webhook",
            "  2. create the federated credentials:",
            *(f"     {printable(_federation(migration))}" for migration in accounts.values()),
            "  3. read the files, then: kubectl apply -f " + str(output_dir),
        ]
    )


def _federation(migration: Migration) -> str:
    """The command that makes a federated credential; resources were written by others, so everything is quoted."""
    identity = ["--identity-resource-id", migration.identity.resource_id]
    if migration.identity.kind != USER_ASSIGNED:
        identity = ["--aad-application-client-id", migration.identity.client_id]
    account = ["--service-account-namespace", migration.namespace, "--service-account-name", migration.service_account]
    return shlex.join(["azwi", "serviceaccount", "create", "phase", "federated-identity", *identity, *account])
