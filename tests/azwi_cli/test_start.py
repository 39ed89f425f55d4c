"""The console script, while its modules are loaded."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.processes import MAX_WAIT_SECONDS
from testbed.program import ROOT

# In place of the first library that azwi loads: it says that it is being loaded, and waits.
SLOW = "import os, time\nos.write(1, b'loading')\ntime.sleep({seconds})\n"


@pytest.mark.parametrize("ignored", [False, True])
def test_ctrl_c_while_loading(tmp_path: Path, ignored: bool) -> None:  # noqa: FBT001  a parameter of the test
    """Ctrl-C while libraries are loaded ends the process by the signal and prints nothing, unless it is ignored."""
    # Where it is ignored the wait ends by itself, and the stand-in for click then fails.
    (tmp_path / "click.py").write_text(SLOW.format(seconds=0.2 if ignored else MAX_WAIT_SECONDS))
    before = signal.getsignal(signal.SIGINT)
    if ignored:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", "from azwi_cli.start import run; run()"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        assert process.stdout is not None
        assert process.stdout.read(7) == b"loading"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=MAX_WAIT_SECONDS)
    if ignored:
        assert (process.returncode, b"KeyboardInterrupt" in err) == (1, False)
    else:
        assert (process.returncode, err) == (-signal.SIGINT, b"")
