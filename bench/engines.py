"""What a creation costs by engine: `python -m bench.engines`, pods by dry run through a real API server.

Each engine has namespaces of its own on one API server, and takes its turn in each round. A second table shows what the
policies cost where many ServiceAccounts are in the pod's namespace: the API server evaluates the policies' conditions
once for each of them, unless the binding selects some by a label.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from statistics import median
from typing import Final

import aiohttp
import urllib3
import yaml

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from bench import apiserver
from bench.load import BenchmarkError, NoAnswerError, cpu_seconds, drive
from bench.report import machine
from testbed.cluster.control_plane import ApiError, ControlPlane
from testbed.cluster.manifests import CLIENT_ID, USE, container, pod
from testbed.cluster.server import (
    TENANT_ID,
    Server,
    configuration,
    install_account,
    register,
    scope,
    serving,
    wait_until_true,
)
from webhook.admission.identity import Defaults
from webhook.admission.policy import Policy, ProxySettings
from webhook.admission_policy.conditions import LEFT_BY_POLICY
from webhook.admission_policy.manifests import Installation, documents

NONE: Final = "none"
WEBHOOK: Final = "webhook"
POLICY: Final = "policy"
BOTH: Final = "both"
ENGINES: Final = (NONE, WEBHOOK, POLICY, BOTH)
CONTAINERS: Final = (1, 4, 12)
CONCURRENCY: Final = (4, 25, 100)
USUAL_ACCOUNTS: Final = 10
ACCOUNTS: Final = (USUAL_ACCOUNTS, 100, 1_000, 10_000)
ROUNDS: Final = 3
SECONDS: Final = 2
ANSWER_SECONDS: Final = 30.0
SENT_AT_ONCE: Final = 32
LABEL: Final = {"azure.workload.identity/use": "true"}
LABELLED: Final = "labelled"
ALLOCATED: Final = "go_memstats_alloc_bytes_total"


@dataclass(frozen=True, slots=True)
class Cost:
    """One creation: milliseconds until the answer, CPU ms of API server and webhook, and KiB that the former allocates.

    What it allocates depends on no other work of the machine.
    """

    p50_ms: float
    p99_ms: float
    apiserver_ms: float
    webhook_ms: float
    allocated_kib: float
    per_second: float

    @classmethod
    def median(cls, rounds: Sequence["Cost"]) -> "Cost":
        """The median of each figure."""
        return cls(*(median(getattr(cost, name) for cost in rounds) for name in cls.__slots__))


@dataclass(frozen=True)
class Plane:
    """The API server with the engines, and the webhook's server."""

    control_plane: ControlPlane
    server: Server
    token: str
    seconds: int

    def measure(self, namespace: str, body: JsonObject, concurrency: int, seconds: int) -> list[Cost]:
        """Create pods for some seconds, and return nothing where no creation finished in the time.

        Raises:
            BenchmarkError: when a pod was not created.
        """
        load = apiserver.creations(self.control_plane, self.token, namespace, body, concurrency)
        before, allocated = cpu_seconds(self.server.process_id), allocated_bytes(self.control_plane)
        try:
            sample = drive(self.control_plane.apiserver.process_id, load, seconds)
        except NoAnswerError:
            return []
        spent = cpu_seconds(self.server.process_id) - before
        cost = Cost(
            sample.p50_ms,
            sample.p99_ms,
            sample.cpu_us / 1e3,
            spent / sample.requests * 1e3,
            (allocated_bytes(self.control_plane) - allocated) / sample.requests / 1024,
            sample.requests / seconds,
        )
        return [cost]


def allocated_bytes(control_plane: ControlPlane) -> float:
    """Return what the API server has allocated so far."""
    text = control_plane.http.request("GET", f"{control_plane.url}/metrics").data.decode()
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(ALLOCATED + " ")))


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.engines", description="What a creation costs by engine.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    options = parser.parse_args(arguments)
    print("; ".join(f"{key} {value}" for key, value in machine().items()))
    print(f"Pods by dry run; medians of {options.rounds} rounds of {options.seconds} s, engines in turns.\n")
    try:
        with _plane(options.seconds) as plane:
            _print_engines(plane, options.rounds)
            _print_accounts(plane)
    except BenchmarkError as error:
        print(f"the benchmark failed: {error}", file=sys.stderr)
        return 1
    return 0


def _print_engines(plane: Plane, rounds: int) -> None:
    namespaces = {engine: _namespace(plane.control_plane, engine) for engine in ENGINES}
    for engine, namespace in namespaces.items():
        wait_for(plane.control_plane, namespace, injected=engine != NONE)
    print(f"| containers | at a time | engine |{' | '.join(_HEAD)} |\n|---:|---:|---|{'---:|' * len(_HEAD)}")
    for containers, concurrency in product(CONTAINERS, CONCURRENCY):
        body = _pod(containers)
        costs: dict[str, list[Cost]] = {engine: [] for engine in ENGINES}
        for number in range(rounds):
            for engine, namespace in namespaces.items():
                _progress(f"{containers} containers, {concurrency} at a time: {engine}, round {number + 1}")
                # Long enough for every client to be answered.
                seconds = max(plane.seconds, concurrency // 8)
                costs[engine].extend(plane.measure(namespace, body, concurrency, seconds))
        for engine in ENGINES:
            print(f"| {containers} | {concurrency} | {engine} | {_row(costs[engine])} |", flush=True)


def _print_accounts(plane: Plane) -> None:
    print(f"\n| accounts in the namespace | binding selects |{' | '.join(_HEAD)} |\n|---:|---|{'---:|' * len(_HEAD)}")
    for engine, selects in ((POLICY, "all"), (LABELLED, "by label")):
        namespace, there = _namespace(plane.control_plane, engine), USUAL_ACCOUNTS
        for count in ACCOUNTS:
            _progress(f"{count:,} accounts, bindings select {selects}")
            _add_accounts(plane.control_plane, namespace, range(there, count))
            there = count
            print(f"| {count:,} | {selects} | {_row(_beside(plane, namespace, count))} |", flush=True)


def _beside(plane: Plane, namespace: str, accounts: int) -> list[Cost]:
    """What a creation costs beside so many accounts; nothing where none is answered within ANSWER_SECONDS."""
    try:
        wait_until_true(lambda: _is_injected(plane.control_plane, namespace), f"pods in {namespace} are created")
    except _NOT_CREATED:
        return []
    return plane.measure(namespace, _pod(1), 1, max(plane.seconds, accounts // 100))


_HEAD: Final = (
    " p50 ms",
    "p99 ms",
    "CPU ms of the API server",
    "CPU ms of the webhook",
    "KiB allocated",
    "pods a second",
)


def _row(costs: Sequence[Cost]) -> str:
    if not costs:
        return "none finished"
    cost = Cost.median(costs)
    figures = (
        f"{cost.p50_ms:.1f}",
        f"{cost.p99_ms:.1f}",
        f"{cost.apiserver_ms:.2f}",
        f"{cost.webhook_ms:.2f}",
        f"{cost.allocated_kib:,.0f}",
        f"{cost.per_second:.0f}",
    )
    return " | ".join(figures)


def _progress(text: str) -> None:
    print(f"{text} ...", file=sys.stderr)


@contextmanager
def _plane(seconds: int) -> Iterator[Plane]:
    with apiserver.running() as (control_plane, directory):
        kubeconfig = install_account(control_plane)
        with serving(kubeconfig, directory, "--webhook-configurations=") as server:
            register(control_plane, server, WEBHOOK)
            control_plane.apply(webhook_beside_policies(server))
            install_policies(control_plane, "azwi", scope(POLICY), {})
            install_policies(control_plane, LABELLED, scope(LABELLED), {"matchLabels": LABEL})
            yield Plane(control_plane, server, apiserver.creator(control_plane), seconds)


def webhook_beside_policies(server: Server) -> JsonObject:
    """Describe the webhook of the engine `both`: it is called for what the policies left."""
    return configuration(
        BOTH,
        server.url + names.MUTATE_PATH,
        server.ca_pem,
        namespaceSelector={"matchLabels": scope(BOTH)},
        objectSelector={"matchLabels": USE},
        matchConditions=[{"name": "left-by-policy", "expression": LEFT_BY_POLICY}],
    )


def install_policies(
    control_plane: ControlPlane, name: str, labels: dict[str, str], account_selector: JsonObject
) -> list[JsonObject]:
    """Install the policies for the namespaces with these labels, and return their manifests."""
    policy = Policy(Defaults(TENANT_ID), "https://login.microsoftonline.com/", ProxySettings("registry.test/proxy:1"))
    installation = Installation(name, account_selector=account_selector, namespace_selector={"matchLabels": labels})
    manifests = list(yaml.safe_load_all(documents(policy, installation)))
    control_plane.apply(*manifests)
    return manifests


def _namespace(control_plane: ControlPlane, engine: str) -> str:
    """A namespace with the usual number of accounts, in which the engine injects."""
    scopes = (POLICY, BOTH) if engine == BOTH else (engine,)
    namespace = control_plane.create_namespace(scope(*scopes))
    metadata = {"name": "app", "annotations": {names.CLIENT_ID: CLIENT_ID}, "labels": LABEL}
    control_plane.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": metadata})
    _add_accounts(control_plane, namespace, range(2, USUAL_ACCOUNTS))
    return namespace


def _add_accounts(control_plane: ControlPlane, namespace: str, numbers: range) -> None:
    async def create(session: aiohttp.ClientSession, number: int) -> None:
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        async with session.post(path, json={"metadata": {"name": f"account-{number:05}"}}) as answer:
            if answer.status != 201:  # noqa: PLR2004  created
                raise BenchmarkError(f"an account was not created: {answer.status} {await answer.text()}")

    apiserver.at_once(control_plane, numbers, create, SENT_AT_ONCE)


def wait_for(control_plane: ControlPlane, namespace: str, *, injected: bool) -> None:
    """Wait until pods in the namespace get the identity, or are created without it.

    Until the API server knows each policy and webhook, it may refuse them.
    """

    def happened() -> bool:
        try:
            return _is_injected(control_plane, namespace) is injected
        except _NOT_CREATED:
            return False

    wait_until_true(happened, f"pods in {namespace} are created")


def _is_injected(control_plane: ControlPlane, namespace: str) -> bool:
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    stored = control_plane.request("POST", path, _pod(1), seconds=ANSWER_SECONDS)
    return "AZURE_CLIENT_ID" in json.dumps(stored["spec"]["containers"])


_NOT_CREATED: Final = (ApiError, urllib3.exceptions.TimeoutError)


def _pod(containers: int) -> JsonObject:
    """A pod of so many containers, each with the variables that containers usually have."""
    env = [{"name": f"SHOP_SETTING_{number}", "value": f"value-{number}"} for number in range(8)]
    return pod(
        "checkout-7d4b9c6f5d",
        labels=USE,
        serviceAccountName="app",
        containers=[container(f"checkout-{number}", env=env) for number in range(containers)],
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
