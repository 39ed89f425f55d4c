"""Plans and their results for people, like a diff, and for machines."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from azure_workload_identity.types import JsonObject
from azwi_cli.azure.federation import MAX_CREDENTIALS
from azwi_cli.commands.sync.apply import Outcome, Result
from azwi_cli.commands.sync.plan import Action, Change, IdentityPlan
from azwi_cli.console.printable import printable

Results = Mapping[str, Sequence[Result]]
_SIGNS: Final = {Action.CREATE: "+", Action.CHANGE: "~", Action.DELETE: "-"}


def document(plans: Sequence[IdentityPlan], results: Results | None) -> JsonObject:
    """As machines get it; without results it is a plan."""
    return {
        "applied": results is not None,
        "identities": [_identity(one, results) for one in plans],
        "summary": {
            **{str(action): sum(change.action is action for change in _changes(plans)) for action in Action},
            "inPlace": sum(one.in_place for one in plans),
            "unneeded": sum(one.unneeded for one in plans),
            "problems": sum(len(one.problems) for one in plans),
            "failed": sum(result.outcome is Outcome.FAILED for result in flat(results)),
        },
    }


def _identity(one: IdentityPlan, results: Results | None) -> JsonObject:
    done = {result.change.name: result for result in (results or {}).get(one.client_id, ())}
    changes = []
    for change in one.changes:
        result = done.get(change.name)
        outcome = {"outcome": str(result.outcome), "detail": result.detail} if result else {}
        changes.append({**change.document(), **outcome})
    return {
        "clientId": one.client_id,
        "identity": one.label,
        "credentials": {"before": one.before, "after": one.after},
        "inPlace": one.in_place,
        "changes": changes,
        "problems": list(one.problems),
    }


def text(plans: Sequence[IdentityPlan], results: Results | None) -> str:
    """As people get it: identities that change or have a problem, and a closing line."""
    lines = [line for one in plans for line in _lines(one, results)]
    return "\n".join([*lines, summary(plans, results)])


def _lines(one: IdentityPlan, results: Results | None) -> Iterator[str]:
    if not (one.changes or one.problems):
        return
    room = f", {one.before} of {MAX_CREDENTIALS} credentials, {one.after} after" if one.label else ""
    yield printable(f"{one.label or 'identity'} ({one.client_id}){room}")
    done = {result.change.name: result for result in (results or {}).get(one.client_id, ())}
    for change in one.changes:
        result = done.get(change.name)
        note = "" if result is None or result.outcome is Outcome.DONE else f"   {result.outcome}: {result.detail}"
        audience = f"   audience {change.audience}" if change.action is Action.CHANGE else ""
        yield printable(f"  {_SIGNS[change.action]} {change.account}{audience}{note}")
    for problem in one.problems:
        yield printable(f"  ! {problem}")


def summary(plans: Sequence[IdentityPlan], results: Results | None) -> str:
    """One line with the numbers."""
    in_place = sum(one.in_place for one in plans)
    problems = sum(len(one.problems) for one in plans)
    unneeded = sum(one.unneeded for one in plans)
    if results is None:
        wanted = Counter(change.action for change in _changes(plans))
        parts = [f"{wanted[action]} to {action}" for action in Action]
    else:
        ended = Counter(result.outcome for result in flat(results))
        parts = [f"{ended[outcome]} {outcome}" for outcome in Outcome if outcome is Outcome.DONE or ended[outcome]]
    parts.append(f"{in_place} in place")
    if unneeded:
        parts.append(f"{unneeded} that no account needs (--prune deletes them)")
    if problems:
        parts.append(f"{problems} {'problem' if problems == 1 else 'problems'}")
    return ", ".join(parts) + "."


def flat(results: Results | None) -> Iterator[Result]:
    """All results."""
    for of_identity in (results or {}).values():
        yield from of_identity


def _changes(plans: Sequence[IdentityPlan]) -> Iterator[Change]:
    return (change for one in plans for change in one.changes)
