"""Runs a command: from the parameters to the printed results."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Final

import click

from azure_workload_identity.types import JsonObject
from azwi_cli.azure import options as azure_options
from azwi_cli.azure.auth import Method
from azwi_cli.azure.options import Params, flags_to_repeat, target
from azwi_cli.azure.polling import Polling
from azwi_cli.azure.session import Session
from azwi_cli.azure.target import CloudTarget
from azwi_cli.cluster.kube import Cluster
from azwi_cli.commands.serviceaccount import create, delete, options
from azwi_cli.commands.serviceaccount.phases import (
    SERVICE_ACCOUNT,
    Phase,
    PhaseError,
    PhaseOutcome,
    PhaseResult,
    run_all,
    run_one,
    skipped,
)
from azwi_cli.commands.serviceaccount.run import Run
from azwi_cli.console import output
from azwi_cli.console.dry_run import Plan
from azwi_cli.console.output import OutputFormat
from azwi_cli.console.printable import printable

PHASES: Final = {"create": create.PHASES, "delete": delete.PHASES}
# The flags that a try needs, too: in which cluster and which cloud.
EXCHANGED: Final = {"kubeconfig", "context", *(field.name for field in fields(CloudTarget))}
CHANGES: Final = frozenset({PhaseOutcome.CREATED, PhaseOutcome.UPDATED, PhaseOutcome.DELETED})
READY: Final = frozenset({PhaseOutcome.CREATED, PhaseOutcome.UPDATED, PhaseOutcome.UNCHANGED})


def execute(verb: str, given: Params, only: str = "") -> None:
    """Run all phases of a verb, or only one, and print the results.

    Raises:
        CommandError: when a phase failed; the results of the phases before it are printed.
    """
    plan = Plan() if given["dry_run"] else None
    login = azure_options.login(given)
    skip = skipped(given.get("skip_phases", ()), PHASES[verb])
    with Session(login, target(given), plan) as session, _reporting(login.method) as report:
        report(f"{verb} in {session.cloud.name}")  # an unknown cloud is refused here
        request = options.request(given, session.need_subscription)
        polling = Polling(given["propagation_timeout"], report)
        run = Run(request, session, lambda: Cluster.connect(options.cluster_target(given)), polling)
        try:
            steps = [_only(PHASES[verb], only, run)] if only else run_all(PHASES[verb], run, skip)
            failure = None
        except PhaseError as error:
            steps, failure = error.steps, error
    _print(steps, plan, given["output_format"])
    if failure is not None:
        raise failure
    if plan is None and given["output_format"] is OutputFormat.TABLE and any(map(_is_ready, steps)):
        account = [f"--namespace={run.trust.namespace}", f"--service-account={run.trust.service_account}"]
        where = flags_to_repeat(click.get_current_context(), EXCHANGED)
        click.echo(f"\nTry it: {shlex.join(['azwi', 'token', 'exchange', *account, *where])}")


def _is_ready(step: PhaseResult) -> bool:
    """Whether the ServiceAccount now has what an exchange needs of it."""
    return step.phase == SERVICE_ACCOUNT and step.outcome in READY


def _only(phases: tuple[Phase, ...], name: str, run: Run) -> PhaseResult:
    phase = next(phase for phase in phases if phase.name == name)
    phase.check(run)
    return run_one(phase, run)


@contextmanager
def _reporting(method: Method) -> Iterator[Callable[[str], None]]:
    """Shows progress, except while the device code prompt is on the terminal."""
    if method is Method.DEVICE_CODE:
        yield lambda _: None
        return
    with output.progress("asking Azure") as shown:
        yield shown.update


def _print(steps: list[PhaseResult], plan: Plan | None, output_format: OutputFormat) -> None:
    document: JsonObject = {"dryRun": plan is not None, "phases": [_document(step) for step in steps]}
    if plan is not None:
        document["requests"] = [request.document() for request in plan.requests]
    output.write(document, output_format, lambda: _text(steps, plan))


def _document(step: PhaseResult) -> JsonObject:
    return {
        "phase": step.phase,
        "outcome": str(step.outcome),
        "what": step.what,
        "details": dict(step.details),
        "notes": list(step.notes),
    }


def _text(steps: list[PhaseResult], plan: Plan | None) -> str:
    rows = [(step.phase, _outcome(step, plan), step.what) for step in steps]
    parts = [output.table(("phase", "outcome", "what"), rows)]
    for step in steps:
        parts += [f"  {step.phase}: {key} {printable(value)}" for key, value in step.details.items()]
    parts += [f"note: {printable(note)}" for step in steps for note in step.notes]
    if plan is not None:
        parts += ["", *(request.text() for request in plan.requests)] if plan.requests else ["", "Nothing to change."]
    return "\n".join(parts)


def _outcome(step: PhaseResult, plan: Plan | None) -> str:
    return f"would be {step.outcome}" if plan is not None and step.outcome in CHANGES else str(step.outcome)
