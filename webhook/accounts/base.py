"""The interface that all sources of ServiceAccounts have, and how they fail."""

from typing import Final, Protocol

from webhook.admission.identity import Account


class AccountsUnavailableError(Exception):
    """Whether the account exists cannot be told now.

    It is not the pod's fault, so it becomes an HTTP 500 and the cluster's failurePolicy decides. Not a 503: of that
    the API server shows its user no message of ours (client-go replaces it).
    """

    status: Final = 500
    code: Final = "accounts-unavailable"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Accounts(Protocol):
    """A source of ServiceAccounts."""

    async def find(self, namespace: str, name: str) -> Account | None:
        """The account, or None when there is none.

        Raises:
            AccountsUnavailableError: when the source does not answer.
        """
        ...

    async def close(self) -> None:
        """Give back what the source holds open."""
        ...
