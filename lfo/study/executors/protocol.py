"""What the scheduler expects of an executor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Resources:
    """What a study may use."""

    jobs: int | None = None
    """Tasks at a time, at most; None means as many as there is room for."""
    device: str = "auto"
    """``auto``, ``cpu`` or ``cuda``."""
    address: str | None = None
    """Ray: ``auto`` or HOST:PORT of a cluster; None starts a Ray on this machine for the time of the study."""
    cores: int = 1
    """Ray: CPU cores of each task."""
    gpus: float | None = None
    """Ray: the share of a GPU that each task has; None means 1 with ``device="cuda"``, else 0."""


class Executor(Protocol):
    """Runs tasks. A task is named by its path in the study's folder and done by :mod:`lfo.study.worker`."""

    def room(self) -> int:
        """How many more tasks can start now."""

    def start(self, task: str) -> None:
        """Begin a task."""

    def ended(self, seconds: float) -> list[tuple[str, str | None]]:
        """Wait for a task to end, and give those that did, each with the reason if it failed.

        Args:
            seconds: to wait, at most.
        """

    def stop(self) -> None:
        """Tell all tasks to write their checkpoints and end, and wait. A second Ctrl-C kills them."""


Note = Callable[[str], object]
"""Told what the user should know of a task that goes on, in a line."""
