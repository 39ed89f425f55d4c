"""The components of a server, and its background tasks."""

import asyncio
import subprocess
import sys

import pytest

from testbed.program import ROOT, TENANT
from webhook.runtime.components import run_forever

WITHOUT_CLUSTER = f"""
import asyncio, sys
from webhook.runtime import main, server_process

settings = main.load(["--service-accounts={ROOT / "examples"}"], {{"AZURE_TENANT_ID": "{TENANT}"}})
asyncio.run(server_process.create_components(settings))
print(sorted({{"aiohttp", "cryptography", "jsonpatch", "kubernetes.aio.client"}} & sys.modules.keys()))
"""


def test_failed_background_task_restarts(caplog: pytest.LogCaptureFixture) -> None:
    """A failure in the background is logged with its trace, and ends neither the task nor the server."""
    runs: list[int] = []

    async def fail() -> None:
        runs.append(len(runs))
        raise RuntimeError("a bug")

    async def run() -> None:
        task = asyncio.create_task(run_forever(fail, seconds=0.001))
        while len(runs) < 3:  # noqa: ASYNC110  there is no event to wait for
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    assert "please report it" in caplog.messages[0]
    assert "a bug" in caplog.text


def test_memory_without_a_cluster() -> None:
    """A server whose accounts are files has nothing of the cluster's client in memory, which is 22 MiB."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_CLUSTER], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
