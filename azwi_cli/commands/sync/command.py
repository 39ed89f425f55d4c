"""The command: its flags, its steps, and its exit status."""

# ruff: noqa: PLC0415  help texts do without Azure's libraries

import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from azwi_cli.azure import options
from azwi_cli.azure.options import CLOUD, LOGIN, Params
from azwi_cli.cluster import options as cluster_flags
from azwi_cli.console import output
from azwi_cli.console.errors import CommandError, UsageError
from azwi_cli.console.option_types import Duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from azwi_cli.azure.federation import FederatedCredential, Holder
    from azwi_cli.azure.session import Session
    from azwi_cli.cluster.kube import Cluster
    from azwi_cli.commands.sync.desired import Desired, DesiredAccount
    from azwi_cli.commands.sync.plan import IdentityPlan, Rules
    from azwi_cli.commands.sync.report import Results

# With --watch: how often Azure is compared when no account has changed.
RESYNC_SECONDS: Final = 300.0
MAX_PARALLEL: Final = 16
MAX_SHOWN: Final = 10
_OWNER: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-]{0,23}")


def _checked_owner(_: click.Context, __: click.Parameter, value: str) -> str:
    if not _OWNER.fullmatch(value):
        raise click.BadParameter(f"{value!a} has to be at most 24 of: letters, digits, '-'")
    return value


@click.command("sync")
@click.option(
    "--filename", "-f", "files", metavar="FILE", type=click.Path(allow_dash=True), multiple=True,
    help="ServiceAccounts: a file, a directory, or - for stdin; default: the cluster's. Repeatable.",
)  # fmt: skip
@cluster_flags.cluster_options
@cluster_flags.namespace_option("Of the cluster only this namespace; for manifests the default.")
@click.option(
    "--service-account-issuer-url",
    "issuer",
    default="",
    metavar="URL",
    help="Issuer of the tokens, byte for byte; default: the cluster's own.",
)
@click.option("--prune", is_flag=True, help="Delete this owner's credentials that no ServiceAccount needs.")
@click.option("--allow-empty", is_flag=True, help="Let --prune delete all of them, when no ServiceAccount is found.")
@click.option(
    "--owner",
    default="sync",
    show_default=True,
    metavar="NAME",
    callback=_checked_owner,
    help="Whose credentials are pruned; it is in their names. One for each source.",
)
@click.option(
    "--identity-resource-group", "group", default="", metavar="NAME", help="Look for managed identities there only."
)
@click.option(
    "--parallel",
    type=click.IntRange(1, MAX_PARALLEL),
    default=4,
    show_default=True,
    help="How many identities are changed at once.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and change nothing.")
@click.option("--watch", is_flag=True, help="Do it again when ServiceAccounts change, until Ctrl-C.")
@click.option("--interval", type=Duration(), default="10s", show_default=True, help="With --watch: how often to look.")
@options.with_options(CLOUD, LOGIN)
@output.option
def command(**given: Any) -> None:  # noqa: ANN401  click's
    """Make federated credentials what ServiceAccounts say, in Git or in the cluster.

    Each ServiceAccount with a client id gets a credential of its identity. What has to change is planned first, like
    a diff; an identity that would have more than 20 credentials is left as it is. Running it again changes nothing.

    Exit status: 0 all is in place, 1 something is not, 2 wrong usage.

    \b
    azwi sync -f accounts/ --service-account-issuer-url https://... --prune --dry-run
    azwi sync --prune --watch
    """  # noqa: D301  click reads the mark as: do not wrap
    if given["watch"] and "-" in given["files"]:
        raise UsageError("--watch cannot go with -f -", "stdin can be read once; give a directory")
    if given["watch"] and given["interval"] <= 0:
        raise UsageError("--interval must be longer than 0s", "such as 10s")
    source = Source.connect(given)
    if not given["watch"]:
        _end(_once(source, source.accounts(), given))
        return
    _watch(source, given)


@dataclass(slots=True)
class Source:
    """Where the ServiceAccounts are."""

    given: Params
    cluster: "Cluster | None"

    @classmethod
    def connect(cls, given: Params) -> "Source":
        """Connect to the cluster, if it is needed: for the accounts or for the issuer."""
        from azwi_cli.cluster.kube import Cluster, ClusterTarget

        if given["files"] and given["issuer"]:
            return cls(given, None)
        target = ClusterTarget(given["kubeconfig"], given["context"], given["namespace"])
        try:
            return cls(given, Cluster.connect(target))
        except CommandError as error:
            if not given["files"]:
                raise
            hint = "only the issuer is asked of it: with --service-account-issuer-url no cluster is needed"
            raise CommandError(error.message, f"{error.hint}\n{hint}") from error

    def accounts(self) -> "Desired":
        """The ServiceAccounts with a client id.

        Raises:
            CommandError: when they cannot be read, or there are none and all would be pruned.
        """
        from azwi_cli.commands.sync import desired

        if self.given["files"]:
            found = desired.from_manifests(self.given["files"], self.given["namespace"] or "default")
        else:
            assert self.cluster is not None  # noqa: S101  connect has seen to it
            found = desired.from_cluster(self.cluster, self.given["namespace"])
        if not found.accounts and self.given["prune"] and not self.given["allow_empty"]:
            raise CommandError(
                "no ServiceAccount with a client id was found, and --prune would delete every credential of this owner",
                "if that is what you want, add --allow-empty",
            )
        return found

    def issuer(self) -> str:
        """The issuer of the tokens.

        Raises:
            CommandError: when it is not given, and the cluster does not publish it.
        """
        from azwi_cli.cluster.kube import ApiError
        from azwi_cli.issuer import discovery

        if self.given["issuer"]:
            return str(self.given["issuer"])
        assert self.cluster is not None  # noqa: S101  connect has seen to it
        try:
            found = str(self.cluster.get(discovery.CONFIGURATION_PATH).get("issuer") or "")
        except ApiError:
            found = ""
        if not found:
            raise UsageError(
                "--service-account-issuer-url is required, because the cluster does not publish its own to you",
                "on AKS: az aks show --query oidcIssuerProfile.issuerUrl",
            )
        return found


def _once(source: Source, wanted: "Desired", given: Params) -> "tuple[list[IdentityPlan], Results, int]":
    """Plan, print, carry out and print what came of it; the last number is that of accounts that cannot be used."""
    from azwi_cli.azure.polling import Polling
    from azwi_cli.azure.session import Session
    from azwi_cli.commands.sync import report
    from azwi_cli.commands.sync.apply import Applier
    from azwi_cli.commands.sync.plan import Rules

    for why in [*wanted.unusable.values()][:MAX_SHOWN]:
        output.warn(f"{why}; its credentials stay as they are")
    namespace = "" if given["files"] else given["namespace"]
    rules = Rules(given["owner"], source.issuer(), given["prune"], namespace, frozenset(wanted.unusable))
    with Session(options.login(given), options.target(given)) as session:
        with output.progress("reading federated credentials") as shown:
            plans, holders = _plans(session, wanted.accounts, rules, given)
        results: Results | None = None
        if not given["dry_run"]:
            count = [0]
            total = sum(len(one.changes) for one in plans if not one.problems)
            with output.progress(f"writing {total} credentials") as shown:

                def on_result(_: object) -> None:
                    count[0] += 1
                    shown.update(f"written {count[0]} of {total} credentials")

                applier = Applier(holders, Polling(on_wait=shown.update), given["parallel"], on_result)
                results = applier.results
                try:
                    applier.run(plans)
                except KeyboardInterrupt:
                    shown.stop()
                    output.write(
                        report.document(plans, results), given["output_format"], lambda: report.text(plans, results)
                    )
                    raise
    output.write(report.document(plans, results), given["output_format"], lambda: report.text(plans, results))
    return plans, results or {}, len(wanted.unusable)


def _plans(
    session: "Session", accounts: "Sequence[DesiredAccount]", rules: "Rules", given: Params
) -> "tuple[list[IdentityPlan], dict[str, Holder]]":
    from concurrent.futures import ThreadPoolExecutor

    from azwi_cli.azure.federation import Trust
    from azwi_cli.commands.sync import identities
    from azwi_cli.commands.sync.plan import IdentityPlan, plan

    audience = session.cloud.audience
    trusts: dict[str, list[Trust]] = {}
    for account in accounts:
        trust = Trust(account.namespace, account.name, rules.issuer, audience)
        trusts.setdefault(account.client_id, []).append(trust)
    found = identities.find(session, trusts, group=given["group"], everything=given["prune"])

    def read(client_id: str) -> "list[FederatedCredential]":
        return found.holders[client_id].credentials()

    with ThreadPoolExecutor(given["parallel"]) as pool:
        existing = dict(zip(found.holders, pool.map(read, found.holders), strict=True))
    plans = [
        plan(client_id, holder.label, trusts.get(client_id, []), existing[client_id], rules)
        for client_id, holder in found.holders.items()
    ]
    plans += [IdentityPlan(client_id, "", problems=(why,)) for client_id, why in found.missing.items()]
    return sorted(plans, key=lambda one: (one.label, one.client_id)), found.holders


def _end(done: "tuple[list[IdentityPlan], Results, int]") -> None:
    """Raise the error that says how much is not in place."""
    from azwi_cli.commands.sync import report
    from azwi_cli.commands.sync.apply import Outcome

    plans, results, unusable = done
    problems = unusable + sum(len(one.problems) for one in plans)
    failed = sum(result.outcome in {Outcome.FAILED, Outcome.NOT_TRIED} for result in report.flat(results))
    if problems or failed:
        raise CommandError(
            f"{problems} {'problem' if problems == 1 else 'problems'}, {failed} failed; the rest is in place",
            "run the same command again after that: it continues where it stopped",
        )


def _watch(source: Source, given: Params) -> None:
    """Synchronise now, when the accounts differ, and every RESYNC_SECONDS; after an error it is tried again."""
    last: Desired | None = None
    due = 0.0
    while True:
        try:
            accounts = source.accounts()
            if accounts != last or time.monotonic() >= due:
                last, due = None, time.monotonic() + RESYNC_SECONDS
                _end(_once(source, accounts, given))
                last = accounts
        except UsageError:
            raise
        except CommandError as error:
            error.show()
        _pause(given["interval"])


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)
