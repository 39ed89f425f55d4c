"""Runs against the emulator of Azure; what concerns the cluster is in tests/cluster."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from azwi_cli.azure.polling import Polling
from azwi_cli.cluster.kube import Cluster
from azwi_cli.commands.serviceaccount import create, delete
from azwi_cli.commands.serviceaccount.phases import SERVICE_ACCOUNT, Phase, PhaseOutcome, PhaseResult, run_all
from azwi_cli.commands.serviceaccount.request import Request
from azwi_cli.commands.serviceaccount.run import Run
from azwi_cli.console.dry_run import Plan
from testbed.azure_management import Azure
from tests.azwi_cli.conftest import session_of

# Nothing listens there: what an issuer publishes is not to be had, at once.
ISSUER = "https://127.0.0.1:1/"


def no_cluster() -> Cluster:
    """Fail: there is none here."""
    raise AssertionError("the cluster was asked for")


class Runs:
    """Runs commands, each in a session of its own, and without a wait longer than a moment."""

    def __init__(self, azure: Azure, sessions: ExitStack) -> None:
        self._azure = azure
        self._sessions = sessions
        self.messages: list[str] = []
        self.plan: Plan | None = None

    def run(self, **request: Any) -> Run:  # noqa: ANN401  the fields of Request
        """Prepare one."""
        given = {"service_account_name": "web", "service_account_issuer_url": ISSUER, **request}
        session = self._sessions.enter_context(session_of(self._azure, self.plan))
        polling = Polling(30, self.messages.append, lambda _: None)
        return Run(Request(**given), session, no_cluster, polling)

    def create(self, *skip: str, **request: Any) -> dict[str, PhaseResult]:  # noqa: ANN401  the fields of Request
        """Run the phases of `create` but that of the cluster, and return what each did."""
        return self._all(create.PHASES, skip, request)

    def delete(self, *skip: str, **request: Any) -> dict[str, PhaseResult]:  # noqa: ANN401  the fields of Request
        """Run the phases of `delete` but that of the cluster, and return what each did."""
        return self._all(delete.PHASES, skip, request)

    def _all(self, phases: tuple[Phase, ...], skip: tuple[str, ...], request: dict[str, Any]) -> dict[str, PhaseResult]:
        steps = run_all(phases, self.run(**request), {SERVICE_ACCOUNT, *skip})
        return {step.phase: step for step in steps}


@pytest.fixture
def runs(azure: Azure) -> Iterator[Runs]:
    """Run commands."""
    with ExitStack() as sessions:
        yield Runs(azure, sessions)


@pytest.fixture
def outcomes() -> Callable[[dict[str, PhaseResult]], dict[str, PhaseOutcome]]:
    """Reduce steps to their outcomes, without those that were skipped."""
    return lambda steps: {
        name: step.outcome for name, step in steps.items() if step.outcome is not PhaseOutcome.SKIPPED
    }
