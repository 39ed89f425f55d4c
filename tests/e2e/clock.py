"""The wall clock of a container's processes, which a test steps; no other clock is, and no other process has it."""

import struct
import subprocess
from pathlib import Path
from typing import Any, Final

SOURCE: Final = Path(__file__).with_suffix(".c")
MOUNTED: Final = "/clock"


class Clock:
    """A shared object that the processes load, and the file that says by how many seconds their clock is ahead.

    A machine has one wall clock, which time namespaces do not divide: so what processes read of it is changed.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / "ahead"
        self._file.write_bytes(struct.pack("=q", 0))
        command = ("cc", "-O2", "-shared", "-fPIC", "-o", str(directory / "clock.so"), str(SOURCE))
        subprocess.run(command, check=True, capture_output=True)
        directory.chmod(0o755)  # for the user of the container
        self._directory = directory

    def values(self) -> dict[str, Any]:
        """Return the values with which the chart's servers have this clock."""
        return {
            "extraEnv": [
                {"name": "LD_PRELOAD", "value": f"{MOUNTED}/clock.so"},
                {"name": "WALL_CLOCK", "value": f"{MOUNTED}/ahead"},
            ],
            "extraVolumes": [{"name": "clock", "hostPath": {"path": str(self._directory)}}],
            "extraVolumeMounts": [{"name": "clock", "mountPath": MOUNTED, "readOnly": True}],
        }

    def step(self, ahead: int) -> None:
        """Step it, to so many seconds ahead of the machine's."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("=q", ahead))
