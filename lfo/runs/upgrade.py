"""Reads what earlier versions wrote: each function converts one format into the next."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lfo.envs.spaces import ActionSpace


def upgrade_checkpoint(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint of format 1 as one of format 2.

    Format 2 has τ's metrics as [M, 2] instead of [2, M], the action bounds in the head of I, and the action space as a
    record under ``inverse.space``.
    """
    agent = dict(state["agent"])
    if "predictor_metrics" in agent:
        agent["predictor_metrics"] = agent["predictor_metrics"].T.contiguous()
    for part in ("mid", "reach"):
        if f"inverse.action_{part}" in agent:
            agent[f"inverse.head.{part}"] = agent.pop(f"inverse.action_{part}")
    upgraded = {**state, "format": 2, "agent": agent}
    if "inverse.head.mid" in agent:
        mid, reach = (agent[f"inverse.head.{part}"].cpu() for part in ("mid", "reach"))
        bounds = (torch.sub(mid, reach).numpy(), torch.add(mid, reach).numpy())
        space = ActionSpace(*(np.asarray(bound, np.float32) for bound in bounds))
        upgraded["inverse"] = {**state["inverse"], "space": space.to_record()}
    return upgraded
