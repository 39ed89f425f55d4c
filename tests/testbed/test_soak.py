"""How a soak is judged."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import pytest

from tests.e2e.soak.creations import Created, Failure
from tests.e2e.soak.disturbances import Event
from tests.e2e.soak.plot import draw
from tests.e2e.soak.result import DISTURBED, STEADY, Soak
from tests.e2e.soak.sampling import Process, Sample, Samples

SERVER: Final = Process(STEADY, "server", "web", 7)
BROKEN: Final = 'failed to call webhook: Post "https://web.shop.svc:443/mutate": EOF'
HOUR: Final = 3600


def soak(hourly_kibibytes: float = 0.0, failures: tuple[Failure, ...] = (), release: str = DISTURBED) -> Soak:
    """Write an hour with a server that grows by so much, and with failures in one of the releases."""
    taken = [
        Sample(second, 80_000 + round(hourly_kibibytes * second / HOUR), 60_000, 58_000, 20 + second // 5 % 3)
        for second in range(0, HOUR, 5)
    ]
    created = {name: Created([0.01] * 100) for name in (STEADY, DISTURBED)}
    created[release].failures.extend(failures)
    return Soak(
        begun=datetime(2026, 3, 1, tzinfo=UTC),
        seconds=HOUR,
        machine={"CPU": "any"},
        created=created,
        events=[Event("roll_out", 100, 130), Event("kill_server", 600, 601)],
        samples=Samples({SERVER: taken}),
        certificates={"steady CAs": 9},
        tokens={"answered": 1000, "failed": 0},
    )


def test_flat() -> None:
    """A server whose memory and descriptors only vary is flat, and nothing is wrong."""
    assert soak().problems() == []
    assert [slope.series for slope in soak().slopes()] == ["rss", "pss", "descriptors"]


def test_growth() -> None:
    """A server that grows by 2 MiB an hour is not."""
    (problem,) = soak(2048).problems()
    assert problem.startswith("not flat: steady server web: rss 78.")
    assert "+2.0" in problem


@pytest.mark.parametrize(
    ("failure", "release", "lost"),
    [
        (Failure(600.5, BROKEN), DISTURBED, True),
        (Failure(599.0, BROKEN), DISTURBED, False),  # before the kill
        (Failure(620.0, BROKEN), DISTURBED, False),  # long after it
        (Failure(110.0, BROKEN), DISTURBED, False),  # during the rollout
        (Failure(600.5, BROKEN), STEADY, False),  # of servers that nobody killed
        (Failure(600.5, "load-1 has no client id, or several"), DISTURBED, False),
    ],
)
def test_failures(failure: Failure, release: str, lost: bool) -> None:  # noqa: FBT001  a parameter of the test
    """Only a call that broke off at a killed server, right after the kill, is counted apart."""
    found = soak(failures=(failure,), release=release)
    assert (len(found.lost_with_a_killed_process()), len(found.failed())) == (int(lost), int(not lost))
    assert bool(found.problems()) is not lost


def test_short_run() -> None:
    """A run of a few minutes has slopes, and they are not judged."""
    grown = replace(soak(200_000), seconds=180.0)
    assert grown.problems() == []


def test_plot() -> None:
    """The plot is an SVG with a line for each process and one for each event, in each of two panels."""
    drawn = draw(soak().document())
    panels = 2
    assert drawn.count('<path class="line a"') == panels + 1  # and the legend's
    assert (drawn.count('<path class="d"'), drawn.count('<path class="e"')) == (panels, panels)
