"""ServiceAccounts from the API server.

By raw calls of the `kubernetes` package's asyncio client: its API classes would more than double the process.
"""

import asyncio
import os
import re
from typing import Any, Final, Self

import aiohttp
import orjson
import yaml
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from webhook import __version__
from webhook.admission.identity import Account, AccountsUnavailableError

# Short of any sensible timeoutSeconds of a webhook, so that the answer, not the wait, ends the call.
READ_SECONDS: Final = 2.0
MAX_CONNECTIONS: Final = 64
# https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_VERSION: Final = re.compile(rb'"gitVersion":\s*"v(\d{1,3})\.(\d{1,3})\.')

_NOT_FOUND: Final = 404
_OK: Final = 200
_DENIED: Final = frozenset({401, 403})


class Cluster:
    """A connection to one API server."""

    def __init__(self, configuration: Configuration) -> None:
        configuration.connection_pool_maxsize = MAX_CONNECTIONS
        self._host = configuration.host
        self._client = ApiClient(configuration)

    @classmethod
    async def connect(cls, kubeconfig: str) -> Self:
        """By kubeconfig (`--kubeconfig`, KUBECONFIG), else as a pod, else by ~/.kube/config; nothing is sent yet.

        Raises:
            ValueError: with a sentence when no configuration is found or it cannot be used.
        """
        configuration = Configuration()
        try:
            if not kubeconfig and os.environ.get("KUBERNETES_SERVICE_HOST"):
                load_incluster_config(client_configuration=configuration)
            else:
                await load_kube_config(config_file=kubeconfig or None, client_configuration=configuration)
            return cls(configuration)
        except (ConfigException, yaml.YAMLError, OSError, TypeError, ValueError) as error:
            raise ValueError(
                f"no usable cluster configuration in {kubeconfig or '~/.kube/config'}: {error}; set --kubeconfig or "
                "KUBECONFIG, run in a pod with a ServiceAccount token, or give manifests with --service-accounts"
            ) from error

    async def get(self, path: str, accept: str = "application/json") -> tuple[int, bytes]:
        """Status and body of a GET.

        Raises:
            AccountsUnavailableError: when there is no answer within READ_SECONDS.
        """
        headers = {"Accept": accept, "User-Agent": f"azwi-webhook/{__version__}"}
        try:
            async with asyncio.timeout(READ_SECONDS):
                await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, "GET", None)
                answer = await self._client.call_api("GET", self._host + path, header_params=headers)
                return answer.status, await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise AccountsUnavailableError(
                f"the API server did not answer GET {path}: {type(error).__name__}"
            ) from error

    async def version(self) -> tuple[int, int] | None:
        """The cluster's version as (major, minor), or None when it cannot be told."""
        try:
            status, body = await self.get("/version")
        except AccountsUnavailableError:
            return None
        match = _VERSION.search(body) if status == _OK else None
        return (int(match[1]), int(match[2])) if match else None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


class ClusterAccounts:
    """Accounts by one live read each."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def find(self, namespace: str, name: str) -> Account | None:
        """The account as the API server has it; both names must have been checked, they become a URL's path."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}"
        status, body = await self._cluster.get(path, METADATA_ONLY)
        if status == _NOT_FOUND:
            return None
        if status in _DENIED:
            raise AccountsUnavailableError(
                f"the API server does not let the webhook read ServiceAccount {namespace}/{name} (HTTP {status}): "
                "grant its own ServiceAccount get, list and watch on serviceaccounts"
            )
        if status != _OK:
            raise AccountsUnavailableError(f"the API server answered GET {path} with HTTP {status}")
        return Account.from_metadata(_metadata(body, path))

    async def close(self) -> None:
        """Close the connections."""
        await self._cluster.close()


def _metadata(body: bytes, path: str) -> dict[str, Any]:
    try:
        metadata = orjson.loads(body)["metadata"]
    except (ValueError, TypeError, LookupError):
        metadata = None
    if not isinstance(metadata, dict):
        raise AccountsUnavailableError(f"the API server's answer to GET {path} is no ServiceAccount")
    return metadata
