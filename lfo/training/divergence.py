"""Members whose numbers are no longer finite: found, stopped, put back to their last good state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lfo.algorithms.registry import Agent

__all__ = ["Divergence"]


class Divergence:
    """Watches for members whose losses or weights are no longer finite, and puts back their last good state.

    Members never mix, so the others go on unharmed. ``stopped`` maps a member's index to the reason.
    """

    def __init__(self, agent: Agent, stopped: Mapping[int, str] | None = None) -> None:
        self.agent, self.stopped = agent, dict(stopped or {})
        self._good = [tensor.clone() for tensor in self._state()]

    def check(self, names: Sequence[str], history: Tensor, first_step: int) -> list[int]:
        """Look at the metrics [steps, K, M] since ``first_step`` and at the weights; newly stopped members."""
        finite = torch.isfinite(history)
        weights = torch.stack([torch.isfinite(t).flatten(1).all(dim=1) for t in self._state()]).all(dim=0)
        healthy = (finite.all(dim=0).all(dim=0) & weights).tolist()
        new = [m for m, fine in enumerate(healthy) if not fine and m not in self.stopped]
        for member in new:
            self.stopped[member] = self._reason(names, finite[:, :, member], first_step)
        self._keep()
        return new

    def restore(self) -> None:
        """Put the last good state of every stopped member back."""
        # An optimiser has no moments before its first step; they come last, so the parameters still pair up.
        for tensor, good in zip(self._state(), self._good, strict=False):
            for member in self.stopped:
                tensor[member] = good[member]

    def _keep(self) -> None:
        self.restore()
        self._good = [tensor.clone() for tensor in self._state()]

    def _reason(self, names: Sequence[str], finite: Tensor, first_step: int) -> str:
        bad = (~finite).nonzero()
        if len(bad) == 0:
            return f"weights not finite after step {first_step + len(finite)}"
        step, metric = bad[0].tolist()
        return f"{names[metric]} not finite at step {first_step + step + 1}"

    @torch.no_grad()
    def _state(self) -> list[Tensor]:
        """Every tensor that training changes; the first axis of each is the members'."""
        moments = [
            value
            for optimiser in self.agent.optimisers()
            for slots in optimiser.state.values()
            for name, value in slots.items()
            if name != "step"
        ]
        return [parameter.detach() for parameter in self.agent.parameters()] + moments
