"""Is the API server's clock right, which dates tokens?"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from azwi_cli.clock_skew import ClockReading
from azwi_cli.commands.doctor.checks.check import Check, Group
from azwi_cli.commands.doctor.findings import Area, Code, Finding
from azwi_cli.commands.doctor.snapshot import Snapshot

# Entra refuses tokens that are not valid yet by its own clock, with five minutes' grace.
MAX_SKEW: Final = timedelta(minutes=5)


def clocks(snapshot: Snapshot) -> Iterator[Finding]:
    """The API server's clock, which dates tokens, agrees with Azure's, or with this machine's where Azure's is unknown.

    Entra compares with its own; that Azure's other APIs show the same is taken for granted.
    """
    ours, azures = snapshot.server_clock, snapshot.azure_clock
    ahead = ours.ahead(azures) if ours else timedelta()
    if ours is None or abs(ahead) <= MAX_SKEW:
        return
    other = "Azure's" if azures else "this machine's"
    yield Finding(
        Code.CLOCK_SKEW,
        "API server",
        f"its clock is at least {abs(ahead)} {'ahead of' if ahead > timedelta() else 'behind'} {other}: "
        "Entra refuses tokens that are dated wrongly (AADSTS700024)",
        tuple(_clock("API server", ours)) + tuple(_clock("Azure", azures)),
        "sudo timedatectl set-ntp true",
    )


def _clock(whose: str, reading: ClockReading | None) -> Iterator[str]:
    if reading:
        took = f"{reading.round_trip.total_seconds():.3f} s"
        here = f"when it was {_second(reading.sent_at)} here, and the answer took {took}"
        yield f"{whose} {_second(reading.server_time)} UTC, asked {here}"


def _second(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


CHECKS: Final = (
    Check(Group.AZURE, "the API server's clock is right", clocks, frozenset({Area.CLOCK}), frozenset({Area.AZURE})),
)
