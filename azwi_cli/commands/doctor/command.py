"""`azwi doctor`: finds out why pods get no token, in the cluster and in Azure, and prints the commands that fix it."""

# ruff: noqa: PLC0415  help texts do without cryptography, the server's settings and Azure

# ruff: noqa: PLC0415  help texts do without cryptography, the server's settings and Azure

import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from azwi_cli.azure import options
from azwi_cli.azure.auth import Login
from azwi_cli.azure.options import CLOUD, LOGIN, Params
from azwi_cli.azure.target import CloudTarget
from azwi_cli.cluster import completion, kube
from azwi_cli.cluster import options as cluster_flags
from azwi_cli.cluster.kube import ApiError, Cluster
from azwi_cli.commands.doctor.checks.check import Group
from azwi_cli.commands.doctor.findings import Finding
from azwi_cli.commands.doctor.fixes import CommandBuilder
from azwi_cli.commands.doctor.snapshot import Snapshot
from azwi_cli.console import output, terminal
from azwi_cli.console.dry_run import Planned
from azwi_cli.console.errors import CommandError, Status, UnreachableError, UsageError
from azwi_cli.console.output import OutputFormat
from azwi_cli.console.printable import printable

if TYPE_CHECKING:
    from azwi_cli.commands.doctor.text import Style

WATCH_SECONDS: Final = 10
# The flags about Azure that printed commands repeat: no secret, but its file.
_AZURE: Final = {"auth_method", *(field.name for field in (*fields(CloudTarget), *fields(Login)))} - {"client_secret"}


class CouldNotLookError(CommandError):
    """Nothing could be looked at."""

    exit_code = Status.UNKNOWN

    def __init__(self, error: CommandError) -> None:
        super().__init__(f"could not look: {error.message}", error.hint)


@click.command("doctor")
@cluster_flags.cluster_options
@cluster_flags.namespace_option("Only this namespace; default: all.")
@click.option(
    "--pod",
    metavar="NAME",
    default="",
    callback=cluster_flags.checked_name,
    shell_complete=completion.named("pods"),
    help="Only this pod and its owner.",
)
@click.option(
    "--service-account",
    "--service-account-name",
    metavar="NAME",
    default="",
    callback=cluster_flags.checked_name,
    shell_complete=completion.named("serviceaccounts"),
    help="Only this ServiceAccount and the workloads that use it.",
)
@click.option("--pre", is_flag=True, help="Check before an installation whether this cluster is ready for it.")
@click.option("--watch", is_flag=True, help=f"Look again every {WATCH_SECONDS} s, until Ctrl-C.")
@click.option("--quiet", "-q", is_flag=True, help="Print findings and the outcome only.")
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

    Exit status: 0 nothing wrong (there may be warnings), 1 something wrong, 2 wrong usage, 3 could not look: no login,
    or what matters may not be read.
    """
    _check(given)
    while True:
        status = _look(context, given)
        if not given["watch"]:
            context.exit(status)
        time.sleep(WATCH_SECONDS)
        if sys.stdout.isatty():
            click.clear()


def _check(given: Params) -> None:
    """Refuse flags that cannot go together.

    Raises:
        UsageError: saying which.
    """
    for flag in ("yes", "dry_run"):
        if given[flag] and not given["restart"]:
            raise UsageError(f"--{flag.replace('_', '-')} is for --restart", "without it nothing is changed")
    for flag in ("watch", "pre"):
        if given[flag] and given["restart"]:
            raise UsageError(f"--restart cannot go with --{flag}", "look first, then restart")
    if given["restart"] and not (given["yes"] or given["dry_run"]) and not sys.stdin.isatty():
        raise UsageError("--restart asks, and there is no terminal to answer on", "add --yes")


def _look(context: click.Context, given: Params) -> Status:
    """Look once, print what is found while it is found, and return the exit status."""
    from azwi_cli.commands.doctor import report as reports
    from azwi_cli.commands.doctor import text

    people = given["output_format"] is OutputFormat.TABLE
    style = text.Style(terminal.coloured(sys.stdout), terminal.width(sys.stdout), given["quiet"], terminal.is_ascii())
    try:
        with output.progress("connecting to the cluster") as shown:
            if given["pre"]:
                return _look_before(context, given, style, shown)
            cluster, snapshot = _snapshot(context, given, shown.update)
    except (UnreachableError, ApiError) as error:
        if people:
            raise CouldNotLookError(error) from error
        output.write(reports.document(reports.unreachable(error)), given["output_format"], str)
        return Status.UNKNOWN
    wanted = _azure_is_wanted(context)
    report = reports.examine(snapshot, azure_wanted=wanted)
    if people:
        _print(line for group in Group if group is not Group.AZURE for line in text.group_lines(report, group, style))
    with output.progress("reading Azure"):
        snapshot = _with_azure(replace(snapshot, tenant=given["tenant_id"]), given)
    report = reports.examine(snapshot, azure_wanted=wanted)
    planned = _planned(snapshot, report.findings) if given["dry_run"] else None
    if people:
        _print(text.group_lines(report, Group.AZURE, style))
        _print(text.closing_lines(report, style, planned))
    else:
        output.write(reports.document(report, planned), given["output_format"], str)
    if given["restart"] and planned is None:
        _restart(cluster, snapshot, report.findings, ask=not given["yes"])
    return report.status


def _look_before(context: click.Context, given: Params, style: "Style", shown: output.Progress) -> Status:
    """Look whether an installation can be made."""
    from azwi_cli.commands.doctor import pre, text
    from azwi_cli.commands.doctor import report as reports

    cluster = _connected(given)
    report = pre.examine(
        cluster, commands(context, given), lambda: options.target(given).cloud(os.environ), shown.update
    )
    shown.stop()
    output.write(reports.document(report), given["output_format"], lambda: text.text(report, style))
    return report.status


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def _snapshot(context: click.Context, given: Params, on_step: Callable[[str], None]) -> tuple[Cluster, Snapshot]:
    """The connection and what was read of the cluster.

    Raises:
        UnreachableError: when there is no connection, or no login.
    """
    cluster = _connected(given)
    return cluster, _read(cluster, given, commands(context, given), on_step)


def _connected(given: Params) -> Cluster:
    target = kube.ClusterTarget(given["kubeconfig"], given["context"], given["namespace"])
    try:
        return Cluster.connect(target)
    except CommandError as error:
        raise UnreachableError(error.message, error.hint) from error


def _azure_is_wanted(context: click.Context) -> bool:
    """Whether the command line names something of Azure: then it matters when Azure cannot be reached."""
    return any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in _AZURE)


def _read(cluster: Cluster, given: Params, commands: CommandBuilder, on_step: Callable[[str], None]) -> Snapshot:
    from azwi_cli.commands.doctor import reader

    one = given["pod"] or given["service_account"]
    namespace = given["namespace"] or (cluster.namespace if one else "")
    return reader.read(cluster, reader.Scope(namespace, given["pod"], given["service_account"]), commands, on_step)


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
