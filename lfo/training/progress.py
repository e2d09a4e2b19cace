"""How training and interaction report their progress."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Progress"]


class Progress:
    """Receives the reports and ignores them. Override the methods that you need."""

    def start(self, stage: str, total: int, done: int = 0, *, round: int = 0) -> None:
        """A stage begins.

        Args:
            stage: ``train``, ``act``, ``fit I``, ``learn`` or ``evaluate``.
            total: its steps (``evaluate``: episodes).
            done: how many of them an earlier call has done.
            round: the number of the round that the stage belongs to, from 1; 0 outside of rounds.
        """

    def step(self, count: int = 1) -> None:
        """``count`` more steps of the stage are done."""

    def show(self, values: Mapping[str, float]) -> None:
        """The latest metrics, each the mean over members."""

    def note(self, text: str) -> None:
        """Something the user should read."""
