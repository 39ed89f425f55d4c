"""Errors from Azure."""

from typing import Final

from azwi_cli.console.errors import CommandError

NOT_FOUND: Final = 404
HINTS: Final = {
    401: "log in again (az login), and check --tenant-id and --azure-env",
    429: "wait a minute and run the same command again: it continues where it stopped",
    500: "run the same command again: it continues where it stopped",
    503: "run the same command again: it continues where it stopped",
}


class NoAnswerError(CommandError):
    """Azure could not be reached, or issued no token: further requests would fail the same way."""


class AzureApiError(CommandError):
    """Azure refused; `status` is HTTP's, `code` Azure's own word, such as PrincipalNotFound."""

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(f"{message} ({code or status})", hint or HINTS.get(status, ""))
        self.status = status
        self.code = code
