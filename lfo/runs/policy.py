"""A policy to take away: one member of a run that acts from numpy to numpy, in one file that is safe to load."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from lfo.algorithms import registry
from lfo.algorithms.inverse import InverseConfig
from lfo.algorithms.protocol import Agent
from lfo.atomic import atomic_file, check_output
from lfo.datasets.policies import TRAINED
from lfo.envs.make import Env, require_state_dim
from lfo.envs.spaces import ActionSpace
from lfo.errors import LfoError, data_error
from lfo.nn.scaling import Units
from lfo.runs.export import FORMATS, check_export
from lfo.runs.folder import RunFolder
from lfo.runs.loading import attach_inverse, load_agent
from lfo.settings import configure

__all__ = ["OBSERVATIONS", "TOLERANCE", "Policy", "StableBaselines", "load_policy", "load_run_policy"]

VERSION = "1"
OBSERVATIONS = 1_000
"""Observations on which an exported policy is compared with the original."""
TOLERANCE = 1e-5
"""The largest difference of an action that is accepted, as a share of half the width of the action space."""


class Policy:
    """One member of a trained agent, without exploration noise. :func:`load_policy` makes one.

    Args:
        agent: a stack of one member.
        record: where it comes from; see :attr:`record`.
        name: what data sets call it, such as ``RUN, seed 3``.
    """

    record: dict[str, Any]
    """Where it comes from: ``algo``, ``config``, ``inverse`` (its settings), ``space`` (of actions), ``state_dim``,
    ``seed``, ``env``, ``observation_keys`` (of a ``Dict``, in order), ``dataset`` (source and SHA-256), ``steps``,
    ``stopped`` (why it diverged, if it did) and ``versions``."""

    def __init__(self, agent: Agent, record: Mapping[str, Any], name: str) -> None:
        self._agent, self.record, self.name = agent, dict(record), name

    @property
    def agent(self) -> Agent:
        """The stack of one member, in torch."""
        return self._agent

    @property
    def state_dim(self) -> int:
        """Numbers in an observation, S."""
        return int(self._agent.units.state_dim)

    @property
    def space(self) -> ActionSpace:
        """The actions that it takes.

        Raises:
            LfoError: it has not learned to act yet.
        """
        if self._agent.inverse is None:
            raise LfoError(
                f"policy {self.name}: it has not learned to act yet; run `d3g-lfo interact` on its run first"
            )
        return self._agent.inverse.space

    def predict(self, observations: Any, *, sb3: bool = False) -> Any:
        """The actions to take.

        Args:
            observations: one observation [S] or many [B, S]. Where the environment's were a ``Dict``, a dictionary with
                its keys works too.
            sb3: return ``(actions, None)``, as Stable-Baselines3 does.

        Returns:
            Actions [A] or [B, A], float32, inside the bounds of the action space. Discrete actions are int64 in the
            environment's own form: one number or [B] for a ``Discrete``, [A] or [B, A] for a ``MultiDiscrete``.

        Raises:
            LfoError: the policy has not learned to act yet, or observations have another length.
        """
        states, one = self._states(observations, "observations")
        acted = self._agent.act(states)[0].cpu().numpy()
        actions = self.space.to_env(acted)
        actions = actions[0] if one else actions
        return (actions, None) if sb3 else actions

    def value(self, states: Any, next_states: Any) -> np.ndarray:
        """Q(s, s'), the value of going from s to s'.

        Args:
            states: s, one [S] or many [B, S].
            next_states: s', as many.

        Returns:
            One number, or [B] float32.

        Raises:
            LfoError: the algorithm learns no values, or the states have another length.
        """
        values = self._offered("values", "value Q(s, s')")
        (first, one), (second, _) = self._states(states, "states"), self._states(next_states, "next_states")
        if first.shape != second.shape:
            raise LfoError(
                f"policy {self.name}: next_states: expected as many as states, {first.shape[1]}, "
                f"found {second.shape[1]}; pass pairs"
            )
        found: np.ndarray = values(first, second)[0].cpu().numpy()
        return found[0] if one else found

    def aim(self, states: Any) -> np.ndarray:
        """τ(s), the next state that the policy aims for.

        Args:
            states: one [S] or many [B, S].

        Returns:
            States [S] or [B, S] float32, in the environment's units.

        Raises:
            LfoError: the algorithm has no aim, or the states have another length.
        """
        aims = self._offered("aim", "aim τ(s)")
        given, one = self._states(states, "states")
        found: np.ndarray = aims(given)[0].cpu().numpy()
        return found[0] if one else found

    def act(self, observations: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Actions [B, A] for observations [B, S], as :func:`lfo.datasets.collect.collect` asks; ``rng`` is not used."""
        states, _ = self._states(observations, "observations")
        actions: np.ndarray = self._agent.act(states)[0].cpu().numpy()
        return actions

    def stable_baselines(self) -> StableBaselines:
        """The same policy with Stable-Baselines3's ``predict``, for its ``evaluate_policy`` and the like."""
        return StableBaselines(self)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the policy to one ``.safetensors`` file: weights, units and :attr:`record`. Nothing else is needed.

        Raises:
            LfoError: the name does not end in ``.safetensors``, the file exists, or its folder is missing or not
                writable.
        """
        path = Path(path)
        if path.suffix != ".safetensors":
            raise data_error(
                path, "policy", expected="a name ending in .safetensors", found=path.name, remedy="change it"
            )
        check_output(path, overwrite=overwrite)
        with atomic_file(path) as file:
            file.write(self._to_bytes())

    def export(self, path: str | Path, *, overwrite: bool = False) -> float:
        """Write the policy for other programs, and compare the file with the policy before it is kept.

        Args:
            path: ending in ``.onnx`` (needs onnx, onnxscript and onnxruntime), ``.pt2`` or ``.safetensors``.
            overwrite: replace an existing file.

        Returns:
            The largest difference of an action from the policy's on 1,000 observations, drawn around those of the
            training data; as a share of half the width of the action space. Discrete actions have to be equal.

        Raises:
            LfoError: the name has another ending, the file exists or cannot be written, or a package is missing; the
                policy has not learned to act yet; or the difference is above 1e-5, and nothing is written.
        """
        path, space = Path(path), self.space
        check_export(path, overwrite=overwrite)
        observations = self._typical_observations()
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
            written = Path(folder) / path.name
            if path.suffix in FORMATS:
                acts = FORMATS[path.suffix](self._agent, self.record, written)
            else:
                self.save(written)
                acts = self.load(written).predict
            half = np.where(space.high > space.low, (space.high - space.low) / 2, 1)
            difference = float(np.max(np.abs(acts(observations) - self.predict(observations)) / half))
            if not difference <= TOLERANCE:
                raise LfoError(
                    f"{path}: expected the actions of the policy up to {TOLERANCE:g} of half their range, found a "
                    f"difference of {difference:.2g}; export to .safetensors, or train with precision fp32"
                )
            os.replace(written, path)
        return difference

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu") -> Policy:
        """Read what :meth:`save` wrote. A file from anyone is safe: it holds numbers and text, and runs no code.

        Args:
            path: of the file.
            device: where to compute, ``cpu`` or ``cuda``.

        Raises:
            LfoError: it is missing, damaged, no trained policy, or its algorithm is not installed.
        """
        path = Path(path)
        if not path.is_file():
            raise LfoError(f"policy {path}: expected a .safetensors file, found none; check the path")
        return _from_bytes(path.read_bytes(), path.name, str(path), device)

    def __getstate__(self) -> dict[str, Any]:
        """The file's content: small, and the same in every process."""
        return {"content": self._to_bytes(), "name": self.name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`__getstate__` gave."""
        vars(self).update(vars(_from_bytes(state["content"], state["name"], "policy", "cpu")))

    def _typical_observations(self) -> np.ndarray:
        """Observations [1000, S] with the mean and the spread of the training data, as far as they are known."""
        units = self._agent.units
        mean, std = (part[0].cpu().numpy() for part in (units.mean, units.std))
        drawn = np.random.default_rng(0).normal(size=(OBSERVATIONS, self.state_dim))
        return np.asarray(mean + std * drawn, np.float32)

    def _to_bytes(self) -> bytes:
        tensors = {name: tensor.detach().cpu().clone() for name, tensor in _tensors(self._agent).items()}
        metadata = {"format": TRAINED, "version": VERSION, "policy": json.dumps(self.record)}
        content: bytes = save(tensors, metadata)
        return content

    def _states(self, given: Any, field: str) -> tuple[Tensor, bool]:
        """States [1, B, S] on the device, and whether one alone was given."""
        if isinstance(given, Mapping):
            given = self._flatten(given, field)
        array = np.array(given, dtype=np.float32)  # a copy: torch takes no read-only arrays
        if array.ndim not in (1, 2) or array.shape[-1] != self.state_dim:
            size = self.state_dim
            raise LfoError(
                f"policy {self.name}: {field}: expected shape [{size}] or [B, {size}], found {list(array.shape)}; "
                "pass vectors of the environment that it was trained for"
            )
        states = torch.from_numpy(np.atleast_2d(array))[None]
        return states.to(self._agent.units.device), array.ndim == 1

    def _flatten(self, given: Mapping[str, Any], field: str) -> np.ndarray:
        """The parts of a ``Dict`` observation side by side, in the order of training."""
        keys = self.record["observation_keys"]
        try:
            return np.concatenate([_part(given, key) for key in keys], axis=-1)
        except (KeyError, ValueError, TypeError) as error:
            expected = f"the keys {', '.join(keys)}, each with a vector" if keys else "vectors"
            raise LfoError(
                f"policy {self.name}: {field}: expected {expected}, found a dictionary of {', '.join(map(str, given))}; "
                "pass what the environment returns"
            ) from error

    def _offered(self, method: str, what: str) -> Any:
        found = getattr(self._agent, method, None)
        if found is None:
            raise LfoError(f"policy {self.name}: {self._agent.name} learns no {what}; use predict")
        return found


class StableBaselines:
    """A policy that is called as a Stable-Baselines3 model is.

    Args:
        policy: whose actions it takes.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[np.ndarray, None]:
        """``(actions, None)``; the other arguments are not used, as the policy is deterministic and has no memory."""
        pair: tuple[np.ndarray, None] = self.policy.predict(observation, sb3=True)
        return pair


def load_policy(path: str | Path, member: int = 0, *, device: str = "cpu") -> Policy:
    """A policy that acts from numpy to numpy.

    Args:
        path: a run folder, or a ``.safetensors`` file that :meth:`Policy.save` or ``d3g-lfo export`` wrote.
        member: index of the member of a run, from 0.
        device: where to compute, ``cpu`` or ``cuda``.

    Raises:
        LfoError: there is no such run, member or file, or it is damaged.
    """
    path = Path(path)
    if path.suffix == ".safetensors" and not path.is_dir():
        if member:
            raise LfoError(f"{path}: member: expected 0, as the file holds one policy, found {member}")
        return Policy.load(path, device=device)
    out = RunFolder(path)
    agent, info = load_agent(out, device), out.info()
    if not 0 <= member < len(agent.seeds):
        raise LfoError(f"{path}: member: expected 0 to {len(agent.seeds) - 1}, found {member}; pass another")
    stage, inverse = info.get("interact", {}), agent.inverse
    data = info["datasets"][info["members"][member]["dataset"]]
    record = {
        "algo": agent.name,
        "config": asdict(agent.config),
        "inverse": None if inverse is None else asdict(inverse.config),
        "space": None if inverse is None else inverse.space.to_record(),
        "state_dim": agent.units.state_dim,
        "seed": agent.seeds[member],
        "env": stage.get("env") or info.get("env"),
        "env_kwargs": (stage if stage.get("env") else info).get("env_kwargs", {}),
        "observation_keys": stage.get("observation_keys", []),
        "dataset": {key: data.get(key) for key in ("source", "sha256", "policy", "random_frac")},
        "steps": info.get("steps"),
        "stopped": agent.stopped.get(member),
        "versions": info.get("versions", {}),
    }
    return Policy(agent.member(member), record, f"{path.resolve().name}, seed {agent.seeds[member]}")


def load_run_policy(path: str | Path, env: Env, *, member: int = 0) -> Policy:
    """The policy of a run or a policy file, checked against the environment that it is to act in.

    Args:
        path: see :func:`load_policy`.
        env: the environment.
        member: index of the member, from 0.

    Raises:
        LfoError: see :func:`load_policy`; the run has not learned to act yet; or the environment's observations or
            actions are not those of the policy.
    """
    policy, use = load_policy(path, member), "the environment that the run has interacted with"
    if policy.record["space"] is None:
        remedy = f"run `d3g-lfo interact {path}` first"
        if Path(path).is_file():
            remedy = "run `d3g-lfo interact` on it and export it again"
        raise LfoError(f"{path}: the run has not learned to act yet; {remedy}")
    require_state_dim(env, policy.state_dim, of=f"policy {path}", use=use)
    space, found = ActionSpace.of(env), policy.space
    same = space.kind == found.kind and space.size == found.size
    if not (same and np.allclose((space.low, space.high), (found.low, found.high))):
        raise LfoError(f"policy {path}: expected the environment's action {space}, found {found}; use {use}")
    return policy


def _part(observation: Mapping[str, Any], path: str) -> np.ndarray:
    """One part of a ``Dict`` observation, such as ``outer/inner``."""
    part: Any = observation
    for key in path.split("/"):
        part = part[key]
    return np.asarray(part, dtype=np.float32)


def _tensors(agent: Agent) -> dict[str, Tensor]:
    """Every parameter and buffer, by name; the optimisers' state is not among them."""
    module: Any = agent
    return dict([*module.named_parameters(), *module.named_buffers()])


def _build(record: Mapping[str, Any], where: str, device: str) -> Agent:
    """An untrained agent of one member, as a record describes it."""
    spec = registry.spec(record["algo"])
    config = configure(spec.config(), record["config"], where=where)
    with torch.device(device):
        agent: Agent = spec.cls(config, Units(1, int(record["state_dim"])), [int(record["seed"])])
        if record["space"] is not None:
            inverse = configure(InverseConfig(), record["inverse"], where=where)
            attach_inverse(agent, inverse, ActionSpace.from_record(record["space"]))
    return agent


@torch.no_grad()
def _from_bytes(content: bytes, name: str, where: str, device: str) -> Policy:
    try:
        tensors, record = load(content), _read_record(content, where)
        # First without memory: a file cannot ask for more of it than it has itself
        shapes = {key: tensor.shape for key, tensor in _tensors(_build(record, where, "meta")).items()}
        if shapes != {key: tensor.shape for key, tensor in tensors.items()}:
            raise ValueError("the tensors are not those of its settings")
        if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise ValueError("numbers that are not finite")
        agent = _build(record, where, "cpu")
        for key, mine in _tensors(agent).items():
            mine.copy_(tensors[key])
    except (
        SafetensorError,
        TypeError,
        KeyError,
        ValueError,
        AttributeError,
        OverflowError,
        RuntimeError,
    ) as error:
        raise LfoError(
            f"policy {where}: expected a trained policy of this project, found another or a damaged file "
            f"({str(error).splitlines()[0]}); export it again with `d3g-lfo export`"
        ) from error
    module: Any = agent
    module.to(device)
    return Policy(agent, record, name)


def _read_record(content: bytes, where: str) -> dict[str, Any]:
    """The record in the header, which :func:`safetensors.torch.load` has checked."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata = header.get("__metadata__", {})
    for key, wanted in (("format", TRAINED), ("version", VERSION)):
        if metadata.get(key) != wanted:
            raise data_error(
                where,
                f"metadata {key!r}",
                expected=repr(wanted),
                found=repr(metadata.get(key)),
                remedy="give a file that `d3g-lfo export` or Policy.save wrote",
            )
    record = json.loads(metadata["policy"])
    if not isinstance(record, dict):
        raise ValueError("metadata 'policy' is no JSON object")
    return record
