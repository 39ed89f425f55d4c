"""`azwi doctor`: finds out why pods get no token, in the cluster and in Azure, and prints the commands that fix it."""

# ruff: noqa: PLC0415  help texts do without cryptography, the server's settings and Azure

# ruff: noqa: PLC0415  help texts do without cryptography, the server's settings and Azure

import os
import sys
from dataclasses import fields, replace
from typing import Any, Final

import click

from azwi_cli.azure import options
from azwi_cli.azure.auth import Login
from azwi_cli.azure.options import CLOUD, LOGIN, Params
from azwi_cli.azure.target import CloudTarget
from azwi_cli.cluster import kube
from azwi_cli.cluster.kube import Cluster
from azwi_cli.commands.doctor.findings import Finding, Severity
from azwi_cli.commands.doctor.fixes import CommandBuilder
from azwi_cli.commands.doctor.snapshot import Snapshot
from azwi_cli.console import output
from azwi_cli.console.dry_run import Planned
from azwi_cli.console.errors import Status, UsageError
from azwi_cli.console.printable import printable

# The flags about Azure that printed commands repeat: no secret, but its file.
_AZURE: Final = {"auth_method", *(field.name for field in (*fields(CloudTarget), *fields(Login)))} - {"client_secret"}


@click.command("doctor")
@kube.cluster_options
@click.option("--namespace", "-n", metavar="NAME", default="", help="Only this namespace; default: all.")
@click.option("--pod", metavar="NAME", default="", help="Only this pod and its owner.")
@click.option(
    "--service-account",
    "--service-account-name",
    metavar="NAME",
    default="",
    help="Only this ServiceAccount and the workloads that use it.",
)
@click.option("--restart", is_flag=True, help="Restart the owners of pods that must be created again; asks first.")
@click.option("--yes", "-y", is_flag=True, help="With --restart: do not ask.")
@click.option("--dry-run", is_flag=True, help="With --restart: change nothing; print every request that would.")
@options.with_options(CLOUD, LOGIN)
@output.option
@click.pass_context
def command(context: click.Context, /, **given: Any) -> None:  # noqa: ANN401  click's
    """Find out why pods get no token of Microsoft Entra: each problem, its evidence, and the command that fixes it.

    Reads the cluster: the webhook and its certificates, workloads, ServiceAccounts, pods, NetworkPolicies; a labelled
    pod is created in a dry run. With a subscription or a tenant, reads the federated credentials in Azure, too.
    What may not be read is listed, and the rest is checked. Nothing is changed, except by --restart.

    Exit status: 0 no errors (there may be warnings), 1 errors found, 2 wrong usage.
    """
    if given["yes"] and not given["restart"]:
        raise UsageError("--yes is for --restart", "without it nothing is changed")
    if given["dry_run"] and not given["restart"]:
        raise UsageError("--dry-run is for --restart", "without it nothing is changed")
    if given["restart"] and not (given["yes"] or given["dry_run"]) and not sys.stdin.isatty():
        raise UsageError("--restart asks, and there is no terminal to answer on", "add --yes")
    target = kube.ClusterTarget(given["kubeconfig"], given["context"], given["namespace"])
    with output.progress("reading the cluster") as shown:
        cluster = Cluster.connect(target)
        snapshot = _read(cluster, given, commands(context, given))
        shown.update("reading Azure")
        snapshot = _with_azure(replace(snapshot, tenant=given["tenant_id"]), given)
    from azwi_cli.commands.doctor import report

    findings = report.examine(snapshot)
    planned = _planned(snapshot, findings) if given["dry_run"] else None
    shown_as = report.document(findings, snapshot.unreadable, planned)
    output.write(shown_as, given["output_format"], lambda: report.text(findings, snapshot.unreadable, planned))
    if given["restart"] and planned is None:
        _restart(cluster, snapshot, findings, ask=not given["yes"])
    if any(finding.severity is Severity.ERROR for finding in findings):
        context.exit(Status.FAILED)


def _read(cluster: Cluster, given: Params, commands: CommandBuilder) -> Snapshot:
    from azwi_cli.commands.doctor import reader

    one = given["pod"] or given["service_account"]
    namespace = given["namespace"] or (cluster.namespace if one else "")
    return reader.read(cluster, reader.Scope(namespace, given["pod"], given["service_account"]), commands)


def _with_azure(snapshot: Snapshot, given: Params) -> Snapshot:
    """The same, with what the identities of its accounts trust."""
    identities = snapshot.identities().values()
    if not identities:
        return snapshot
    from azwi_cli.azure.session import Session
    from azwi_cli.commands.doctor import azure

    with Session(options.login(given), options.target(given), environ=os.environ) as session:
        seen = azure.read(session, identities)
    return replace(
        snapshot, held=seen.held, azure_clock=seen.clock, unreadable=(*snapshot.unreadable, *seen.unreadable)
    )


def _planned(snapshot: Snapshot, findings: list[Finding]) -> list[Planned]:
    from azwi_cli.commands.doctor import restart

    wanted = restart.wanted(snapshot, findings)
    return [request for workload in wanted for request, _ in restart.requests(workload)]


def _restart(cluster: Cluster, snapshot: Snapshot, findings: list[Finding], *, ask: bool) -> None:
    from azwi_cli.commands.doctor import restart

    for workload in restart.wanted(snapshot, findings):
        if ask and not click.confirm(printable(f"Restart {workload.subject}?"), err=True):
            continue
        for done in restart.restart(cluster, workload):
            click.echo(printable(done), err=True)


def commands(context: click.Context, given: Params) -> CommandBuilder:
    """The programs of the printed commands, with the flags of this one."""
    kubeconfig, name = given["kubeconfig"], given["context"]
    file = [f"--kubeconfig={kubeconfig}"] if kubeconfig else []
    cluster = (*file, *([f"--context={name}"] if name else []))
    azure = tuple(options.flags_to_repeat(context, _AZURE))
    helm = (*file, *([f"--kube-context={name}"] if name else []))
    return CommandBuilder(kubectl_flags=cluster, helm_flags=helm, cluster_flags=cluster, azure_flags=azure)
