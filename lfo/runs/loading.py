"""From a run folder back to an agent that acts, and to the data that it learned from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lfo.algorithms import registry
from lfo.algorithms.inverse import Inverse, InverseConfig
from lfo.algorithms.protocol import Agent
from lfo.datasets import READERS, LfoError, Transitions, load
from lfo.envs.spaces import ActionSpace
from lfo.nn.scaling import Units
from lfo.runs.folder import RunFolder
from lfo.runs.hardware import pick_device, require_memory
from lfo.settings import configure, upgrade_config


def load_agent(out: RunFolder, device: str = "auto") -> Agent:
    """The agent of a run, with its inverse dynamics if it has learned them.

    Raises:
        LfoError: no run, an algorithm that is not installed, a damaged checkpoint, or one that does not fit
            ``run.json``.
    """
    info, where = out.info(), pick_device(device)
    record = out.path / "run.json"
    try:
        spec = registry.spec(info["algo"])
    except LfoError as error:
        raise LfoError(f"{record}: {error}") from error
    config = configure(spec.config(), upgrade_config(info["config"]), where=str(record))
    state = out.load_checkpoint(where)
    seeds = [int(member["seed"]) for member in info["members"]]
    require_memory(config, len(seeds), int(info["state_dim"]), where=str(record))
    agent: Agent = spec.cls(config, Units(len(seeds), int(info["state_dim"])).to(where), seeds)
    agent.record = info
    with _fitting(out):
        stage = state.get("inverse")
        if stage is not None:
            attach_inverse(agent, InverseConfig(**stage["config"]), ActionSpace.from_record(stage["space"]))
    restore(agent, out, state)
    if stage is not None and not stage["rounds_done"]:
        agent.inverse = None  # the stage was started again: nothing is learned yet
    return agent


def restore(agent: Agent, out: RunFolder, state: Mapping[str, Any]) -> None:
    """Put an agent into the state that the checkpoint of ``out`` holds.

    Raises:
        LfoError: the state is that of another agent.
    """
    with _fitting(out):
        agent.load_state_dict(state["agent"])
        agent.stopped = {int(m): str(reason) for m, reason in state["stopped"].items()}


@contextmanager
def _fitting(out: RunFolder) -> Iterator[None]:
    try:
        yield
    except (TypeError, KeyError, ValueError, RuntimeError, AttributeError, IndexError) as error:
        raise LfoError(
            f"{out.checkpoint_path}: expected the checkpoint of this run.json, found another "
            f"({[*str(error).splitlines(), type(error).__name__][0]}); use the d3g-lfo version that run.json names, "
            "or train the run again"
        ) from error


def attach_inverse(agent: Agent, config: InverseConfig, space: ActionSpace) -> None:
    """Give an agent an untrained inverse dynamics.

    Raises:
        LfoError: the settings need more memory than there is.
    """
    require_memory(config, len(agent.seeds), agent.units.state_dim, where="inverse")
    agent.attach(Inverse(config, agent.units, space, agent.seeds, standardised=agent.config.standardise))


def load_data(out: RunFolder) -> list[Transitions]:
    """The data sets of a run, read again from where they were.

    Raises:
        LfoError: one is gone, or no longer what the run was trained on.
    """
    return [_load_again(out, record) for record in out.info()["datasets"]]


def _load_again(out: RunFolder, record: dict[str, Any]) -> Transitions:
    source = record["source"]
    named = source.partition(":")[0] in READERS
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
