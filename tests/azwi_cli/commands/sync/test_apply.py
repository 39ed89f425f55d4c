"""How `azwi sync` carries plans out."""

import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from azwi_cli.azure.errors import AzureApiError, NoAnswerError
from azwi_cli.azure.federation import FederatedCredential, Trust
from azwi_cli.azure.polling import Polling
from azwi_cli.commands.sync.apply import CONCURRENT, Applier, Outcome, Result, interrupt_after
from azwi_cli.commands.sync.plan import IdentityPlan, Rules, plan
from testbed.processes import MAX_WAIT_SECONDS

ISSUER = "https://issuer.azwi.test/"
RULES = Rules("git", ISSUER, prune=True)
TRUSTS = [Trust("shop", f"web-{number}", ISSUER) for number in range(4)]


class Identity:
    """Holds credentials, and answers like ARM: two writes at once are a conflict. `before_add` may fail."""

    label = "managed identity shop"

    def __init__(self, before_add: Callable[[str], None] = lambda _: None) -> None:
        self.held: dict[str, FederatedCredential] = {}
        self.before_add = before_add
        self.writing = threading.Lock()
        self.conflicts = 0

    def names(self, trust: Trust) -> tuple[str, ...]:
        """Return the name."""
        return (RULES.name(trust),)

    def credentials(self) -> list[FederatedCredential]:
        """Return all."""
        return list(self.held.values())

    def add(self, name: str, trust: Trust) -> None:
        """Add one."""
        if not self.writing.acquire(blocking=False):
            self.conflicts += 1
            raise AzureApiError(409, CONCURRENT, "one at a time")
        try:
            self.before_add(name)
            if any(credential.covers(trust) for credential in self.held.values()):
                raise AzureApiError(409, "Conflict", "it exists")
            self.held[name] = FederatedCredential(name, name, trust.issuer, trust.subject, (trust.audience,))
        finally:
            self.writing.release()

    def remove(self, credential: FederatedCredential) -> None:
        """Remove one."""
        if self.held.pop(credential.name, None) is None:
            raise AzureApiError(404, "NotFound", "it is gone")


def run(
    holders: dict[str, Identity], plans: list[IdentityPlan], on_result: Callable[[Result], None] = lambda _: None
) -> dict[str, list[Result]]:
    """Carry plans out with no pause between attempts."""
    applier = Applier(holders, Polling(sleep=lambda _: None), 4, on_result)
    applier.run(plans)
    return applier.results


def planned(client_id: str, holder: Identity, trusts: list[Trust]) -> IdentityPlan:
    """Plan an identity."""
    return plan(client_id, holder.label, trusts, holder.credentials(), RULES)


def outcomes(results: list[Result]) -> list[Outcome]:
    """Return how changes ended."""
    return [result.outcome for result in results]


def test_one_at_a_time() -> None:
    """The credentials of an identity are written one after the other, those of several identities at once."""
    together = threading.Barrier(2, timeout=MAX_WAIT_SECONDS)
    first = True

    def meet(_: str) -> None:
        nonlocal first
        if first:
            together.wait()
            first = False

    holders = {"a": Identity(meet), "b": Identity(meet)}
    results = run(holders, [planned(client_id, holder, TRUSTS) for client_id, holder in holders.items()])
    assert {client_id: outcomes(found) for client_id, found in results.items()} == {
        client_id: [Outcome.DONE] * 4 for client_id in holders
    }
    assert [holder.conflicts for holder in holders.values()] == [0, 0]


def test_another_writer() -> None:
    """While somebody else writes the identity, the write is tried again."""
    attempts: list[str] = []

    def conflict(name: str) -> None:
        attempts.append(name)
        if len(attempts) < 3:
            raise AzureApiError(409, CONCURRENT, "one at a time")

    holder = Identity(conflict)
    assert outcomes(run({"a": holder}, [planned("a", holder, TRUSTS[:1])])["a"]) == [Outcome.DONE]
    assert len(attempts) == 3


def test_lost_races() -> None:
    """What somebody else created or deleted meanwhile is reported, and counts as in place."""
    trust, gone = TRUSTS[0], TRUSTS[1]
    holder = Identity()
    holder.add(RULES.name(gone), gone)
    found = planned("a", holder, [trust])
    holder.held = {"theirs": FederatedCredential("theirs", "theirs", ISSUER, trust.subject, (trust.audience,))}
    deleted, created = run({"a": holder}, [found])["a"]
    assert (deleted.outcome, created.outcome) == (Outcome.LOST_RACE, Outcome.LOST_RACE)
    assert "deleted by somebody else" in deleted.detail
    assert "somebody else created theirs" in created.detail


def test_lost_to_another_audience() -> None:
    """What somebody else created for another audience is a failure."""
    trust, holder = TRUSTS[0], Identity()
    found = planned("a", holder, [trust])
    holder.held = {"theirs": FederatedCredential("theirs", "theirs", ISSUER, trust.subject, ("api://other",))}
    assert outcomes(run({"a": holder}, [found])["a"]) == [Outcome.FAILED]


def test_a_failure_stops_nothing_else() -> None:
    """After a refusal the other credentials and identities go on."""

    def refuse(name: str) -> None:
        if name == RULES.name(TRUSTS[1]):
            raise AzureApiError(400, "BadRequest", "no")

    holders = {"a": Identity(refuse), "b": Identity()}
    results = run(holders, [planned(client_id, holder, TRUSTS) for client_id, holder in holders.items()])
    assert outcomes(results["a"]) == [Outcome.DONE, Outcome.FAILED, Outcome.DONE, Outcome.DONE]
    assert outcomes(results["b"]) == [Outcome.DONE] * 4


def test_no_answer() -> None:
    """Without an answer of Azure nothing more is tried."""

    def silent(_: str) -> None:
        raise NoAnswerError("no answer")

    holder = Identity(silent)
    found = run({"a": holder}, [planned("a", holder, TRUSTS)])["a"]
    assert outcomes(found) == [Outcome.FAILED, *[Outcome.NOT_TRIED] * 3]


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C, also while a thread starts, finishes the write under way and begins no other; a new run does the rest."""
    holder = Identity()
    writing = threading.Event()
    start = threading.Thread.start

    def interrupted_start(thread: threading.Thread) -> None:
        start(thread)
        assert writing.wait(MAX_WAIT_SECONDS)
        signal.raise_signal(signal.SIGINT)

    def slow(_: str) -> None:
        writing.set()
        time.sleep(0.1)

    holder.before_add = slow
    monkeypatch.setattr(threading.Thread, "start", interrupted_start)
    applier = Applier({"a": holder}, Polling(), 1, lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        applier.run([planned("a", holder, TRUSTS)])
    monkeypatch.undo()
    assert outcomes(applier.results["a"]) == [Outcome.DONE, *[Outcome.NOT_TRIED] * 3]
    assert outcomes(run({"a": holder}, [planned("a", holder, TRUSTS)])["a"]) == [Outcome.DONE] * 3


def test_interrupted_twice() -> None:
    """A second Ctrl-C is raised at once."""
    with ExitStack() as stack:
        stack.enter_context(pytest.raises(KeyboardInterrupt))
        stack.enter_context(interrupt_after(lambda: None))
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interrupt_ignored() -> None:
    """Under nohup, which has SIGINT ignored, it stays ignored."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupt_after(lambda: None):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_problem_leaves_all_of_it() -> None:
    """Of an identity with a problem nothing is changed."""
    holder = Identity()
    accounts = [Trust("shop", f"web-{number}", ISSUER) for number in range(21)]
    assert run({"a": holder}, [planned("a", holder, accounts)]) == {}
    assert holder.held == {}


def test_interrupt_reaches_the_pool() -> None:
    """An interrupt of the waiting thread is raised once the pool has ended."""
    holder = Identity()

    def interrupt(_: Result) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run({"a": holder}, [planned("a", holder, TRUSTS)], interrupt)
    assert len(holder.held) == 1
