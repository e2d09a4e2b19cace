"""From a run folder back to an agent that acts, and to the data that it learned from."""

from __future__ import annotations

from typing import Any

import torch

from lfo.algorithms import registry
from lfo.algorithms.inverse import InverseConfig, make_inverse
from lfo.algorithms.registry import Agent
from lfo.datasets import LfoError, Transitions, load
from lfo.nn.scaling import Units
from lfo.runs.folder import RunFolder
from lfo.runs.hardware import pick_device

__all__ = ["load_agent", "load_data"]


def load_agent(out: RunFolder, device: str = "auto") -> Agent:
    """The agent of a run, with its inverse dynamics if it has learned them.

    Raises:
        LfoError: no run, a damaged checkpoint, or one that does not fit ``run.json``.
    """
    info, where = out.info(), pick_device(device)
    if info["algo"] not in registry.names():
        raise LfoError(
            f"{out.path / 'run.json'}: algo: expected {', '.join(registry.names())}, found {info['algo']}"
        )
    algorithm: Any
    spec = registry.spec(info["algo"])
    algorithm, config_type = spec.cls, spec.config
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
        if "inverse" in state and not state["inverse"]["rounds_done"]:
            agent.inverse = None  # a stage that was begun anew: nothing is learned yet
    except (TypeError, KeyError, RuntimeError) as error:
        raise LfoError(
            f"{out.checkpoint_path}: expected the checkpoint of this run.json, found another "
            f"({str(error).splitlines()[0]}); use the d3g-lfo that run.json names, or train the run again"
        ) from error
    return agent


def load_data(out: RunFolder) -> list[Transitions]:
    """The data sets of a run, read again from where they were.

    Raises:
        LfoError: one is gone, or no longer what the run was trained on.
    """
    return [_load_again(out, record) for record in out.info()["datasets"]]


def _load_again(out: RunFolder, record: dict[str, Any]) -> Transitions:
    source = record["source"]
    named = source.startswith(("minari:", "d4rl:"))
    if record["sha256"] is None or not (named or record["path"]):
        raise LfoError(
            f"{out.path / 'run.json'}: datasets: expected a file to read again, found data from {source}; "
            "save it to a file, and train on that"
        )
    data = load(source if named else record["path"])
    if data.metadata.sha256 != record["sha256"]:
        raise LfoError(
            f"{record['path']}: expected the data set that {out.path} was trained on (SHA-256 "
            f"{record['sha256'][:12]}…), found another ({str(data.metadata.sha256)[:12]}…); put the first back, "
            "or train the run again"
        )
    return data
