"""Carries plans out: several identities at once, the credentials of one identity one after the other."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from azwi_cli.azure.errors import NOT_FOUND, AzureApiError, NoAnswerError
from azwi_cli.azure.federation import Holder
from azwi_cli.azure.polling import Polling
from azwi_cli.commands.sync.plan import Action, Change, IdentityPlan
from azwi_cli.console.errors import CommandError

CONFLICT: Final = 409
# ARM writes the credentials of one identity one at a time.
CONCURRENT: Final = "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity"


class Outcome(StrEnum):
    """How a change ended."""

    DONE = "done"
    LOST_RACE = "lost-race"
    FAILED = "failed"
    NOT_TRIED = "not-tried"


@dataclass(frozen=True, slots=True)
class Result:
    """A change and how it ended; `detail` says why, where it is not done."""

    change: Change
    outcome: Outcome
    detail: str = ""


@contextmanager
def interrupt_after(on_interrupt: Callable[[], None]) -> Iterator[None]:
    """Call `on_interrupt` at the first Ctrl-C, and raise KeyboardInterrupt only after the block.

    Python raises it wherever the main thread is, also between the start of a thread and the line that remembers it:
    nobody would wait for that thread. A second Ctrl-C is raised at once. An ignored SIGINT stays ignored.

    Raises:
        KeyboardInterrupt: after the block.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    interrupted = False

    def received(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        on_interrupt()

    signal.signal(signal.SIGINT, received)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if interrupted:
        raise KeyboardInterrupt


class Applier:
    """Carries plans out.

    Args:
        holders: what holds the credentials of each client id.
        polling: how long another writer of the same identity is waited for.
        parallel: how many identities at once.
        on_result: is called with each result.

    `results` are those so far, by client id.
    """

    def __init__(
        self,
        holders: Mapping[str, Holder],
        polling: Polling,
        parallel: int,
        on_result: Callable[[Result], None],
    ) -> None:
        self._holders = holders
        self._polling = polling
        self._parallel = parallel
        self._on_result = on_result
        self._stop = threading.Event()
        self.results: dict[str, list[Result]] = {}

    def run(self, plans: Iterable[IdentityPlan]) -> None:
        """Carry out those without a problem. After Ctrl-C the writes under way are finished, and no others begin.

        Raises:
            KeyboardInterrupt: after that.
        """
        with interrupt_after(self._stop.set), ThreadPoolExecutor(self._parallel, "sync") as pool:
            try:
                for future in [pool.submit(self._identity, one) for one in plans if not one.problems]:
                    future.result()
            except BaseException:
                self._stop.set()
                raise

    def _identity(self, one: IdentityPlan) -> None:
        holder = self._holders[one.client_id]
        results = self.results.setdefault(one.client_id, [])
        for change in one.changes:
            result = self._attempt(holder, change)
            results.append(result)
            self._on_result(result)

    def _attempt(self, holder: Holder, change: Change) -> Result:
        if self._stop.is_set():
            return Result(change, Outcome.NOT_TRIED, "stopped before")
        try:
            return self._carry_out(holder, change)
        except NoAnswerError as error:
            self._stop.set()  # other requests would fail in the same way
            return Result(change, Outcome.FAILED, error.message)
        except CommandError as error:
            return Result(change, Outcome.FAILED, error.message)

    def _carry_out(self, holder: Holder, change: Change) -> Result:
        lost = ""
        if change.credential is not None:
            lost = self._remove(holder, change)
        if change.trust is not None and change.action is not Action.DELETE:
            lost = self._add(holder, change) or lost
        return Result(change, Outcome.LOST_RACE if lost else Outcome.DONE, lost)

    def _remove(self, holder: Holder, change: Change) -> str:
        credential = change.credential
        assert credential is not None  # noqa: S101  the caller has looked
        try:
            self._write(holder, lambda: holder.remove(credential))
        except AzureApiError as error:
            if error.status != NOT_FOUND:
                raise
            return "it was deleted by somebody else meanwhile"
        return ""

    def _add(self, holder: Holder, change: Change) -> str:
        trust = change.trust
        assert trust is not None  # noqa: S101  the caller has looked
        try:
            self._write(holder, lambda: holder.add(change.name, trust))
        except AzureApiError as error:
            if error.status != CONFLICT:
                raise
            found = next((one for one in holder.credentials() if one.covers(trust)), None)
            if found is None or trust.audience not in found.audiences:
                raise
            return f"somebody else created {found.name} for it meanwhile"
        return ""

    def _write(self, holder: Holder, action: Callable[[], None]) -> None:
        self._polling.attempt(holder.label, action, AzureApiError, lambda error: error.code == CONCURRENT)
