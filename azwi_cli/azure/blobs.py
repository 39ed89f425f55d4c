"""Blobs of one container, by the REST API of Azure Storage: https://learn.microsoft.com/rest/api/storageservices/."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from html import unescape
from typing import Final

from azure.core.rest import HttpResponse

from azwi_cli.azure.errors import NOT_FOUND, AzureApiError
from azwi_cli.azure.pipeline import Endpoint, one_line, segment

# For any account: https://learn.microsoft.com/azure/storage/blobs/authorize-access-azure-active-directory
AUDIENCE: Final = "https://storage.azure.com"
# Without a version that knows them, tokens are refused.
VERSION: Final = "2023-11-03"
# The container that a static site serves:
# https://learn.microsoft.com/azure/storage/blobs/storage-blob-static-website
SITE: Final = "$web"
_BAD: Final = 400
# By the codes of https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
_HINTS: Final[Mapping[str, str]] = {
    "AuthorizationPermissionMismatch": (
        'the caller needs the role "Storage Blob Data Contributor" for the account or the container; Owner does not '
        "include it, and a new assignment takes some minutes"
    ),
    "AuthorizationFailure": "the account's network rules do not admit this address: run it where they do",
    "ContainerNotFound": (
        "turn the static site on: az storage blob service-properties update --account-name NAME --static-website "
        "--auth-mode login"
    ),
}
# A condition was not met: somebody else has written the blob.
_CHANGED: Final = frozenset({"ConditionNotMet", "BlobAlreadyExists"})
_MESSAGE: Final = re.compile(rb"<Message>([^<]{1,2000})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob as it is served; `etag` names its version."""

    content: bytes
    content_type: str
    cache_control: str
    etag: str = ""


class ChangedError(AzureApiError):
    """Somebody else has written the blob since it was read."""


@dataclass(frozen=True, slots=True)
class Container:
    """One container of an account."""

    endpoint: Endpoint
    name: str = SITE

    def url(self, name: str) -> str:
        """The address of a blob, as people read it."""
        return f"{self.endpoint.base}/{self.name}/{name}"

    def get(self, name: str) -> Blob | None:
        """A blob; None when there is none.

        Raises:
            AzureApiError: when it is refused, or there is no such container.
        """
        response, content = self.endpoint.exchange("GET", self._path(name), _headers())
        if response.status_code == NOT_FOUND and response.headers.get("x-ms-error-code") == "BlobNotFound":
            return None
        _check(response, content)
        served = response.headers
        return Blob(content, served.get("Content-Type", ""), served.get("Cache-Control", ""), served.get("ETag", ""))

    def put(self, name: str, blob: Blob, before: Blob | None) -> None:
        """Write a block blob in place of the one that was read, or where there was none.

        Raises:
            ChangedError: when somebody else has written it since.
            AzureApiError: when it is refused.
        """
        headers = {
            **_headers(),
            **({"If-None-Match": "*"} if before is None else {"If-Match": before.etag}),
            "x-ms-blob-type": "BlockBlob",
            "x-ms-blob-content-type": blob.content_type,
            "x-ms-blob-cache-control": blob.cache_control,
            "Content-Type": blob.content_type,
        }
        response, content = self.endpoint.exchange("PUT", self._path(name), headers, blob.content)
        _check(response, content)

    def _path(self, name: str) -> str:
        return "/".join(["", segment(self.name), *map(segment, name.split("/"))])


def _headers() -> dict[str, str]:
    return {"x-ms-version": VERSION, "x-ms-date": formatdate(usegmt=True)}


def _check(response: HttpResponse, content: bytes) -> None:
    status, code = response.status_code, response.headers.get("x-ms-error-code", "")[:100]
    if status < _BAD:
        return
    found = _MESSAGE.search(content)
    # Below the sentence are the ids of the request.
    sentence = unescape(found[1].decode(errors="replace")).partition("\n")[0] if found else ""
    error = ChangedError if code in _CHANGED else AzureApiError
    raise error(status, code, one_line(sentence) or "no reason given by Azure Storage", _HINTS.get(code, ""))
