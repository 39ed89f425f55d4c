"""`make soak`: runs a soak on a node, prints a summary, and exits with 1 where something failed or grew."""

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from bench.report import machine
from certs.secret_keys import CA, LEAF
from testbed.cluster.control_plane import Cluster
from testbed.cluster.server import wait_until_true
from testbed.processes import child
from tests.cluster.support.mutation import mutated
from tests.cluster.support.node.node import Node, NodeError
from tests.cluster.support.release import FULLNAME, Release
from tests.e2e.installed import installed
from tests.e2e.needs import missing
from tests.e2e.soak import client
from tests.e2e.soak.creations import creating
from tests.e2e.soak.disturbances import Target, disturb
from tests.e2e.soak.plot import draw
from tests.e2e.soak.result import DISTURBED, STEADY, Soak
from tests.e2e.soak.sampling import Process, sampling
from tests.e2e.stage import Stage, stage
from tests.e2e.test_tokens import ENVIRONMENT, MANAGED_IDENTITY_ALONE
from tests.e2e.workloads import RESTRICTED, Workloads, container, pod, workloads
from tests.image import build

RATE: Final = 5.0  # creations a second in each release
NAMESPACES: Final = 10
TOKEN_RATE: Final = 20.0
PROXY: Final = "proxy"
POD: Final = "soak"
START_SECONDS: Final = 300.0

log = logging.getLogger(__name__)


@dataclass
class Observed:
    """Finds the processes to sample, and counts the certificates that each release had."""

    node: Node
    releases: Mapping[str, Release]
    proxied: Workloads
    seen: dict[str, set[str]] = field(default_factory=dict)

    def processes(self) -> Iterator[Process]:
        """Find the processes of every pod."""
        for name, release in self.releases.items():
            for item in _pods(self.node.cluster, release.namespace):
                supervisor = self.node.container(item)
                yield Process(name, "supervisor", item["metadata"]["name"], supervisor)
                yield Process(name, "server", item["metadata"]["name"], child(supervisor))
            path = f"/api/v1/namespaces/{release.namespace}/secrets/{FULLNAME}-server-cert"
            content = self.node.cluster.request("GET", path)["data"]
            for kind, key in (("CAs", CA), ("certificates", LEAF)):
                self.seen.setdefault(f"{name} {kind}", set()).add(content[key])
        for item in _pods(self.node.cluster, self.proxied.namespace):
            yield Process(PROXY, PROXY, POD, self.node.container(item, names.PROXY_CONTAINER))


def _pods(cluster: Cluster, namespace: str) -> list[JsonObject]:
    """The running pods of a namespace that are not about to end."""
    items = cluster.request("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]
    return [
        item for item in items if item["status"]["phase"] == "Running" and "deletionTimestamp" not in item["metadata"]
    ]


def soak(running: Stage, directory: Path, seconds: float) -> Soak:
    """Install two releases, one to be disturbed, and a pod with a proxy, and run for so many seconds."""
    # A CA is announced with a third of its life left, so there are about nine in a run, and twice as many certificates.
    certificates = {"caLifetime": f"{seconds / 6:.0f}s", "lifetime": f"{seconds / 12:.0f}s"}
    running.azure.entra.token_lifetime = round(seconds / 6)
    chart: Mapping[str, Any] = {"certificates": certificates}
    with ExitStack() as stack:
        releases = {
            name: stack.enter_context(installed(running.node.cluster, directory, **chart))
            for name in (STEADY, DISTURBED)
        }
        namespaces = {
            name: [release.workload_namespace() for _ in range(NAMESPACES)] for name, release in releases.items()
        }
        for name, release in releases.items():
            for namespace in namespaces[name]:
                wait_until_true(lambda r=release, n=namespace: mutated(r, n), "pods are mutated")  # type: ignore[misc]
        proxied = _start_proxied(running, releases[STEADY])
        observed = Observed(running.node, releases, proxied)
        log.info("everything runs: %g minutes begin", seconds / 60)
        date, begun = datetime.now(UTC), time.monotonic()
        samples = stack.enter_context(sampling(observed.processes, begun))
        with ExitStack() as creations:
            created = {
                name: creations.enter_context(creating(running.node.cluster, namespaces[name], RATE, begun))
                for name in releases
            }
            events = disturb(Target(running.node, releases[DISTURBED], chart), begun, seconds)
        tokens = json.loads(proxied.kubectl("logs", POD, "--container=app").splitlines()[-1])
        exchanges = [item for item in running.azure.entra.exchanges if item.status == 200]
        return Soak(
            begun=date,
            seconds=seconds,
            machine=machine(),
            created=created,
            events=events,
            samples=samples,
            certificates={name: len(found) for name, found in observed.seen.items()},
            tokens={
                **tokens,
                "exchanges": len(exchanges),
                "projected tokens": len({item.assertion for item in exchanges}),
            },
        )


def _start_proxied(running: Stage, release: Release) -> Workloads:
    """Run a pod whose app asks its proxy for tokens all the time."""
    made = workloads(running.node.cluster, running.azure, release.workload_namespace(RESTRICTED))
    source = Path(client.__file__).read_text()
    asking = container("-c", source, str(TOKEN_RATE), env=MANAGED_IDENTITY_ALONE)
    made.create(pod(POD, asking, annotations=ENVIRONMENT))
    wait_until_true(lambda: _is_ready(made), "the pod with the proxy is ready", START_SECONDS)
    return made


def _is_ready(made: Workloads) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for item in _pods(made.cluster, made.namespace)
        for condition in item["status"]["conditions"]
    )


def main(arguments: Sequence[str]) -> int:
    """Run, print and write; the exit status is 1 where a creation or a token failed, or something grew."""
    parser = argparse.ArgumentParser(prog="make soak", description="Creations on a node for a long time.")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--output", type=Path, default=Path("dist/soak"), metavar="DIRECTORY")
    parser.add_argument("--image", type=Path, metavar="ARCHIVE", help="an image that was built before")
    options = parser.parse_args(arguments)
    if lacking := missing():
        return _fail("\n".join(lacking))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="azwi-soak-") as directory,
            stage(options.image or build.build_image(), Path(directory)) as running,
        ):
            done = soak(running, Path(directory), options.minutes * 60)
    except (NodeError, RuntimeError) as error:
        return _fail(str(error))
    options.output.mkdir(parents=True, exist_ok=True)
    document = done.document()
    (options.output / "soak.json").write_text(json.dumps(document))
    (options.output / "soak.svg").write_text(draw(document))
    print(done.text())  # noqa: T201  a program's output
    return 1 if done.problems() else 0


def _fail(text: str) -> int:
    print("\n".join(f"make soak: {line}" for line in text.splitlines()), file=sys.stderr)  # noqa: T201  a program's output
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
