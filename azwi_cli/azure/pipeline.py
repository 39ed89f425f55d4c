"""Requests to Azure's APIs, mostly of JSON: tokens, retries, pages, long-running operations, readable errors."""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self, cast
from urllib.parse import quote, unquote, urlencode, urlsplit

from azure.core import PipelineClient
from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ServiceRequestError
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import (
    BearerTokenCredentialPolicy,
    HeadersPolicy,
    RequestIdPolicy,
    RetryPolicy,
    SansIOHTTPPolicy,
    UserAgentPolicy,
)
from azure.core.polling import LROPoller
from azure.core.polling.base_polling import (
    LocationPolling,
    LROBasePolling,
    OperationResourcePolling,
    StatusCheckPolling,
)
from azure.core.rest import HttpRequest, HttpResponse

from azure_workload_identity import __version__
from azure_workload_identity.types import JsonObject
from azwi_cli import clock_skew
from azwi_cli.azure.errors import HINTS, NOT_FOUND, AzureApiError, NoAnswerError
from azwi_cli.clock_skew import ClockReading
from azwi_cli.console.dry_run import Plan
from azwi_cli.console.errors import CommandError

Query = Mapping[str, str]

HTTPS_PORT: Final = 443
CONNECT_SECONDS: Final = 5
READ_SECONDS: Final = 60
RETRIES: Final = 4
MAX_RETRY_AFTER: Final = 60.0
OPERATION_SECONDS: Final = 180.0
MAX_PAGES: Final = 1000
MAX_MESSAGE: Final = 500
MAX_CONTENT: Final = 1 << 20
_ACCEPTED: Final = 202
_DENIED: Final = 403
_BAD: Final = 400
_NOT_ACCEPTED: Final = frozenset({429, 503})
_UNREACHABLE: Final = (
    "check that it can be reached from here (HTTPS_PROXY, REQUESTS_CA_BUNDLE) and that --azure-env is the right cloud"
)
_SENT_AT: Final = "azwi_sent_at"
_NO_QUERY: Final[Query] = {}
_LINK: Final = re.compile(r"^\s+(\w+)Credential: (.*)$", re.MULTILINE)

log = logging.getLogger(__name__)


class _Retries(RetryPolicy[HttpRequest, HttpResponse]):
    """Bounded, and never a POST that may have been accepted: that could create a second application."""

    def is_retry(self, settings: dict[str, Any], response: PipelineResponse[Any, Any]) -> bool:
        """Whether to send again: a POST only when Azure says that it did not accept it."""
        answer = response.http_response
        accepted = answer.status_code not in _NOT_ACCEPTED or not answer.headers.get("Retry-After")
        if response.http_request.method == "POST" and accepted:
            return False
        return bool(super().is_retry(settings, response))

    def get_retry_after(self, response: PipelineResponse[Any, Any]) -> float | None:
        """Azure's Retry-After in seconds, bounded for a person who waits at a prompt."""
        seconds = super().get_retry_after(response)
        return None if seconds is None else min(seconds, MAX_RETRY_AFTER)


class _ClockPolicy(SansIOHTTPPolicy[HttpRequest, HttpResponse]):
    """Records Azure's clock (the Date header) from the response with the shortest round trip."""

    reading: ClockReading | None = None

    def on_request(self, request: PipelineRequest[HttpRequest]) -> None:
        request.context[_SENT_AT] = clock_skew.now()

    def on_response(
        self, request: PipelineRequest[HttpRequest], response: PipelineResponse[HttpRequest, HttpResponse]
    ) -> None:
        try:
            shown = parsedate_to_datetime(response.http_response.headers.get("Date", "")).astimezone(UTC)
        except ValueError:
            return
        reading = ClockReading(shown, request.context[_SENT_AT], clock_skew.now())
        if self.reading is None or reading.round_trip < self.reading.round_trip:
            self.reading = reading


class Endpoint:
    """One API at one base URL; close it.

    Args:
        base: https URL without a slash at the end.
        credential: gives tokens; None for what needs none.
        audience: the audience of the tokens.
        denied: the hint for a 403.
        plan: collects writes instead of sending them (`--dry-run`).
    """

    def __init__(
        self, base: str, credential: TokenCredential | None = None, audience: str = "", denied: str = "",
        plan: Plan | None = None,
    ) -> None:  # fmt: skip
        self.base = base
        self.plan = plan
        self._denied = denied
        self._clock = _ClockPolicy()
        policies: list[Any] = [
            RequestIdPolicy(),
            HeadersPolicy({"Accept": "application/json"}),
            UserAgentPolicy(base_user_agent=f"azwi/{__version__}"),
            _Retries(retry_total=RETRIES, retry_connect=2, retry_backoff_max=10),
            *([BearerTokenCredentialPolicy(credential, f"{audience}/.default")] if credential else []),
            self._clock,  # the last, next to the wire
        ]
        self._client: PipelineClient[HttpRequest, HttpResponse] = PipelineClient(
            base, policies=policies, connection_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @property
    def clock(self) -> ClockReading | None:
        """What its clock showed; None before it answered."""
        return self._clock.reading

    def get(self, path: str, query: Query = _NO_QUERY) -> JsonObject:
        """One object.

        Raises:
            AzureApiError: when it is refused; when there is none, too (status 404).
        """
        return _decoded(self._sent("GET", self._url(path, query)))

    def find(self, path: str, query: Query = _NO_QUERY) -> JsonObject | None:
        """One object, None when there is none."""
        try:
            return self.get(path, query)
        except AzureApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def pages(self, path: str, query: Query = _NO_QUERY) -> Iterator[JsonObject]:
        """All objects of a collection, page by page."""
        url = self._url(path, query)
        for _ in range(MAX_PAGES):
            page = _decoded(self._sent("GET", url))
            yield from page.get("value") or ()
            url = page.get("nextLink") or page.get("@odata.nextLink") or ""
            if not url:
                return
            if _origin(url) != _origin(self.base):
                raise CommandError(f"a page of {path} leads away from {self.base}", "no token is sent there")
        raise CommandError(f"{path} has more than {MAX_PAGES} pages", "name what you mean by its id")

    def write(self, method: str, path: str, query: Query, body: JsonObject | None = None) -> JsonObject | None:
        """Send a change and wait until it is done; None when it was only planned (`--dry-run`).

        Raises:
            AzureApiError: when it is refused, or ends as failed.
        """
        url = self._url(path, query)
        if self.plan is not None:
            self.plan.add(method, unquote(url), body)  # as people read it
            return None
        return _decoded(self._sent(method, url, body))

    def challenge(self, path: str, query: Query = _NO_QUERY) -> tuple[int, str]:
        """Status and WWW-Authenticate of an answer, whatever the status: for requests without a token."""
        response = self._run("GET", self._url(path, query)).http_response
        return response.status_code, response.headers.get("WWW-Authenticate", "")

    def exchange(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes | None = None
    ) -> tuple[HttpResponse, bytes]:
        """Send bytes as they are, for an API that is not of JSON; the response whatever its status, and its body.

        Raises:
            NoAnswerError: when there is no response.
            CommandError: when the body has more than MAX_CONTENT bytes.
        """
        url = self._url(path, _NO_QUERY)
        response = self._run(method, url, headers=headers, content=content, stream=True).http_response
        body = bytearray()
        try:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_CONTENT:
                    raise CommandError(f"{url} has more than {MAX_CONTENT >> 10} KiB", "is it the right address?")
        except AzureError as error:
            raise self._unreachable(error) from error
        finally:
            response.close()
        return response, bytes(body)

    def _url(self, path: str, query: Query) -> str:
        return f"{self.base}{path}" + (f"?{urlencode(query, safe='$', quote_via=quote)}" if query else "")

    def _sent(self, method: str, url: str, body: JsonObject | None = None) -> HttpResponse:
        answer = self._run(method, url, body)
        response = answer.http_response
        if response.status_code >= _BAD:
            raise self._refused(response)
        if method != "GET" and (response.status_code == _ACCEPTED or "Azure-AsyncOperation" in response.headers):
            return self._finished(answer)
        return response

    def _run(
        self,
        method: str,
        url: str,
        body: JsonObject | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        stream: bool = False,
    ) -> PipelineResponse[HttpRequest, HttpResponse]:
        log.debug("%s %s", method, url)
        request = HttpRequest(method, url, json=body, content=content, headers=dict(headers or {}))
        try:
            answer: Any = self._client.send_request(request, stream=stream, _return_pipeline_response=True)
        except ClientAuthenticationError as error:
            raise _no_token(error) from error
        except AzureError as error:
            raise self._unreachable(error) from error
        log.debug("%s %s", answer.http_response.status_code, answer.http_response.headers.get("x-ms-request-id", ""))
        return cast("PipelineResponse[HttpRequest, HttpResponse]", answer)

    def _finished(self, initial: PipelineResponse[HttpRequest, HttpResponse]) -> HttpResponse:
        """The end of a long-running operation.

        https://github.com/cloud-and-ai-microsoft/resource-provider-contract/blob/master/v1.0/async-api-reference.md
        """
        algorithms: list[Any] = [
            OperationResourcePolling(operation_location_header="azure-asyncoperation"),
            LocationPolling(),
            StatusCheckPolling(),
        ]
        polling: Any = LROBasePolling(timeout=2, lro_algorithms=algorithms)
        poller: LROPoller[Any] = LROPoller(self._client, initial, lambda answer: answer, polling)
        try:
            answer = poller.result(OPERATION_SECONDS)
        except HttpResponseError as error:
            raise CommandError(f"the operation failed: {one_line(error.message)}", HINTS[500]) from error
        except AzureError as error:
            raise self._unreachable(error) from error
        if not poller.done():
            raise CommandError(f"the operation is not done after {OPERATION_SECONDS:.0f} s", HINTS[500])
        response: HttpResponse = answer.http_response
        return response

    def _refused(self, response: HttpResponse) -> AzureApiError:
        code, message = _error(response)
        hint = self._denied if response.status_code == _DENIED else ""
        return AzureApiError(response.status_code, code, message or f"no reason given by {self.base}", hint)

    def _unreachable(self, error: AzureError) -> NoAnswerError:
        return NoAnswerError(f"no answer from {self.base}: {one_line(error.message)}", _UNREACHABLE)


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or HTTPS_PORT


def quoted(value: str) -> str:
    """A text as an OData filter has it."""
    return "'" + value.replace("'", "''") + "'"


def segment(value: str) -> str:
    """A text as one segment of a path."""
    return quote(value, safe="")


def _decoded(response: HttpResponse) -> JsonObject:
    try:
        decoded = json.loads(response.content) if response.content else {}
    except ValueError:
        decoded = None
    if not isinstance(decoded, dict):
        raise CommandError(
            f"{response.request.url.split('?')[0]} did not answer with a JSON object",
            "check that it is an Azure endpoint",
        )
    return decoded


def _error(response: HttpResponse) -> tuple[str, str]:
    """Code and message of an error; ARM and Graph use the same format."""
    try:
        error = json.loads(response.content)["error"]
        return str(error["code"])[:100], one_line(error["message"])
    except (ValueError, LookupError, TypeError):
        return "", ""


def _no_token(error: ClientAuthenticationError) -> NoAnswerError:
    # Of azure-identity's chain, the error of the Azure CLI, which most people use; else the last one.
    tried = dict(_LINK.findall(str(error.message)))
    reason = tried.get("AzureCli") or (list(tried.values()) or [str(error.message).partition("\n")[0]])[-1]
    hint = "run az login, or choose another --auth-method; azwi --debug shows what was tried"
    return NoAnswerError(
        f"no token from Azure: {one_line(reason)}",
        _UNREACHABLE if isinstance(error.__cause__, ServiceRequestError) else hint,
    )


def one_line(text: object) -> str:
    """A text from Azure on one line, printable and bounded."""
    line = " ".join(str(text).split())
    return "".join(letter for letter in line if letter.isprintable())[:MAX_MESSAGE]
