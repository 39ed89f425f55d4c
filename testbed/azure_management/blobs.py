"""The Blob service of a storage account, and its static site: what `azwi oidc publish` calls, as strict as Azure.

Pages below https://learn.microsoft.com/rest/api/storageservices/ are named where a rule is from one of them.
"""

import re
from collections.abc import Mapping
from email.utils import formatdate
from typing import Final
from uuid import uuid4
from xml.sax.saxutils import escape

from testbed.azure_management.state import Azure, Storage, StoredBlob
from testbed.azure_management.wire import Answer, Refusal, Request

# authorize-with-azure-active-directory
AUDIENCE: Final = "https://storage.azure.com"
FIRST_VERSION_WITH_TOKENS: Final = "2017-11-09"
# versioning-for-the-azure-storage-services
_VERSION: Final = re.compile(r"20\d\d-\d\d-\d\d")
# naming-and-referencing-containers--blobs--and-metadata
_CONTAINER: Final = re.compile(r"\$web|\$root|(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
MAX_BLOB_NAME: Final = 1024
_ACTIONS: Final = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
# put-blob: x-ms-blob-type
_TYPES: Final = frozenset({"BlockBlob", "PageBlob", "AppendBlob"})
_CHALLENGE: Final = "Bearer authorization_uri=https://login.microsoftonline.com/{}/oauth2/authorize resource_id={}"


class StorageRefusal(Refusal):
    """An error of Azure Storage: XML, its code in a header too (status-and-error-codes2)."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None, **details: str
    ) -> None:
        super().__init__(status, code, message)
        request = str(uuid4())
        sentence = f"{escape(message)}\nRequestId:{request}\nTime:2026-01-01T00:00:00.0000000Z"
        more = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in details.items())
        xml = (
            f'\ufeff<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code>'
            f"<Message>{sentence}</Message>{more}</Error>"
        )
        named = {"x-ms-error-code": code, "x-ms-request-id": request, **(headers or {})}
        self.answer = Answer(status, None, named, xml.encode(), "application/xml")


def respond(azure: Azure, request: Request) -> Answer:
    """Answer a request to the Blob service."""
    _authenticate(azure, request)
    container, slash, name = request.path.lstrip("/").partition("/")
    if request.query or request.method not in {"GET", "PUT"} or not slash:
        raise StorageRefusal(400, "UnsupportedQueryParameter", f"This is not emulated: {request.line}")
    if not _CONTAINER.fullmatch(container) or not 0 < len(name) <= MAX_BLOB_NAME:
        raise StorageRefusal(400, "InvalidResourceName", "The specified resource name contains invalid characters.")
    action = "read" if request.method == "GET" else "write"
    if azure.permissions.isdisjoint({"*", f"{_ACTIONS}/{action}"}):
        # authorize-with-azure-active-directory: permissions come from Azure roles for data, not from Owner
        message = "This request is not authorized to perform this operation using this permission."
        raise StorageRefusal(403, "AuthorizationPermissionMismatch", message)
    blobs = azure.storage.containers.get(container)
    if blobs is None:
        raise StorageRefusal(404, "ContainerNotFound", "The specified container does not exist.")
    return _get(blobs, name) if request.method == "GET" else _put(blobs, name, request)


def _authenticate(azure: Azure, request: Request) -> None:
    """The checks before anything is looked at, in this order."""
    scheme, _, _ = request.headers.get("authorization", "").partition(" ")
    version = request.headers.get("x-ms-version", "")
    if not scheme:
        # authorize-with-azure-active-directory: bearer challenge
        challenge = {"WWW-Authenticate": _CHALLENGE.format(azure.tenant, AUDIENCE)}
        message = "Server failed to authenticate the request. Please refer to the information in the www-authenticate."
        raise StorageRefusal(401, "NoAuthenticationInformation", message, challenge)
    if version and not _VERSION.fullmatch(version):
        message = "The value for one of the HTTP headers is not in the correct format."
        raise StorageRefusal(400, "InvalidHeaderValue", message, HeaderName="x-ms-version", HeaderValue=version)
    if scheme != "Bearer" or version < FIRST_VERSION_WITH_TOKENS:
        message = (
            "Server failed to authenticate the request. Make sure the value of Authorization header is formed "
            "correctly including the signature."
        )
        detail = f"Authentication scheme {scheme} is not supported in this version."
        raise StorageRefusal(403, "AuthenticationFailed", message, AuthenticationErrorDetail=detail)
    if not {"x-ms-date", "date"} & request.headers.keys():  # put-blob, get-blob: required
        raise _missing_header("x-ms-date")
    try:
        azure.authorize(request, AUDIENCE, "InvalidAuthenticationInfo")
    except Refusal:
        message = "Server failed to authenticate the request. Please refer to the information in the www-authenticate."
        detail = "Audience validation failed. Audience did not match."
        raise StorageRefusal(401, "InvalidAuthenticationInfo", message, AuthenticationErrorDetail=detail) from None


def _get(blobs: dict[str, StoredBlob], name: str) -> Answer:
    """get-blob."""
    found = blobs.get(name)
    if found is None:
        raise StorageRefusal(404, "BlobNotFound", "The specified blob does not exist.")
    return _served(found, {"ETag": found.etag, "x-ms-blob-type": "BlockBlob"})


def _put(blobs: dict[str, StoredBlob], name: str, request: Request) -> Answer:
    """put-blob; conditions as in specifying-conditional-headers-for-blob-service-operations."""
    headers = request.headers
    if "content-length" not in headers:
        raise StorageRefusal(411, "MissingContentLengthHeader", "Content-Length HTTP header is missing.")
    if "x-ms-blob-type" not in headers:
        raise _missing_header("x-ms-blob-type")
    if headers["x-ms-blob-type"] not in _TYPES:
        message = "The value for one of the HTTP headers is not in the correct format."
        raise StorageRefusal(400, "InvalidHeaderValue", message, HeaderName="x-ms-blob-type")
    before = blobs.get(name)
    if headers.get("if-none-match") == "*" and before is not None:
        raise StorageRefusal(409, "BlobAlreadyExists", "The specified blob already exists.")
    if "if-match" in headers and headers["if-match"] not in {"*" if before else "", before.etag if before else ""}:
        message = "The condition specified using HTTP conditional header(s) is not met."
        raise StorageRefusal(412, "ConditionNotMet", message)
    kind = headers.get("x-ms-blob-content-type") or headers.get("content-type") or "application/octet-stream"
    written = StoredBlob(
        request.body, kind, headers.get("x-ms-blob-cache-control", ""), f'"0x{uuid4().hex[:15].upper()}"'
    )
    blobs[name] = written
    return Answer(201, None, {"ETag": written.etag, "Last-Modified": formatdate(usegmt=True)})


def respond_site(azure: Azure, request: Request) -> Answer:
    """Answer a request to the static site: blobs of $web, for everybody.

    https://learn.microsoft.com/azure/storage/blobs/storage-blob-static-website
    """
    found = _site(azure.storage).get(request.path.lstrip("/"))
    if request.method != "GET":
        raise StorageRefusal(405, "UnsupportedHttpVerb", "The resource doesn't support specified Http Verb.")
    if found is None:
        html = b"<!DOCTYPE html><html><body><h1>The requested content does not exist.</h1></body></html>"
        return Answer(404, None, {"x-ms-error-code": "WebContentNotFound"}, html, "text/html")
    return _served(found, {"ETag": found.etag})


def _site(storage: Storage) -> dict[str, StoredBlob]:
    return storage.containers.get("$web", {})


def _served(blob: StoredBlob, headers: Mapping[str, str]) -> Answer:
    cached = {"Cache-Control": blob.cache_control} if blob.cache_control else {}
    return Answer(200, None, {**headers, **cached}, blob.content, blob.content_type)


def _missing_header(name: str) -> StorageRefusal:
    message = "An HTTP header that's mandatory for this request is not specified."
    return StorageRefusal(400, "MissingRequiredHeader", message, HeaderName=name)
