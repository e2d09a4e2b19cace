"""The policy of a run, to record data with. It acts in numpy, and can be sent to other processes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lfo.algorithms.protocol import Agent
from lfo.envs.make import Env, require_state_dim
from lfo.envs.spaces import ActionSpace
from lfo.errors import LfoError
from lfo.runs.folder import RunFolder
from lfo.runs.loading import load_agent

__all__ = ["RunPolicy", "load_run_policy"]


@dataclass(frozen=True)
class RunPolicy:
    """One member of a run, without exploration noise. Each process loads the run when it first acts."""

    path: Path
    """The run folder."""
    member: int = 0
    """Index of the member."""

    @property
    def name(self) -> str:
        """What data sets call it: ``RUN, seed 3``."""
        return f"{self.path.name}, seed {self.agent.seeds[self.member]}"

    @cached_property
    def agent(self) -> Agent:
        """All members of the run, on the CPU."""
        return load_agent(RunFolder(self.path), "cpu")

    @cached_property
    def _alone(self) -> Agent:
        alone: Agent = self.agent.member(self.member)
        return alone

    def act(self, observations: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Actions [B, A] float32 for observations [B, S]; ``rng`` is not used."""
        states = torch.from_numpy(np.ascontiguousarray(observations, dtype=np.float32))
        actions: np.ndarray = self._alone.act(states[None])[0].cpu().numpy()
        return actions

    def __getstate__(self) -> dict[str, Any]:
        """The path and the member: the agent is loaded again."""
        return {"path": self.path, "member": self.member}


def load_run_policy(path: str | Path, env: Env, *, member: int = 0) -> RunPolicy:
    """The policy of one member of a run, checked against the environment that it is to act in.

    Args:
        path: the run folder.
        env: the environment.
        member: index of the member, from 0.

    Raises:
        LfoError: there is no such run or member, the run has not learned to act yet, or the environment's
            observations or actions are not those of the run.
    """
    policy = RunPolicy(Path(path).resolve(), member)
    agent, use = policy.agent, "the environment that the run has interacted with"
    if not 0 <= member < len(agent.seeds):
        raise LfoError(f"{path}: member: expected 0 to {len(agent.seeds) - 1}, found {member}; pass another")
    if agent.inverse is None:
        raise LfoError(f"{path}: the run has not learned to act yet; run `d3g-lfo interact {path}` first")
    require_state_dim(env, agent.units.state_dim, of=f"policy {path}", use=use)
    space, found = ActionSpace.of(env), agent.inverse.space
    if not (space.size == found.size and np.allclose((space.low, space.high), (found.low, found.high))):
        raise LfoError(
            f"policy {path}: expected the environment's action bounds {space.low.tolist()} to {space.high.tolist()}, "
            f"found {found.low.tolist()} to {found.high.tolist()}; use {use}"
        )
    return policy
