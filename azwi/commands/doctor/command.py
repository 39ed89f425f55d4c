"""`azwi doctor`: why pods get no token, by what is in the cluster and in Azure, and the commands that mend it."""

# ruff: noqa: PLC0415  help texts do without cryptography, the server's settings and Azure

import os
import sys
from dataclasses import fields, replace
from typing import Any, Final

import click

from azwi.azure import options
from azwi.azure.auth import Login
from azwi.azure.options import CLOUD, LOGIN, Given
from azwi.azure.target import Target
from azwi.cluster import kube
from azwi.cluster.kube import Cluster
from azwi.commands.doctor.findings import Finding, Severity
from azwi.commands.doctor.fixes import Tools
from azwi.commands.doctor.snapshot import Snapshot
from azwi.console import output
from azwi.console.dry_run import Planned
from azwi.console.errors import Status, UsageError
from azwi.console.printable import printable

# The flags about Azure that printed commands repeat: no secret, but its file.
_AZURE: Final = {"auth_method", *(each.name for each in (*fields(Target), *fields(Login)))} - {"client_secret"}


@click.command("doctor", short_help="Say why pods get no token, and what mends it.")
@kube.cluster_options
@click.option("--namespace", "-n", metavar="NAME", default="", help="Only this namespace; default: all.")
@click.option("--pod", metavar="NAME", default="", help="Only this pod and what owns it.")
@click.option(
    "--service-account",
    "--service-account-name",
    metavar="NAME",
    default="",
    help="Only this ServiceAccount and the workloads that use it.",
)
@click.option("--restart", is_flag=True, help="After asking, restart the owners of pods that must be created anew.")
@click.option("--yes", "-y", is_flag=True, help="With --restart: do not ask.")
@click.option("--dry-run", is_flag=True, help="With --restart: change nothing; print every request that would.")
@options.of(CLOUD, LOGIN)
@output.option
@click.pass_context
def command(context: click.Context, /, **given: Any) -> None:  # noqa: ANN401  click's
    """Say why pods get no token of Microsoft Entra: what is wrong, what shows it, and the command that mends it.

    Reads the cluster: the webhook and its certificates, workloads, ServiceAccounts, pods, NetworkPolicies; a labelled
    pod is created in a dry run. With a subscription or a tenant that can be told, reads the federated credentials
    in Azure, too. What may not be read is told, and the rest is looked at. Nothing is changed, but by --restart.

    Exit status: 0 no errors (there may be warnings), 1 errors found, 2 wrong usage.
    """
    if given["yes"] and not given["restart"]:
        raise UsageError("--yes is for --restart", "the doctor changes nothing without it")
    if given["dry_run"] and not given["restart"]:
        raise UsageError("--dry-run is for --restart", "the doctor changes nothing without it")
    if given["restart"] and not (given["yes"] or given["dry_run"]) and not sys.stdin.isatty():
        raise UsageError("--restart asks, and nobody can answer here", "give --yes, too")
    target = kube.Target(given["kubeconfig"], given["context"], given["namespace"])
    with output.progress("reading the cluster") as shown:
        cluster = Cluster.connect(target)
        snapshot = _read(cluster, given, tools(context, given))
        shown.update("reading Azure")
        snapshot = _with_azure(replace(snapshot, tenant=given["tenant_id"]), given)
    from azwi.commands.doctor import report

    findings = report.examine(snapshot)
    planned = _planned(snapshot, findings) if given["dry_run"] else None
    shown_as = report.document(findings, snapshot.unseen, planned)
    output.write(shown_as, given["form"], lambda: report.text(findings, snapshot.unseen, planned))
    if given["restart"] and planned is None:
        _restart(cluster, snapshot, findings, ask=not given["yes"])
    if any(each.severity is Severity.ERROR for each in findings):
        context.exit(Status.FAILED)


def _read(cluster: Cluster, given: Given, commands: Tools) -> Snapshot:
    from azwi.commands.doctor import reader

    one = given["pod"] or given["service_account"]
    namespace = given["namespace"] or (cluster.namespace if one else "")
    return reader.read(cluster, reader.Scope(namespace, given["pod"], given["service_account"]), commands)


def _with_azure(snapshot: Snapshot, given: Given) -> Snapshot:
    """The same, with what the identities of its accounts trust."""
    identities = snapshot.identities().values()
    if not identities:
        return snapshot
    from azwi.azure.session import Session
    from azwi.commands.doctor import azure
    from azwi.commands.serviceaccount.options import login

    with Session(login(given), options.target(given), environ=os.environ) as session:
        seen = azure.read(session, identities)
    return replace(snapshot, held=seen.held, azure_clock=seen.clock, unseen=(*snapshot.unseen, *seen.unseen))


def _planned(snapshot: Snapshot, findings: list[Finding]) -> list[Planned]:
    from azwi.commands.doctor import restart

    wanted = restart.wanted(snapshot, findings)
    return [request for workload in wanted for request, _ in restart.requests(workload)]


def _restart(cluster: Cluster, snapshot: Snapshot, findings: list[Finding], *, ask: bool) -> None:
    from azwi.commands.doctor import restart

    for workload in restart.wanted(snapshot, findings):
        if ask and not click.confirm(printable(f"Restart {workload.subject}?"), err=True):
            continue
        for done in restart.restart(cluster, workload):
            click.echo(printable(done), err=True)


def tools(context: click.Context, given: Given) -> Tools:
    """The programs of the printed commands, with the flags of this one."""
    kubeconfig, name = given["kubeconfig"], given["context"]
    file = [f"--kubeconfig={kubeconfig}"] if kubeconfig else []
    cluster = (*file, *([f"--context={name}"] if name else []))
    azure = tuple(options.repeated(context, _AZURE))
    helm = (*file, *([f"--kube-context={name}"] if name else []))
    return Tools(kubectl_flags=cluster, helm_flags=helm, cluster_flags=cluster, azure_flags=azure)
