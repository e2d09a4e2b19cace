"""Waiting for what another process does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable


def wait(process: subprocess.Popen[str], what: Callable[[], bool]) -> None:
    """Wait until ``what()`` is true, and check that the process is still at work then."""
    until = time.monotonic() + 120
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "took too long"
        time.sleep(0.01)
