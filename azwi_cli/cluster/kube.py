"""The cluster: found by the usual kubeconfig rules, spoken to by raw calls.

The `kubernetes` package loads the kubeconfig (exec plugins, client certificates, proxies) and sends; its API classes
stay out, which would cost a command another second.
"""

# ruff: noqa: PLC0415  the Kubernetes client is loaded only by commands that talk to a cluster

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import quote, urlencode

import click

from azure_workload_identity import __version__
from azure_workload_identity.types import JsonObject
from azwi_cli.cluster import kubeconfig
from azwi_cli.console.errors import CommandError, UnreachableError, cause

FIELD_MANAGER: Final = "azwi"
PAGE_SIZE: Final = 500
TIMEOUT_SECONDS: Final = 30.0
JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
# https://kubernetes.io/docs/reference/using-api/server-side-apply/ ; JSON is YAML.
APPLY_PATCH: Final = "application/apply-patch+yaml"

# Where click keeps --request-timeout for all parts of a command.
TIMEOUT_KEY: Final = "azwi.request_timeout"
_NOT_FOUND: Final = 404
_ERRORS: Final = 300


log = logging.getLogger(__name__)


def requested_timeout() -> float:
    """The value of --request-timeout of the command that runs, in seconds."""
    context = click.get_current_context(silent=True)
    return float(context.meta.get(TIMEOUT_KEY, TIMEOUT_SECONDS)) if context else TIMEOUT_SECONDS


@dataclass(frozen=True, slots=True)
class ClusterTarget:
    """The cluster and namespace that the command line names; empty means the kubeconfig's. `timeout` in seconds."""

    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""
    timeout: float = field(default_factory=requested_timeout)


class ApiError(CommandError):
    """The API server refused; `status` is HTTP's, `reason` the API's word, such as Forbidden."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"the API server answered: {message}", _HINTS.get(status, ""))
        self.status = status
        self.reason = reason


_HINTS: Final = {
    401: "log in to the cluster again; kubectl auth whoami shows who you are",
    403: "ask the cluster's administrator for that permission, or use another --context",
    409: "another field manager owns a field that would change; kubectl get --show-managed-fields shows which",
    410: "the list grew too old while it was read; run the command again",
}


def path(api_version: str, plural: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """The path of a resource, or of all of a kind where `name` is empty; in all namespaces where `namespace` is."""
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    scope = ["namespaces", namespace] if namespace else []
    parts = [*scope, plural, *filter(None, (name, subresource))]
    return "/".join([root, *(quote(part, safe="") for part in parts)])


class Cluster:
    """A connection to one API server; `namespace` is the one that commands mean when they name none."""

    def __init__(self, client: Any, namespace: str, headers: Mapping[str, str], timeout: float) -> None:  # noqa: ANN401  the package carries no types
        self._client = client
        self._headers = headers
        self._timeout = timeout
        self._host: str = client.configuration.host
        self.namespace = namespace

    @classmethod
    def connect(cls, target: ClusterTarget) -> Self:
        """By --kubeconfig, else KUBECONFIG or ~/.kube/config, else as the pod it runs in; nothing is sent yet.

        Raises:
            CommandError: when there is no configuration or it cannot be used.
        """
        # 0.5 s of CPU, for commands that talk to a cluster only
        from kubernetes.client.api_client import ApiClient
        from kubernetes.client.configuration import Configuration

        configuration = Configuration()
        access = kubeconfig.load(target.kubeconfig, target.context, configuration)
        configuration.retries = False
        namespace = target.namespace or access.namespace or "default"
        return cls(ApiClient(configuration), namespace, access.headers, target.timeout)

    @property
    def host(self) -> str:
        """The API server's URL."""
        return self._host

    def get(self, path: str, **query: str) -> JsonObject:
        """One object.

        Raises:
            ApiError: when there is none, too (status 404).
        """
        return self.send("GET", path, query=query)

    def find(self, path: str) -> JsonObject | None:
        """One object, None when there is none."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    def list(self, path: str, *, labels: str = "", fields: str = "") -> Iterator[JsonObject]:
        """All objects, page by page, each with its apiVersion and kind; `labels` and `fields` are selectors."""
        query = {"limit": str(PAGE_SIZE), "labelSelector": labels, "fieldSelector": fields}
        while True:
            page = self.send("GET", path, query=query)
            kind = {"apiVersion": page["apiVersion"], "kind": page["kind"].removesuffix("List")}
            for item in page.get("items") or ():
                yield {**kind, **item}
            query["continue"] = page["metadata"].get("continue") or ""
            if not query["continue"]:
                return

    def create(self, path: str, body: JsonObject, *, dry_run: bool = False) -> JsonObject:
        """Create an object."""
        return self.send("POST", path, body, query=_dry(dry_run=dry_run))

    def apply(self, path: str, body: JsonObject, *, force: bool = False, dry_run: bool = False) -> JsonObject:
        """Server-side apply: azwi owns the fields of `body`, all others stay. `dry_run` stores nothing.

        Raises:
            ApiError: with status 409 when another owns one of the fields with another value and not `force`.
        """
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower(), **_dry(dry_run=dry_run)}
        return self.send("PATCH", path, body, content_type=APPLY_PATCH, query=query)

    def patch(self, path: str, body: object, *, content_type: str = MERGE_PATCH, dry_run: bool = False) -> JsonObject:
        """Patch an object."""
        query = {"fieldManager": FIELD_MANAGER, **_dry(dry_run=dry_run)}
        return self.send("PATCH", path, body, content_type=content_type, query=query)

    def delete(self, path: str, *, dry_run: bool = False) -> bool:
        """Delete an object; False when there was none."""
        try:
            self.send("DELETE", path, query=_dry(dry_run=dry_run))
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return False
            raise
        return True

    def token(self, namespace: str, service_account: str, audience: str, seconds: int) -> JsonObject:
        """The status of a TokenRequest: `token`, a secret, and `expirationTimestamp`."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": seconds},
        }
        answer = self.create(path("v1", "serviceaccounts", namespace, service_account, "token"), body)
        status: JsonObject = answer["status"]
        return status

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = JSON,
        query: Mapping[str, str] | None = None,
    ) -> JsonObject:
        """The answer to one request.

        Raises:
            ApiError: when it is refused.
            CommandError: when there is no response, or not an API server's.
        """
        import urllib3

        asked = urlencode({key: value for key, value in (query or {}).items() if value})
        url = f"{self._host}{path}?{asked}" if asked else self._host + path
        log.debug("%s %s", method, url)
        # Not all that it serves is plain JSON: its JWKS is application/jwk-set+json.
        headers = {"Accept": f"{JSON}, */*", "User-Agent": f"azwi/{__version__}", "Content-Type": content_type}
        headers |= self._headers
        encoded = json.dumps(body) if content_type == APPLY_PATCH else body  # the package encodes what is named JSON
        try:
            self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, None)
            answer = self._client.call_api(method, url, headers, encoded, _request_timeout=self._timeout)
            status, raw = answer.status, answer.read()
        except (OSError, urllib3.exceptions.HTTPError, _api_exception()) as error:
            raise self._unreachable(error) from error
        log.debug("%s", status)
        decoded = _decoded(raw)
        if status >= _ERRORS:
            message = decoded.get("message") or f"HTTP status {status} to {method} {path}"
            raise ApiError(status, str(decoded.get("reason", "")), str(message))
        return decoded

    def _unreachable(self, error: Exception) -> CommandError:
        reason = cause(error)
        if "certificate" in reason:
            return UnreachableError(
                f"the certificate of the API server at {self._host} is not accepted: {reason}",
                "the kubeconfig's certificate-authority or server name does not match it; is it of another cluster, or "
                "an old one? For AKS: az aks get-credentials",
            )
        if "timed out" in reason:
            return UnreachableError(
                f"no answer from the API server at {self._host} within {self._timeout:g} s",
                "check the network and --context, or wait longer with --request-timeout",
            )
        return UnreachableError(
            f"no answer from the API server at {self._host}: {reason}",
            "check that the cluster runs and that --context is right; kubectl cluster-info makes the same connection",
        )


def _dry(*, dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


def _decoded(raw: bytes) -> JsonObject:
    try:
        decoded = json.loads(raw)
    except ValueError:
        decoded = None
    return decoded if isinstance(decoded, dict) else {}


def _api_exception() -> type[Exception]:
    from kubernetes.client.exceptions import ApiException

    kind: type[Exception] = ApiException
    return kind
