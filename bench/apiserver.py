"""A real control plane for benchmarks, and a client that sends it many requests at once."""

import asyncio
import json
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import aiohttp

from azure_workload_identity.types import JsonObject
from bench.load import BenchmarkError, Load
from testbed.cluster.control_plane import ControlPlane, Programs, control_plane

T = TypeVar("T")


@contextmanager
def running() -> Iterator[tuple[ControlPlane, Path]]:
    """Run etcd and kube-apiserver; the directory is for what else there is to write.

    Raises:
        BenchmarkError: when a program is missing.
    """
    try:
        programs = Programs.find()
    except FileNotFoundError as missing:
        raise BenchmarkError(str(missing)) from missing
    with tempfile.TemporaryDirectory() as directory, control_plane(programs, Path(directory)) as plane:
        yield plane, Path(directory)


def creator(plane: ControlPlane) -> str:
    """Create a user who may create pods, and return its token."""
    namespace = plane.create_namespace()
    plane.create_service_account(namespace, "creator")
    plane.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "creator"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": "creator"}],
        }
    )
    return plane.token(namespace, "creator")


def creations(plane: ControlPlane, token: str, namespace: str, pod: JsonObject, concurrency: int) -> Load:
    """Requests for wrk that create a pod by dry run, so many at a time, as the user of the token."""
    body = plane.directory / "pod.json"
    body.write_text(json.dumps(pod))
    return Load(
        url=f"{plane.url}/api/v1/namespaces/{namespace}/pods?dryRun=All",
        connections=concurrency,
        options=("--timeout", "30s", "-H", f"Authorization: Bearer {token}"),
        arguments=(str(body),),
    )


def at_once(
    plane: ControlPlane,
    items: Sequence[T],
    send: Callable[[aiohttp.ClientSession, T], Awaitable[None]],
    concurrency: int,
) -> None:
    """Send a request for each item, so many at a time, as the administrator."""

    async def run() -> None:
        context = ssl.create_default_context(cafile=str(plane.ca_file))
        context.load_cert_chain(plane.directory / "admin.crt", plane.directory / "admin.key")
        todo = iter(items)
        async with aiohttp.ClientSession(
            plane.url, connector=aiohttp.TCPConnector(limit=concurrency, ssl=context)
        ) as session:

            async def work() -> None:
                for item in todo:
                    await send(session, item)

            await asyncio.gather(*(work() for _ in range(concurrency)))

    asyncio.run(run())
