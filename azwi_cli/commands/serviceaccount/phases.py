"""Phases: what `create` and `delete` do one after the other, each of them a command of its own too."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from azwi_cli.console.errors import CommandError, Status, UsageError

if TYPE_CHECKING:
    from azwi_cli.commands.serviceaccount.run import Run

APPLICATION: Final = "aad-application"
IDENTITY: Final = "managed-identity"
SERVICE_ACCOUNT: Final = "service-account"
FEDERATED_IDENTITY: Final = "federated-identity"
ROLE_ASSIGNMENT: Final = "role-assignment"
ALIASES: Final[Mapping[str, str]] = {
    "app": APPLICATION,
    "mi": IDENTITY,
    "sa": SERVICE_ACCOUNT,
    "fi": FEDERATED_IDENTITY,
    "ra": ROLE_ASSIGNMENT,
}


# What each phase does, in the order in which they run.
CREATE: Final[Mapping[str, str]] = {
    APPLICATION: "Create the Entra application and its service principal.",
    IDENTITY: "Find the user-assigned managed identity, or create it.",
    SERVICE_ACCOUNT: "Create or annotate the ServiceAccount in the cluster.",
    FEDERATED_IDENTITY: "Let the identity trust the ServiceAccount's tokens.",
    ROLE_ASSIGNMENT: "Give the identity a role in Azure.",
}
DELETE: Final[Mapping[str, str]] = {
    ROLE_ASSIGNMENT: "Take the identity's role in Azure away.",
    FEDERATED_IDENTITY: "Remove the identity's trust in the ServiceAccount's tokens.",
    SERVICE_ACCOUNT: "Delete the ServiceAccount in the cluster.",
    APPLICATION: "Delete the Entra application with its service principal and credentials.",
}


class PhaseOutcome(StrEnum):
    """How a phase ended."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    DELETED = "deleted"
    ABSENT = "absent"  # there was nothing to delete
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PhaseResult:
    """What a phase did or found: what it is about, and what is worth knowing of that."""

    outcome: PhaseOutcome
    what: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    phase: str = ""


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase.

    Args:
        name: as on the command line.
        check: refuses what it cannot work with, before any phase has begun.
        skip_reason: why it has nothing to do within the whole command, of which some phases are skipped; else empty.
        work: does it.
        preflight: has the cluster or Azure refuse it, once all checks have passed and before any phase has begun.
    """

    name: str
    check: "Callable[[Run], None]"
    skip_reason: "Callable[[Run, Collection[str]], str]"
    work: "Callable[[Run], PhaseResult]"
    preflight: "Callable[[Run], object]" = lambda _: None


class PhaseError(CommandError):
    """A phase failed; `steps` are those before it and itself."""

    def __init__(self, phase: str, steps: list[PhaseResult], cause: CommandError) -> None:
        super().__init__(f"{phase}: {cause.message}", cause.hint)
        self.steps = [*steps, PhaseResult(PhaseOutcome.FAILED, cause.message, phase=phase)]


class PhaseInterrupted(PhaseError):  # noqa: N818  a request, not an error
    """Ctrl-C within a phase."""

    exit_code = Status.INTERRUPTED

    def __init__(self, phase: str, steps: list[PhaseResult]) -> None:
        super().__init__(phase, steps, CommandError("interrupted", "run it again: it continues where it stopped"))


def skipped(given: Iterable[str], phases: Iterable[Phase]) -> frozenset[str]:
    """The phases that `--skip-phases` names: a list with commas, the flag repeated, or both.

    Raises:
        UsageError: when a name is not a phase.
    """
    named = [name.strip() for text in given for name in text.split(",") if name.strip()]
    known = [phase.name for phase in phases]
    for name in named:
        if ALIASES.get(name, name) not in known:
            raise UsageError(f"--skip-phases: there is no phase {name!r}", f"the phases are {', '.join(known)}")
    return frozenset(ALIASES.get(name, name) for name in named)


def run_all(phases: Iterable[Phase], run: "Run", skip: Collection[str] = ()) -> list[PhaseResult]:
    """Run the phases that are not left out, in order; all are checked and rehearsed before the first begins.

    Raises:
        CommandError: when a check or a rehearsal refuses.
        PhaseError: when a phase fails; none after it is run.
    """
    reasons = {phase.name: "--skip-phases" if phase.name in skip else phase.skip_reason(run, skip) for phase in phases}
    due = [phase for phase in phases if not reasons[phase.name]]
    for phase in due:
        phase.check(run)
    for phase in due:
        phase.preflight(run)
    steps: list[PhaseResult] = []
    for phase in phases:
        if reasons[phase.name]:
            steps.append(PhaseResult(PhaseOutcome.SKIPPED, reasons[phase.name], phase=phase.name))
        else:
            steps.append(run_one(phase, run, steps))
    return steps


def run_one(phase: Phase, run: "Run", before: Iterable[PhaseResult] = ()) -> PhaseResult:
    """Run one phase, whose check has passed.

    Raises:
        PhaseError: when it fails or is interrupted.
    """
    run.report(phase.name)
    try:
        step = phase.work(run)
    except CommandError as error:
        raise PhaseError(phase.name, list(before), error) from error
    except KeyboardInterrupt as stop:
        raise PhaseInterrupted(phase.name, list(before)) from stop
    return PhaseResult(step.outcome, step.what, step.details, step.notes, phase.name)
