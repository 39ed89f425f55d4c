"""The interface that all sources of ServiceAccounts have."""

from typing import Protocol

from webhook.admission.identity import Account


class Accounts(Protocol):
    """A source of ServiceAccounts."""

    def cached(self, namespace: str, name: str) -> Account | None:
        """The account if it is known without waiting; None is no answer, `find` has it."""
        ...

    async def find(self, namespace: str, name: str) -> Account | None:
        """The account, or None when there is none, within a time that the source limits.

        Raises:
            AccountsUnavailableError: when the source does not answer.
        """
        ...

    async def close(self) -> None:
        """Close the source's connections and files."""
        ...
