"""The policies π_o that data is collected with, in numpy.

A policy has a ``name`` and a method ``act(observations [B, S], rng) -> actions [B, A]``. :func:`load_policy`
takes ``expert`` (shipped for some environments), ``random``, or the path of a file:

``.safetensors``, this project's own format. It holds numbers only, so it is safe to load:

====================  =======================  ==============================================================
tensor                shape                    meaning
====================  =======================  ==============================================================
``weights.0`` …       float32 [in, out]        layer k computes ``x @ weights.k + biases.k``
``biases.0`` …        float32 [out]
``action_low/_high``  float32 [A]              the bounds of the action space; of discrete actions, the first and the
                                               last value of each choice
====================  =======================  ==============================================================

with the metadata (all text) ``format`` = ``d3g-lfo policy``, ``version`` = ``1``, ``activation`` = ``relu``
or ``tanh`` between layers, ``output`` = ``tanh`` (squashed, then scaled to the bounds), ``clip``, or ``argmax`` (of
discrete actions: the last layer has a number for each value of each choice, and the largest is taken), ``env_id``,
``algorithm``, ``return_mean`` and ``return_std`` over ``episodes`` measured episodes, and the training ``command``.

``.zip``, a Stable-Baselines3 model. Loading it unpickles it, which can run any code, so it takes
``trust_pickle=True``.
"""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lfo.envs.make import Env, require_state_dim
from lfo.envs.spaces import ActionSpace, DiscreteSpace
from lfo.errors import LfoError

FORMAT, VERSION = "d3g-lfo policy", "1"
TRAINED = "d3g-lfo trained policy"
"""The format of what ``Policy.save`` and ``d3g-lfo export`` write; :func:`lfo.runs.policy.load_policy` reads it."""

ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0, out=x),
    "tanh": lambda x: np.tanh(x, out=x),
}
OUTPUTS = ("tanh", "clip", "argmax")


class Policy(Protocol):
    """Turns a batch of observations into a batch of actions."""

    @property
    def name(self) -> str:
        """What data sets call the policy."""

    def act(self, observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Actions [B, A] float32 for observations [B, S] float32."""


@dataclass(frozen=True)
class RandomPolicy:
    """Actions drawn uniformly from the action space."""

    space: ActionSpace
    name: str = "random"

    def act(self, observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Actions [B, A], independent of the observations [B, S]."""
        return self.space.sample(rng, len(observations))


@dataclass(frozen=True)
class MLPPolicy:
    """A deterministic multilayer perceptron."""

    weights: tuple[np.ndarray, ...]
    """Per layer, float32 [in, out]."""
    biases: tuple[np.ndarray, ...]
    """Per layer, float32 [out]."""
    low: np.ndarray
    """float32 [A] the lowest action."""
    high: np.ndarray
    """float32 [A] the highest action."""
    activation: str = "relu"
    """Between layers: a key of ``ACTIVATIONS``."""
    output: str = "tanh"
    """``tanh``: low + (tanh(x) + 1)/2 · (high − low); ``clip``: x clipped to the bounds; ``argmax``: of each choice."""
    name: str = "mlp"
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def state_dim(self) -> int:
        """Length S of its observations."""
        return int(self.weights[0].shape[0])

    @property
    def space(self) -> ActionSpace:
        """The actions that it takes."""
        return (DiscreteSpace if self.output == "argmax" else ActionSpace)(self.low, self.high)

    def act(self, observations: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Actions [B, A] for observations [B, S], both float32; ``rng`` is not used."""
        activate = ACTIVATIONS[self.activation]
        x = observations
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = x @ weight
            x += bias
            x = activate(x)
        x = x @ self.weights[-1]
        x += self.biases[-1]
        if self.output == "argmax":
            parts = np.split(x, np.cumsum(self._widths())[:-1], axis=-1)
            return np.asarray(
                self.low + np.stack([part.argmax(axis=-1) for part in parts], axis=-1), np.float32
            )
        if self.output == "clip":
            return np.asarray(np.clip(x, self.low, self.high))
        return np.asarray(self.low + (np.tanh(x) + 1) * (0.5 * (self.high - self.low)))

    def _widths(self) -> list[int]:
        """Outputs of the last layer for each number of an action."""
        space = self.space
        return space.counts.tolist() if isinstance(space, DiscreteSpace) else [1] * space.size

    def to_bytes(self, metadata: Mapping[str, str]) -> bytes:
        """The contents of a ``.safetensors`` file; the module's docstring describes the layout."""
        tensors = {"action_low": self.low, "action_high": self.high}
        tensors |= {f"weights.{k}": np.ascontiguousarray(w) for k, w in enumerate(self.weights)}
        tensors |= {f"biases.{k}": b for k, b in enumerate(self.biases)}
        kind = {"format": FORMAT, "version": VERSION, "activation": self.activation, "output": self.output}
        return save(tensors, {**metadata, **kind})


def expert_envs() -> list[str]:
    """Ids of the environments that have a built-in expert."""
    files = (Path(entry.name) for entry in _experts().iterdir())
    return sorted(file.stem for file in files if file.suffix == ".safetensors")


def load_policy(policy: str | Path, env: Env, *, trust_pickle: bool = False) -> Policy:
    """Load a policy and check that it fits ``env``.

    Args:
        policy: ``expert``, ``random``, or the path of a ``.safetensors`` or of a Stable-Baselines3 ``.zip``.
        env: the environment to act in.
        trust_pickle: load a Stable-Baselines3 zip, although it can run code hidden in it.

    Raises:
        LfoError: there is no expert for the environment; the file is missing, not a policy or not trusted; or
            its observations or action bounds are not the environment's.
    """
    space = ActionSpace.of(env)
    if str(policy) == "random":
        return RandomPolicy(space)
    named = str(policy) == "expert"
    loaded = _read_expert(env) if named else _read_path(Path(policy), trust_pickle=trust_pickle)
    require_state_dim(
        env, loaded.state_dim, of=f"policy {policy}", use="the environment that the policy was trained in"
    )
    if not space.same_as(loaded.space):
        raise LfoError(
            f"policy {policy}: expected the environment's action {space}, found {loaded.space}; use the environment that "
            "the policy was trained in"
        )
    return loaded


def is_trained_policy(path: str | Path) -> bool:
    """Whether a file is a policy that this project trained and exported, told by its metadata."""
    try:
        with safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get("format") == TRAINED
    except (SafetensorError, OSError):
        return False


def _experts() -> Any:
    return resources.files("lfo.datasets") / "experts"


def _read_expert(env: Env) -> MLPPolicy:
    env_id = env.spec.id if env.spec else ""
    if env_id not in expert_envs():
        raise LfoError(
            f"no built-in expert for {env_id or env}: there is one for {', '.join(expert_envs())}; "
            "pass --policy PATH, or --random-frac 1 for random actions only"
        )
    with resources.as_file(_experts() / f"{env_id}.safetensors") as path:
        return _read_safetensors(path, name="expert")


def _read_path(path: Path, *, trust_pickle: bool) -> MLPPolicy:
    if not path.is_file():
        found = "a directory" if path.is_dir() else "nothing"
        raise LfoError(
            f"policy {path}: expected a file, found {found}; give expert, random, the path of a .safetensors "
            "or .zip, or, on the command line, the folder of a run"
        )
    if path.suffix == ".safetensors":
        return _read_safetensors(path, name=path.name)
    if zipfile.is_zipfile(path):
        if not trust_pickle:
            raise LfoError(
                f"policy {path}: loading a Stable-Baselines3 zip can run code hidden in it; if you trust the file, "
                "pass --trust-pickle (in Python: trust_pickle=True)"
            )
        return _read_sb3(path)
    raise LfoError(
        f"policy {path}: expected a .safetensors of this project or a Stable-Baselines3 .zip, found neither; "
        "check the path"
    )


def _read_safetensors(path: Path, *, name: str) -> MLPPolicy:
    remedy = "the layout is documented in lfo.datasets.policies"
    if is_trained_policy(path):
        raise LfoError(f"policy {path}: it is a trained policy; pass policy=lfo.load_policy({str(path)!r})")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, TypeError, ValueError) as error:
        raise LfoError(f"policy {path}: not a readable safetensors file ({error}); check the path") from error
    allowed = {"format": [FORMAT], "version": [VERSION], "activation": [*ACTIVATIONS], "output": OUTPUTS}
    for key, values in allowed.items():
        if metadata.get(key) not in values:
            found = repr(metadata[key]) if key in metadata else "nothing"
            expected = " or ".join(map(repr, values))
            raise LfoError(f"{path}: metadata {key!r}: expected {expected}, found {found}; {remedy}")
    for key, value in tensors.items():
        if value.dtype != np.float32 or not np.isfinite(value).all():
            found = f"{value.dtype}, {np.count_nonzero(~np.isfinite(value))} of them not finite"
            raise LfoError(f"{path}: {key}: expected finite float32 numbers, found {found}; {remedy}")
    layers = sum(key.startswith("weights.") for key in tensors)
    names = {f"{kind}.{k}" for kind in ("weights", "biases") for k in range(layers)}
    names |= {"action_low", "action_high"}
    if layers == 0 or set(tensors) != names:
        raise LfoError(
            f"{path}: tensors: expected weights.k and biases.k of each layer, action_low, action_high, found "
            f"{', '.join(sorted(tensors))}; {remedy}"
        )
    policy = MLPPolicy(
        tuple(tensors[f"weights.{k}"] for k in range(layers)),
        tuple(tensors[f"biases.{k}"] for k in range(layers)),
        tensors["action_low"],
        tensors["action_high"],
        metadata["activation"],
        metadata["output"],
        name,
        metadata,
    )
    _check_shapes(policy, path)
    return policy


def _check_shapes(policy: MLPPolicy, path: Path) -> None:
    """Check that the layers' shapes fit each other and the action bounds."""
    shapes = [w.shape for w in policy.weights]
    inner = all(len(s) == 2 for s in shapes)
    bounds = policy.low.ndim == 1 and policy.low.shape == policy.high.shape
    widths = [*(s[0] for s in shapes[1:]), sum(policy._widths())] if inner and bounds else []
    fits = (
        inner
        and bounds
        and all(
            w.shape[1] == width and b.shape == (width,)
            for w, b, width in zip(policy.weights, policy.biases, widths, strict=True)
        )
    )
    if not fits:
        found = f"weights {shapes}, biases {[b.shape for b in policy.biases]}, bounds {policy.low.shape}"
        raise LfoError(
            f"{path}: tensors: expected layers whose shapes follow on each other, found {found}; write the file again"
        )


def _read_sb3(path: Path) -> MLPPolicy:
    """Extract the actor of a Stable-Baselines3 model, and check that it acts like the model."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about versions of other libraries
            import stable_baselines3
    except ImportError as error:
        raise LfoError(
            f"policy {path}: reading it needs Stable-Baselines3; run `pip install stable-baselines3`"
        ) from error
    try:
        algorithm = _sb3_algorithm(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = getattr(stable_baselines3, algorithm).load(path, device="cpu")
        policy = from_sb3(model, algorithm, name=path.name)
    except LfoError:
        raise
    except Exception as error:  # unpickling can raise anything
        raise LfoError(
            f"policy {path}: not a Stable-Baselines3 model that can be loaded "
            f"({type(error).__name__}: {error}); "
            "save it again with the installed version"
        ) from error
    probe = np.random.default_rng(0).normal(size=(64, policy.state_dim)).astype(np.float32)
    acted = model.predict(probe, deterministic=True)[0].reshape(len(probe), -1)
    if not np.allclose(policy.act(probe), acted, atol=1e-4):
        raise LfoError(
            f"policy {path}: its network is not a plain perceptron from observations to actions; train it with "
            "MlpPolicy, without a features extractor of its own"
        )
    return policy


def _sb3_algorithm(path: Path) -> str:
    """The algorithm that saved the zip, told by the module of its policy class."""
    with zipfile.ZipFile(path) as archive:
        data = json.loads(archive.read("data"))
    module = str(data["policy_class"]["__module__"])
    # stable_baselines3.td3.policies → TD3; A2C shares PPO's policies, DDPG TD3's.
    known = {"td3": "TD3", "sac": "SAC", "common": "PPO", "dqn": "DQN"}
    part = module.split(".")[1] if module.startswith("stable_baselines3.") else module
    if part not in known:
        raise LfoError(
            f"policy {path}: expected a model of TD3, DDPG, SAC, DQN, PPO or A2C with MlpPolicy, found a policy "
            f"of {module}; write its weights as .safetensors"
        )
    return known[part]


def from_sb3(model: Any, algorithm: str, *, name: str) -> MLPPolicy:
    """The deterministic actor of a Stable-Baselines3 model with ``MlpPolicy``, in numpy.

    Args:
        model: the model.
        algorithm: ``TD3`` (also for DDPG) or ``SAC``, which squash with tanh; ``PPO`` (also for A2C), which clips, or
            takes the likeliest of discrete actions; or ``DQN``, which takes the one of greatest value.
        name: what data sets call the policy.

    Raises:
        LfoError: its activations are neither relu nor tanh, or its actions neither a box nor discrete.
    """
    network = model.policy
    if algorithm == "TD3":
        modules = [*network.actor.mu]
    elif algorithm == "SAC":
        modules = [*network.actor.latent_pi, network.actor.mu]
    elif algorithm == "DQN":
        modules = [*network.q_net.q_net]
    else:
        modules = [*network.mlp_extractor.policy_net, network.action_net]
    linear = [m for m in modules if hasattr(m, "weight")]
    activation = type(modules[1]).__name__.lower() if len(linear) > 1 else "relu"
    if activation not in ACTIVATIONS:
        raise LfoError(
            f"policy {name}: expected activations of {' or '.join(ACTIVATIONS)}, found {activation}; "
            "train it with one of these"
        )
    if type(model.action_space).__name__ not in ("Box", "Discrete", "MultiDiscrete"):
        raise LfoError(
            f"policy {name}: expected Box, Discrete or MultiDiscrete actions, found {model.action_space}; train it in an "
            "environment with these"
        )
    space = ActionSpace.of(model)
    output = "argmax" if space.kind == "discrete" else "clip" if algorithm == "PPO" else "tanh"
    return MLPPolicy(
        tuple(m.weight.detach().numpy().T.copy() for m in linear),
        tuple(m.bias.detach().numpy().copy() for m in linear),
        space.low,
        space.high,
        activation,
        output,
        name,
        {"algorithm": algorithm},
    )
