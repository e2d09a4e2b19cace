"""``run.json``: what a run learned from, with which settings, on which machine."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from lfo.algorithms.protocol import Agent
from lfo.datasets import LfoError, Transitions
from lfo.runs.folder import RunFolder
from lfo.runs.hardware import machine
from lfo.settings import upgrade_config


@dataclass(frozen=True)
class Member:
    """One member of a run: its seed and which of the run's data sets it learns from."""

    seed: int
    dataset: int = 0


def describe(
    agent: Agent, datasets: Sequence[Transitions], members: Sequence[Member], steps: int, command: str | None
) -> dict[str, Any]:
    """The content of ``run.json``: what is needed to repeat the run, and the machine that it ran on."""
    packages = ["d3g-lfo", "torch", "numpy", "gymnasium", "mujoco", "h5py"]
    named = next((data.metadata for data in datasets if data.metadata.env_id), None)
    return {
        "algo": agent.name,
        "env": named and named.env_id,
        **({"env_kwargs": named.env_kwargs} if named and named.env_kwargs else {}),
        "state_dim": datasets[0].state_dim,
        "steps": steps,
        "config": asdict(agent.config),
        "members": [asdict(member) for member in members],
        "datasets": [_describe_data(data) for data in datasets],
        "command": command,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "machine": machine(agent.units.device),
    }


def _describe_data(data: Transitions) -> dict[str, Any]:
    returns = data.episode_returns()
    path = data.metadata.path
    return {
        "source": str(data.metadata.source),
        "path": None if path is None else str(path.resolve()),
        "sha256": data.metadata.sha256,
        "env": data.metadata.env_id,
        "random_frac": data.metadata.random_frac,
        "policy": data.metadata.policy,
        "dimensions": [data.metadata.dimension(i) for i in range(len(data.metadata.state_names))],
        "transitions": len(data),
        "episodes": data.num_episodes,
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
    }


def check_same_run(out: RunFolder, info: Mapping[str, Any]) -> None:
    """Refuse to resume a run as another one.

    Raises:
        LfoError: algorithm, settings, members or data differ from those in ``run.json``.
    """
    found = out.info()
    found["config"] = upgrade_config(found["config"])
    for key in ("algo", "config", "members"):
        if found[key] != info[key]:
            raise LfoError(
                f"{out.path}: --resume: {key}: expected {_difference(found[key], info[key])} as the run was "
                "started; start it as before, or train into another folder"
            )
    for number, (old, new) in enumerate(zip(found["datasets"], info["datasets"], strict=False)):
        if old["sha256"] != new["sha256"] or old["transitions"] != new["transitions"]:
            raise LfoError(
                f"{out.path}: --resume: data set {number}: expected the file the run was started on "
                f"({old['source']}, SHA-256 {str(old['sha256'])[:12]}…), found {new['source']} "
                f"({str(new['sha256'])[:12]}…); pass the first, or train into another folder"
            )


def _difference(old: Any, new: Any) -> str:
    """What two settings differ in, in words."""
    if isinstance(old, dict) and isinstance(new, dict):
        changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        return ", ".join(f"{key} {old.get(key)} (found {new.get(key)})" for key in changed)
    return f"{old} (found {new})"
