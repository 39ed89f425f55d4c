"""Creates pods continuously and counts failures."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import urllib3

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import ApiError, Cluster
from testbed.cluster.manifests import pod

# What the API server says of a call that was in flight when its connection broke: the errors of Go's net and net/http.
IN_FLIGHT: Final = (
    "connection reset|broken pipe|EOF|server closed idle connection|use of closed network connection|"
    "client connection lost|transport connection broken"
)


@dataclass
class Created:
    """The number of pods created, the slowest creation in seconds, and the failures."""

    count: int = 0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)


@contextmanager
def continuous(
    cluster: Cluster,
    namespace: str,
    concurrency: int = 4,
    pause: float = 0.0,
    **spec: Any,  # noqa: ANN401  fields of a pod's spec
) -> Iterator[Created]:
    """Create pods, that many at a time, from entering to leaving; leaving waits for the last ones.

    After each of its pods a client pauses for that many seconds.
    """
    created, lock = Created(), threading.Lock()

    def create() -> None:
        with lock:
            created.count += 1
            number = created.count
        begun = time.monotonic()
        failure = _failure(cluster, namespace, pod(f"load-{number}", serviceAccountName="app", **spec))
        with lock:
            created.slowest = max(created.slowest, time.monotonic() - begun)
            if failure:
                created.failures.append(f"{time.strftime('%H:%M:%S')} {failure}")

    with repeated(create, concurrency, pause):
        yield created


@contextmanager
def repeated(call: Callable[[], None], clients: int, pause: float) -> Iterator[None]:
    """Call a function again and again from that many threads, from entering to leaving, which waits for the last calls.

    After each call a thread pauses for that many seconds. Leaving raises what a call raised.
    """
    stop = threading.Event()

    def repeat() -> None:
        while not stop.is_set():
            call()
            stop.wait(pause)

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(repeat) for _ in range(clients)]
        try:
            yield
        finally:
            stop.set()
        for client in running:
            client.result()


def _failure(cluster: Cluster, namespace: str, written: JsonObject) -> str:
    try:
        stored = cluster.create_pod(namespace, written)
    except (ApiError, urllib3.exceptions.HTTPError) as error:
        return str(error)
    return "" if is_whole(stored) else f"{stored['metadata']['name']} has no client id, or several"


def is_whole(stored: JsonObject) -> bool:
    """Whether a stored pod has its identity, once."""
    variables = stored["spec"]["containers"][0].get("env", [])
    return [variable["name"] for variable in variables].count(names.ENV_CLIENT_ID) == 1
