"""`azwi doctor`: finds out why pods get no token, in the cluster and in Azure, and prints the commands that fix it."""

# ruff: noqa: PLC0415  help texts do without cryptography, the server's settings and Azure

import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click
from click.core import ParameterSource

from azwi_cli import clock_skew
from azwi_cli.azure import options
from azwi_cli.azure.auth import Login
from azwi_cli.azure.options import CLOUD, LOGIN, Params
from azwi_cli.azure.target import CloudTarget
from azwi_cli.cluster import completion, kube
from azwi_cli.cluster import options as cluster_flags
from azwi_cli.cluster.kube import ApiError, Cluster
from azwi_cli.commands.doctor.findings import Area, Finding
from azwi_cli.commands.doctor.fixes import CommandBuilder
from azwi_cli.commands.doctor.snapshot import Snapshot
from azwi_cli.console import output, terminal
from azwi_cli.console.dry_run import Planned
from azwi_cli.console.errors import CommandError, Status, UnreachableError, UsageError
from azwi_cli.console.output import OutputFormat
from azwi_cli.console.printable import printable

if TYPE_CHECKING:
    from azwi_cli.commands.doctor.checks.check import CheckResult
    from azwi_cli.commands.doctor.reads.reading import Reading
    from azwi_cli.commands.doctor.report import Report
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
    if given["watch"]:
        _watch(context, given)
    context.exit(_look(context, given))


def _watch(context: click.Context, given: Params) -> NoReturn:
    """Look again and again; a cluster that does not answer may do so the next time."""
    while True:
        try:
            _look(context, given)
        except CouldNotLookError as error:
            error.show()
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
    """Look once, print each check as it is made, and return the exit status."""
    from azwi_cli.commands.doctor import report as reports
    from azwi_cli.commands.doctor import text

    try:
        if given["pre"]:
            return _look_before(context, given)
        with output.progress("connecting to the cluster"):
            reading = _reading(_connected(given), context, given)
        report = _examined(reading, given, azure_wanted=_azure_is_wanted(context))
    except (UnreachableError, ApiError) as error:
        if _for_people(given):
            raise CouldNotLookError(error) from error
        output.write(reports.document(reports.unreachable(error)), given["output_format"], str)
        return Status.UNKNOWN
    planned = _planned(reading.snapshot, report.findings) if given["dry_run"] else None
    if _for_people(given):
        _print(text.closing_lines(report, _style(given), planned))
    else:
        output.write(reports.document(report, planned), given["output_format"], str)
    if given["restart"] and planned is None:
        _restart(reading.cluster, reading.snapshot, report.findings, ask=not given["yes"])
    return report.status


def _examined(reading: "Reading", given: Params, *, azure_wanted: bool) -> "Report":
    """Make the checks, and for people print each with what it found."""
    from azwi_cli.commands.doctor import report as reports

    made = _shown(reports.results(reading.covering), given)
    return reports.concluded(made, reading.snapshot, azure_wanted=azure_wanted)


def _shown(results: "Iterable[CheckResult]", given: Params) -> "list[CheckResult]":
    """The results; for people, each is printed before the next check is made."""
    from azwi_cli.commands.doctor import text

    if not _for_people(given):
        return list(results)
    made: list[CheckResult] = []

    def one_by_one() -> "Iterator[CheckResult]":
        for result in results:
            made.append(result)
            yield result

    _print(text.result_lines(one_by_one(), _style(given)))
    return made


def _look_before(context: click.Context, given: Params) -> Status:
    """Look whether an installation can be made."""
    from azwi_cli.commands.doctor import pre, text
    from azwi_cli.commands.doctor import report as reports

    with output.progress("connecting to the cluster"):
        cluster = _connected(given)
    checks = pre.checks(cluster, commands(context, given), lambda: options.target(given).cloud(os.environ))
    report = pre.concluded(_shown(pre.results(checks), given))
    if _for_people(given):
        _print(text.closing_lines(report, _style(given)))
    else:
        output.write(reports.document(report), given["output_format"], str)
    return report.status


def _for_people(given: Params) -> bool:
    return given["output_format"] is OutputFormat.TABLE


def _style(given: Params) -> "Style":
    from azwi_cli.commands.doctor.text import Style

    return Style(terminal.coloured(sys.stdout), terminal.width(sys.stdout), given["quiet"], terminal.is_ascii())


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def _connected(given: Params) -> Cluster:
    target = kube.ClusterTarget(given["kubeconfig"], given["context"], given["namespace"])
    try:
        return Cluster.connect(target)
    except CommandError as error:
        raise UnreachableError(error.message, error.hint) from error


def _azure_is_wanted(context: click.Context) -> bool:
    """Whether the command line names something of Azure: then it matters when Azure cannot be reached."""
    return any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in _AZURE)


def _reading(cluster: Cluster, context: click.Context, given: Params) -> "Reading":
    """What the checks look at, of which nothing is read yet."""
    from azwi_cli.azure.session import Session
    from azwi_cli.commands.doctor.reads import azure, reading
    from azwi_cli.commands.doctor.reads.reader import Reader, Scope

    one = given["pod"] or given["service_account"]
    namespace = given["namespace"] or (cluster.namespace if one else "")
    reader = Reader(cluster, Scope(namespace, given["pod"], given["service_account"]))
    of_azure = reading.Read(
        frozenset({Area.AZURE}),
        azure.reader(lambda: Session(options.login(given), options.target(given), environ=os.environ)),
    )
    snapshot = Snapshot(clock_skew.now(), commands(context, given), tenant=given["tenant_id"])
    return reading.Reading(reader, snapshot, (*reading.CLUSTER, of_azure))


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
