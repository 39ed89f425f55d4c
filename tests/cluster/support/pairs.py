"""Creates pods continuously, every second one right after its account, through one API server or several in turns."""

import itertools
import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import urllib3

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.manifests import CLIENT_ID, environment, pod
from tests.cluster.support.load import repeated

CLIENTS: Final = 4
PAUSE_SECONDS: Final = 0.05
# After so long without an answer a client sends a request again, to the next API server.
CLIENT_SECONDS: Final = 6.0
AGAIN_SECONDS: Final = 0.1
# What an API server answers that cannot serve: not ready yet, ending, or without a leader of its etcd.
UNAVAILABLE: Final = frozenset({401, 429, 503, 504})
STARTING: Final = r"etcdserver: |rpc error: |not yet ready to handle request"
_numbers: Final = itertools.count()  # names of accounts and pods, in whatever namespace


@dataclass(frozen=True, slots=True)
class Failure:
    """A creation that an API server refused: when (monotonic), and what it answered."""

    at: float
    message: str


@dataclass
class Seen:
    """What the clients saw.

    `sent_again` counts by kind the requests that met an API server which could not serve, and went to the next one.
    """

    pods: int = 0
    slowest: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    without_client_id: list[str] = field(default_factory=list)
    sent_again: Counter[str] = field(default_factory=Counter)

    @property
    def span(self) -> float:
        """Seconds from the first failure to the last."""
        times = [failure.at for failure in self.failures]
        return max(times) - min(times) if times else 0.0

    def other_than(self, expected: str) -> list[str]:
        """The failures of another kind, a regular expression."""
        return [failure.message for failure in self.failures if not re.search(expected, failure.message)]

    def row(self, what: str, last: str) -> str:
        """A row of the table, as `head` has its columns."""
        again = ", ".join(f"{number} {kind}" for kind, number in sorted(self.sent_again.items())) or "0"
        return (
            f"| {what} | {self.pods} | {len(self.failures)} | {self.span:.1f} s | {len(self.without_client_id)} "
            f"| {self.slowest:.1f} s | {again} | {last} |"
        )


def head(last: str) -> str:
    """The head of the table, which ends with a column of the caller's."""
    return (
        f"| Meanwhile | Pods | Failed | within | Without client id | Slowest | Sent again | {last} |\n"
        "|---|---|---|---|---|---|---|---|"
    )


@contextmanager
def creating(
    http: urllib3.PoolManager,
    urls: Sequence[str],
    namespace: str,
    **spec: Any,  # noqa: ANN401  fields of a pod's spec
) -> Iterator[Seen]:
    """Create pods from entering to leaving: of the account `app`, and in turns of an account that was just created."""
    seen = Seen()

    def create() -> None:
        number = next(_numbers)
        account = f"app-{number}" if number % 2 else "app"
        if account != "app":
            metadata = {"name": account, "annotations": {names.CLIENT_ID: CLIENT_ID}}
            _create(http, _from(urls, number), f"{namespace}/serviceaccounts", {"metadata": metadata}, seen)
        begun = time.monotonic()
        written = pod(f"load-{number}", serviceAccountName=account, **spec)
        stored = _create(http, _from(urls, number + 1), f"{namespace}/pods", written, seen)
        seen.slowest = max(seen.slowest, time.monotonic() - begun)
        if stored is not None:
            seen.pods += 1
            if names.ENV_CLIENT_ID not in environment(stored["spec"]["containers"][0]):
                seen.without_client_id.append(stored["metadata"]["name"])

    with repeated(create, CLIENTS, PAUSE_SECONDS):
        yield seen


def _from(urls: Sequence[str], number: int) -> Iterator[str]:
    """The URLs without end, from one on."""
    return itertools.islice(itertools.cycle(urls), number % len(urls), None)


def _create(
    http: urllib3.PoolManager, urls: Iterator[str], collection: str, manifest: JsonObject, seen: Seen
) -> JsonObject | None:
    """Create an object by the first API server that can serve; None if that refused it."""
    again = False
    for url in urls:
        path = f"{url}/api/v1/namespaces/{collection}"
        try:
            status, answer = _send(http, "POST", path, manifest)
            if status == 409 and again:  # the one that did not answer has created it
                status, answer = _send(http, "GET", f"{path}/{manifest['metadata']['name']}", None)
        except urllib3.exceptions.HTTPError as error:
            seen.sent_again[type(error).__name__] += 1
        else:
            message = str(answer.get("message", status))
            if status < 300:
                return answer
            if status not in UNAVAILABLE and not re.search(STARTING, message):
                seen.failures.append(Failure(time.monotonic(), message))
                return None
            seen.sent_again[f"HTTP {status}"] += 1
        again = True
        time.sleep(AGAIN_SECONDS)
    raise AssertionError  # there is always another URL


def _send(http: urllib3.PoolManager, method: str, url: str, body: JsonObject | None) -> tuple[int, JsonObject]:
    answer = http.request(
        method,
        url,
        body=None if body is None else json.dumps(body),
        headers={"Content-Type": "application/json"},
        timeout=CLIENT_SECONDS,
    )
    decoded: JsonObject = json.loads(answer.data) if answer.data.startswith(b"{") else {}
    return answer.status, decoded
