"""Which creations fail by engine while something is away: `python -m bench.engine_faults [--seconds 60]`.

Pods are created all the time, in a namespace for each engine, through a real API server (for the last fault, two on one
etcd). A creation is refused when the API server answers with an error; while the API server itself is away it is sent
again. A pod is without token when it was created without the token's volume.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import urllib3

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from bench import apiserver
from bench.engines import BOTH, POLICY, WEBHOOK, install_policies, wait_for, webhook_beside_policies
from bench.load import BenchmarkError
from bench.report import machine
from testbed.cluster.control_plane import ControlPlane, second_apiserver
from testbed.cluster.manifests import CLIENT_ID, USE, generated, pod, token_volumes
from testbed.cluster.server import Server, configuration, install_account, scope, serving
from testbed.processes import paused

ENGINES: Final = (WEBHOOK, POLICY, BOTH)
SECONDS: Final = 60.0
# So many creations a second for each engine.
RATE: Final = 10.0
ACCOUNTS: Final = 60
CALL_SECONDS: Final = 2


@dataclass
class Count:
    """The creations by one engine during one fault."""

    created: int = 0
    refused: int = 0
    without_token: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, status: int, answer: JsonObject) -> None:
        """Count one answer of the API server."""
        if status >= 300:  # noqa: PLR2004  not created
            self.refused += 1
            self.examples.append(str(answer.get("message", status)))
        else:
            self.created += 1
            self.without_token += not token_volumes(answer)


Fault = Mapping[str, Count]


@dataclass(frozen=True)
class Plane:
    """The API server, the webhook's server, and a namespace for each engine."""

    control_plane: ControlPlane
    kubeconfig: Path
    directory: Path
    namespaces: Mapping[str, str]

    @contextmanager
    def server(self, not_after: datetime | None = None) -> Iterator[Server]:
        """Run a server, and have both webhook configurations name it."""
        page = "readyz" if not_after is None else "healthz"
        with serving(
            self.kubeconfig, self.directory, "--webhook-configurations=", wait_for=page, not_after=not_after
        ) as running:
            selector = {"namespaceSelector": {"matchLabels": scope(WEBHOOK)}, "objectSelector": {"matchLabels": USE}}
            plain = configuration(WEBHOOK, running.url + names.MUTATE_PATH, running.ca_pem, **selector)
            for manifest in (plain, webhook_beside_policies(running)):
                manifest["webhooks"][0]["timeoutSeconds"] = CALL_SECONDS
                self.control_plane.apply(manifest)
            yield running

    def wait(self) -> None:
        """Wait until every engine injects."""
        for namespace in self.namespaces.values():
            wait_for(self.control_plane, namespace, injected=True)

    @contextmanager
    def creating(self) -> Iterator[Fault]:
        """Create pods by each engine all the time."""
        counts = {engine: Count() for engine in ENGINES}
        ended = threading.Event()
        threads = [
            threading.Thread(target=_create_until, args=(self, namespace, counts[engine], ended))
            for engine, namespace in self.namespaces.items()
        ]
        for thread in threads:
            thread.start()
        try:
            yield counts
        finally:
            ended.set()
            for thread in threads:
                thread.join()


def _create_until(plane: Plane, namespace: str, count: Count, ended: threading.Event) -> None:
    while not ended.wait(1 / RATE):
        answer = _create(plane.control_plane, plane.control_plane.url, namespace, "app")
        if answer is not None:
            count.add(*answer)


def _create(control_plane: ControlPlane, url: str, namespace: str, account: str) -> tuple[int, JsonObject] | None:
    """Create a pod: status and answer; None while the API server is away or not ready."""
    body = json.dumps(generated(pod("checkout", serviceAccountName=account)))
    headers = {"Content-Type": "application/json"}
    try:
        answer = control_plane.http.request(
            "POST", f"{url}/api/v1/namespaces/{namespace}/pods", body=body, headers=headers
        )
    except urllib3.exceptions.HTTPError:
        return None
    decoded: JsonObject = json.loads(answer.data) if answer.data.startswith(b"{") else {}
    # An API server that has just started knows neither roles nor policies yet, and says so.
    starting = answer.status in {401, 429, 503} or "not yet ready to handle request" in str(decoded.get("message"))
    return None if starting else (answer.status, decoded)


def measured(seconds: float, accounts: int) -> Iterator[tuple[str, Fault]]:
    """Each fault with what each engine's creations met.

    Raises:
        BenchmarkError: when a program is missing.
    """
    with apiserver.running() as (control_plane, directory):
        yield from faults(control_plane, directory, seconds, accounts)


def faults(control_plane: ControlPlane, directory: Path, seconds: float, accounts: int) -> Iterator[tuple[str, Fault]]:
    """The same on a control plane that runs."""
    kubeconfig = install_account(control_plane)
    policies = install_policies(control_plane, "faults", scope(POLICY), {})
    try:
        yield from _faults(control_plane, kubeconfig, directory, seconds, accounts)
    finally:
        control_plane.kubectl("delete", "mutatingwebhookconfigurations", WEBHOOK, BOTH)
        items = {"apiVersion": "v1", "kind": "List", "items": policies}
        control_plane.kubectl("delete", "--filename=-", stdin=json.dumps(items))


def _faults(
    control_plane: ControlPlane, kubeconfig: Path, directory: Path, seconds: float, accounts: int
) -> Iterator[tuple[str, Fault]]:
    plane = Plane(
        control_plane, kubeconfig, directory, {engine: _namespace(control_plane, engine) for engine in ENGINES}
    )
    with plane.server():
        plane.wait()
    yield "every replica of the webhook is away", _while(plane, seconds)
    with plane.server(not_after=datetime.now(UTC) - timedelta(days=1)):
        yield "the webhook's certificate has expired", _while(plane, seconds)
    with plane.server() as server, paused(server.process_id):
        yield "nothing answers at the webhook's address", _while(plane, seconds)
    with plane.server():
        plane.wait()
        yield "the API server restarts", _while(plane, seconds, lambda: _restart(control_plane))
        with second_apiserver(control_plane) as url:
            yield "an account, then its pod by another API server", _across(plane, url, accounts)


def _while(plane: Plane, seconds: float, happens: Callable[[], None] = lambda: None) -> Fault:
    """What creations meet in so many seconds, in the middle of which something happens."""
    with plane.creating() as counts:
        time.sleep(seconds / 2)
        happens()
        time.sleep(seconds / 2)
    return counts


def _restart(control_plane: ControlPlane) -> None:
    with control_plane.apiserver.away():
        pass


def _namespace(control_plane: ControlPlane, engine: str) -> str:
    namespace = control_plane.create_namespace(scope(*((POLICY, BOTH) if engine == BOTH else (engine,))))
    control_plane.create_service_account(namespace, "app", {names.CLIENT_ID: CLIENT_ID})
    return namespace


def _across(plane: Plane, other: str, accounts: int) -> Fault:
    """Create accounts by one API server and, at once, their pods by another."""
    counts = {engine: Count() for engine in ENGINES}
    for number in range(accounts):
        for engine, namespace in plane.namespaces.items():
            name = f"app-{number}"
            plane.control_plane.create_service_account(namespace, name, {names.CLIENT_ID: CLIENT_ID})
            answer = _create(plane.control_plane, other, namespace, name)
            if answer is None:
                raise BenchmarkError("the second API server is away")
            counts[engine].add(*answer)
    return counts


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.engine_faults", description="Which creations fail by engine.")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="that each fault lasts")
    options = parser.parse_args(arguments)
    print("; ".join(f"{key} {value}" for key, value in machine().items()))
    print(f"Each fault lasts {options.seconds:g} s; plain pods, {RATE:g} a second for each engine.\n")
    print("| fault | engine | created | refused | without token |\n|---|---|---:|---:|---:|")
    try:
        for fault, counts in measured(options.seconds, ACCOUNTS):
            for engine, count in counts.items():
                print(f"| {fault} | {engine} | {count.created} | {count.refused} | {count.without_token} |", flush=True)
                if count.examples:
                    print(f"{engine}: {count.examples[0]}", file=sys.stderr)
    except BenchmarkError as error:
        print(f"the benchmark failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
