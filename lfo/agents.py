"""From a run folder back to an agent that acts."""

from __future__ import annotations

from typing import Any

import torch

from lfo.algorithms import ALGORITHMS, Agent
from lfo.datasets import LfoError
from lfo.interaction import make_inverse
from lfo.inverse import InverseConfig
from lfo.run import RunFolder
from lfo.trainer import pick_device
from lfo.units import Units

__all__ = ["load_agent"]


def load_agent(out: RunFolder, device: str = "auto") -> Agent:
    """The agent of a run, with its inverse dynamics if it has learned them.

    Raises:
        LfoError: no run, a damaged checkpoint, or one that does not fit ``run.json``.
    """
    info, where = out.info(), pick_device(device)
    if info["algo"] not in ALGORITHMS:
        raise LfoError(
            f"{out.path / 'run.json'}: algo: expected {', '.join(ALGORITHMS)}, found {info['algo']}"
        )
    algorithm: Any
    algorithm, config_type = ALGORITHMS[info["algo"]]
    state = out.load_checkpoint(where)
    seeds = [int(member["seed"]) for member in info["members"]]
    units = Units(len(seeds), int(info["state_dim"]))
    try:
        agent: Agent = algorithm(
            config_type(**info["config"]), units, torch.zeros(len(seeds), 2), seeds, where
        )
        if "inverse" in state:
            middle = state["agent"]["inverse.action_mid"].cpu().numpy()
            reach = state["agent"]["inverse.action_reach"].cpu().numpy()
            config = InverseConfig(**state["inverse"]["config"])
            agent.attach(make_inverse(agent, config, middle - reach, middle + reach))
        agent.load_state_dict(state["agent"])
    except (TypeError, KeyError, RuntimeError) as error:
        raise LfoError(
            f"{out.checkpoint_path}: expected the checkpoint of this run.json, found another "
            f"({str(error).splitlines()[0]}); use the d3g-lfo that run.json names, or train the run again"
        ) from error
    return agent
