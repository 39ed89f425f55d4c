"""`azwi podidentity detect`: the workloads that use aad-pod-identity, and the manifests that migrate them."""

import shlex
from pathlib import Path

import click

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi.cluster import kube
from azwi.cluster.kube import Cluster, Target
from azwi.commands.podidentity import plan, workloads
from azwi.commands.podidentity.bindings import USER_ASSIGNED
from azwi.commands.podidentity.plan import Migration, Plan, Wishes
from azwi.console import output
from azwi.console.errors import UsageError
from azwi.console.option_types import TokenExpiration
from azwi.console.output import Form
from azwi.console.printable import printable
from webhook.admission import values
from webhook.admission.proxy import MAX_PORT


@click.command("detect", short_help="Find what uses aad-pod-identity, and write what migrates it.")
@kube.cluster_options
@click.option("--namespace", "-n", metavar="NAME", default="", help="Only this namespace; default: all.")
@click.option(
    "--output-dir",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write one file a workload there, to be applied; default: only tell what was found.",
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
@output.form_option(short=False)
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
    form: Form,
) -> None:
    """Find what uses aad-pod-identity, and write what migrates it.

    Found by their pod templates: idle CronJobs and workloads scaled to zero, too, in all namespaces. Each gets a file
    with its ServiceAccount and itself, opted in and with the proxy, which answers what it asks of managed identity.
    Nothing in the cluster or in Azure is changed.
    """
    if tenant_id and not values.is_tenant(tenant_id):
        raise UsageError(f"--tenant-id {tenant_id!a} is no tenant", "give the tenant's UUID or one of its domains")
    with output.progress("reading the cluster"):
        snapshot = workloads.read(Cluster.connect(Target(kubeconfig, context, namespace)), namespace)
    made = plan.make(snapshot, Wishes(tenant_id, token_expiration, proxy_port, force_namespaced))
    if output_dir is not None:
        for migration in made.migrations:
            output.write_file(output_dir / migration.file, output.as_documents(migration.documents))
    output.write(_document(made), form, lambda: _text(made, output_dir))


def _document(made: Plan) -> JsonObject:
    return {
        "migrations": [
            {
                "namespace": each.namespace,
                "kind": each.kind,
                "name": each.name,
                "azureIdentity": str(each.identity),
                "clientID": each.identity.client_id,
                "resourceID": each.identity.resource_id,
                "serviceAccount": each.service_account,
                "subject": each.subject,
                "file": each.file,
                "notes": list(each.notes),
            }
            for each in made.migrations
        ],
        "skipped": [
            {"namespace": each.namespace, "kind": each.kind, "name": each.name, "why": each.why}
            for each in made.skipped
        ],
        "notes": list(made.notes),
    }


def _text(made: Plan, output_dir: Path | None) -> str:
    parts: list[str] = []
    if made.migrations:
        rows = [
            [each.namespace, each.kind, each.name, each.identity, each.identity.client_id, each.service_account]
            for each in made.migrations
        ]
        parts.append(output.table(["namespace", "kind", "name", "azureidentity", "client id", "service account"], rows))
    else:
        parts.append("Nothing here uses aad-pod-identity in a way that can be migrated.")
    if notes := [*made.notes, *(f"{_name(each)}: {note}" for each in made.migrations for note in each.notes)]:
        parts.append("\n".join(["To know:", *(f"  {printable(note)}" for note in notes)]))
    if made.skipped:
        rows = [[each.namespace, each.kind, each.name, each.why] for each in made.skipped]
        parts.append("Left out:\n" + output.table(["namespace", "kind", "name", "why"], rows))
    if made.migrations:
        parts.append(_next_steps(made, output_dir))
    return "\n\n".join(parts)


def _name(each: Migration) -> str:
    return f"{each.kind} {each.namespace}/{each.name}"


def _next_steps(made: Plan, output_dir: Path | None) -> str:
    if output_dir is None:
        return "Next: azwi podidentity detect --output-dir DIR writes the manifests."
    accounts = {each.subject: each for each in made.migrations}
    return "\n".join(
        [
            f"{len(made.migrations)} files are in {output_dir}. Next:",
            "  1. install the webhook",
            "  2. create the federated credentials:",
            *(f"     {printable(_federation(each))}" for each in accounts.values()),
            "  3. read the files, then: kubectl apply -f " + str(output_dir),
        ]
    )


def _federation(each: Migration) -> str:
    """The command that makes a federated credential; resources were written by others, so everything is quoted."""
    identity = ["--identity-resource-id", each.identity.resource_id]
    if each.identity.kind != USER_ASSIGNED:
        identity = ["--aad-application-client-id", each.identity.client_id]
    account = ["--service-account-namespace", each.namespace, "--service-account-name", each.service_account]
    return shlex.join(["azwi", "serviceaccount", "create", "phase", "federated-identity", *identity, *account])
