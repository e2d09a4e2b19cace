"""Finds members whose numbers are no longer finite, stops them, and restores their last good state."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lfo.algorithms.protocol import Agent
from lfo.errors import LfoError


class Divergence:
    """Watches an agent. The other members go on, since members never mix.

    A member that diverged is added to ``agent.stopped`` with the reason, and keeps the state in which all its numbers
    were last finite. Members that had stopped before keep theirs, too.
    """

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self._good = [tensor.clone() for tensor in self._state()]

    def check(self, names: Sequence[str], history: Tensor, first_step: int) -> list[int]:
        """Look at the metrics [steps, K, M] since ``first_step`` and at the weights.

        Returns:
            The members newly stopped.
        """
        stopped = self.agent.stopped
        finite = torch.isfinite(history)
        weights = torch.stack([torch.isfinite(t).flatten(1).all(dim=1) for t in self._state()]).all(dim=0)
        healthy = (finite.all(dim=0).all(dim=0) & weights).tolist()
        new = [m for m, fine in enumerate(healthy) if not fine and m not in stopped]
        for member in new:
            stopped[member] = self._reason(names, finite[:, :, member], first_step)
        self.restore()
        self._good = [tensor.clone() for tensor in self._state()]
        return new

    def require_members(self) -> None:
        """Check that a member is left.

        Raises:
            LfoError: every member has diverged.
        """
        stopped = self.agent.stopped
        if len(stopped) == len(self.agent.seeds):
            told = "; ".join(f"seed {self.agent.seeds[m]}: {why}" for m, why in sorted(stopped.items()))
            raise LfoError(
                f"every member has diverged: {told}; check the size of the rewards, or lower learning_rate"
            )

    def restore(self) -> None:
        """Restore the last good state of every stopped member."""
        for number, tensor in enumerate(self._state()):
            for member in self.agent.stopped:
                # Before its first step an optimiser has no moments; they count as zero.
                tensor[member] = self._good[number][member] if number < len(self._good) else 0.0

    def _reason(self, names: Sequence[str], finite: Tensor, first_step: int) -> str:
        bad = (~finite).nonzero()
        if len(bad) == 0:
            return f"weights not finite after step {first_step + len(finite)}"
        step, metric = bad[0].tolist()
        return f"{names[metric]} not finite at step {first_step + step + 1}"

    @torch.no_grad()
    def _state(self) -> list[Tensor]:
        """Every tensor that training changes, moments last; the first axis of each is the members'."""
        moments = [
            value
            for optimiser in self.agent.optimisers()
            for slots in optimiser.state.values()
            for name, value in slots.items()
            if name != "step"
        ]
        return [parameter.detach() for parameter in self.agent.parameters()] + moments
