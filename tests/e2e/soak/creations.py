"""Creates pods at a fixed rate, deletes each one, and keeps every failure."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import urllib3

from azure_workload_identity import names
from testbed.cluster.control_plane import ApiError, Cluster
from testbed.cluster.manifests import CLIENT_ID, pod
from tests.cluster.support.load import is_whole

CLIENTS: Final = 5
# The pods are stored but never scheduled: only their creation is tested.
NEVER: Final = [{"name": "azwi.test/never"}]
PROXY: Final = {names.INJECT_PROXY: "true"}


@dataclass(frozen=True, slots=True)
class Failure:
    """A creation that failed: when, in seconds since the start, and the API server's message."""

    seconds: float
    message: str


@dataclass
class Created:
    """How long each creation took, in seconds, and the failures."""

    seconds: list[float] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


@contextmanager
def creating(cluster: Cluster, namespaces: Sequence[str], rate: float, begun: float) -> Iterator[Created]:
    """Create pods, `rate` a second, in turns in the namespaces, from entering to leaving.

    Of ten pods one has the proxy, and one has a ServiceAccount that was created a moment before it.
    """
    created, stop, lock = Created(), threading.Event(), threading.Lock()
    numbers = iter(range(1_000_000_000))

    def client(offset: float) -> None:
        due = time.monotonic() + offset
        while not stop.wait(max(0.0, due - time.monotonic())):
            due += CLIENTS / rate
            with lock:
                number = next(numbers)
            took, failure = _create(cluster, namespaces[number % len(namespaces)], number)
            with lock:
                created.seconds.append(took)
                if failure:
                    created.failures.append(Failure(time.monotonic() - begun, failure))

    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(client, number / rate) for number in range(CLIENTS)]
        try:
            yield created
        finally:
            stop.set()
        for done in running:
            done.result()


def _create(cluster: Cluster, namespace: str, number: int) -> tuple[float, str]:
    """Create a pod and delete it; return how long its creation took, and what went wrong with it."""
    name, account = f"soak-{number}", "app"
    annotations = PROXY if number % 10 == 1 else {}
    begun = time.monotonic()
    took = 0.0
    try:
        if number % 10 == 0:
            account = name
            cluster.create_service_account(namespace, account, {names.CLIENT_ID: CLIENT_ID})
        begun = time.monotonic()
        stored = cluster.create_pod(
            namespace, pod(name, annotations=annotations, serviceAccountName=account, schedulingGates=NEVER)
        )
        took = time.monotonic() - begun
        cluster.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}")
        if account != "app":
            cluster.request("DELETE", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}")
    except (ApiError, urllib3.exceptions.HTTPError) as error:
        return took or time.monotonic() - begun, str(error)
    return took, "" if is_whole(stored) else f"{name} has no client id, or several"
