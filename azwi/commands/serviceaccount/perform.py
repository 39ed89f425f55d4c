"""Carries a command out: from what click gave to what is printed."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Final

import click

from azure_workload_identity.types import JsonObject
from azwi.azure.auth import Method
from azwi.azure.options import Given, repeated, target
from azwi.azure.polling import Patience
from azwi.azure.session import Session
from azwi.azure.target import Target
from azwi.cluster.kube import Cluster
from azwi.commands.serviceaccount import create, delete, options
from azwi.commands.serviceaccount.phases import (
    SERVICE_ACCOUNT,
    Outcome,
    Phase,
    PhaseError,
    Step,
    run_all,
    run_one,
    skipped,
)
from azwi.commands.serviceaccount.run import Run
from azwi.console import output
from azwi.console.dry_run import Plan
from azwi.console.output import Form
from azwi.console.printable import printable

PHASES: Final = {"create": create.PHASES, "delete": delete.PHASES}
# The flags that a try needs, too: in which cluster and which cloud.
EXCHANGED: Final = {"kubeconfig", "context", *(each.name for each in fields(Target))}
CHANGES: Final = frozenset({Outcome.CREATED, Outcome.UPDATED, Outcome.DELETED})
READY: Final = frozenset({Outcome.CREATED, Outcome.UPDATED, Outcome.UNCHANGED})


def perform(verb: str, given: Given, only: str = "") -> None:
    """Run all phases of a verb, or only one, and print what came of it.

    Raises:
        CommandError: when something was refused or failed; what was done before it is printed.
    """
    plan = Plan() if given["dry_run"] else None
    login = options.login(given)
    skip = skipped(given.get("skip_phases", ()), PHASES[verb])
    with Session(login, target(given), plan) as session, _telling(login.method) as tell:
        tell(f"{verb} in {session.cloud.name}")  # a cloud that cannot be meant is refused here
        request = options.request(given, session.need_subscription)
        patience = Patience(given["propagation_timeout"], tell)
        run = Run(request, session, lambda: Cluster.connect(options.cluster_target(given)), patience)
        try:
            steps = [_only(PHASES[verb], only, run)] if only else run_all(PHASES[verb], run, skip)
            failure = None
        except PhaseError as error:
            steps, failure = error.steps, error
    _print(steps, plan, given["form"])
    if failure is not None:
        raise failure
    if plan is None and given["form"] is Form.TABLE and any(map(_is_ready, steps)):
        account = [f"--namespace={run.trust.namespace}", f"--service-account={run.trust.service_account}"]
        where = repeated(click.get_current_context(), EXCHANGED)
        click.echo(f"\nTry it: {shlex.join(['azwi', 'token', 'exchange', *account, *where])}")


def _is_ready(step: Step) -> bool:
    """Whether the ServiceAccount now has what an exchange needs of it."""
    return step.phase == SERVICE_ACCOUNT and step.outcome in READY


def _only(phases: tuple[Phase, ...], name: str, run: Run) -> Step:
    phase = next(phase for phase in phases if phase.name == name)
    phase.check(run)
    return run_one(phase, run)


@contextmanager
def _telling(method: Method) -> Iterator[Callable[[str], None]]:
    """Where to say what is being done; nowhere when somebody has to read how to log in."""
    if method is Method.DEVICE_CODE:
        yield lambda _: None
        return
    with output.progress("asking Azure") as shown:
        yield shown.update


def _print(steps: list[Step], plan: Plan | None, form: Form) -> None:
    document: JsonObject = {"dryRun": plan is not None, "phases": [_document(step) for step in steps]}
    if plan is not None:
        document["requests"] = [request.document() for request in plan.requests]
    output.write(document, form, lambda: _text(steps, plan))


def _document(step: Step) -> JsonObject:
    return {
        "phase": step.phase,
        "outcome": str(step.outcome),
        "what": step.what,
        "details": dict(step.details),
        "notes": list(step.notes),
    }


def _text(steps: list[Step], plan: Plan | None) -> str:
    rows = [(step.phase, _outcome(step, plan), step.what) for step in steps]
    parts = [output.table(("phase", "outcome", "what"), rows)]
    for step in steps:
        parts += [f"  {step.phase}: {key} {printable(value)}" for key, value in step.details.items()]
    parts += [f"note: {printable(note)}" for step in steps for note in step.notes]
    if plan is not None:
        parts += ["", *(request.text() for request in plan.requests)] if plan.requests else ["", "Nothing to change."]
    return "\n".join(parts)


def _outcome(step: Step, plan: Plan | None) -> str:
    return f"would be {step.outcome}" if plan is not None and step.outcome in CHANGES else str(step.outcome)
