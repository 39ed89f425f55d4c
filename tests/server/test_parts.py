"""What runs beside the admissions."""

import asyncio

import pytest

from webhook.server.parts import supervise


def test_a_background_task_that_fails_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    """A fault in the background is told with its trace, and ends neither the task nor the server."""
    runs: list[int] = []

    async def fail() -> None:
        runs.append(len(runs))
        raise RuntimeError("a fault of ours")

    async def run() -> None:
        task = asyncio.create_task(supervise(fail, seconds=0.001))
        while len(runs) < 3:  # noqa: ASYNC110  a test's patience
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    assert "please report it" in caplog.messages[0]
    assert "a fault of ours" in caplog.text
