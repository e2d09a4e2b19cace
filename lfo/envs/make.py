"""Making the environments that data is collected from and policies are measured in."""

from __future__ import annotations

import difflib
import importlib
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Space
from gymnasium.wrappers import FlattenObservation, TransformAction

from lfo.errors import LfoError

_LARGEST = 1 << 20  # action values in all, and the largest number of one

Env = gym.Env[Any, Any]
EnvLike = str | Env | EnvSpec | Callable[..., Env]
"""What every function takes as an environment: an id, an environment object, or a function (or class) that makes one."""


@dataclass(frozen=True)
class WithKwargs:
    """A function that makes an environment with some arguments: those, and what it is called with."""

    env: str | EnvSpec | Callable[..., Env]
    kwargs: Mapping[str, Any]

    def __call__(self, **more: Any) -> Env:
        """Make it."""
        return _start(self.env, {**self.kwargs, **more})


def with_kwargs(env: EnvLike, kwargs: Mapping[str, Any] | None) -> EnvLike:
    """An environment that is made with some arguments.

    Args:
        env: an id, or a function that makes an environment.
        kwargs: passed to :func:`gymnasium.make` or to the function. Without any, ``env`` is returned.

    Raises:
        LfoError: ``env`` is an environment that was made already.
    """
    if not kwargs:
        return env
    if isinstance(env, gym.Env):
        raise LfoError(
            f"env_kwargs: expected an id or a function to make an environment with {', '.join(kwargs)}, found the "
            f"environment {name_of(env)}; make it with these arguments, and leave env_kwargs out"
        )
    return WithKwargs(env, kwargs)


def kwargs_of(env: EnvLike, made: Env) -> dict[str, Any]:
    """The arguments that make ``made``, made from ``env``, again: where they differ from the registered ones.

    Raises:
        LfoError: one that was given by :func:`with_kwargs` cannot be kept as JSON.
    """
    found = dict(env.kwargs) if isinstance(env, WithKwargs) else {}
    for name, value in found.items():
        if _json(value) is None:
            raise LfoError(
                f"env_kwargs: {name}: expected a value that can be kept as JSON, found {type(value).__name__}; pass a "
                "function that makes the environment with it"
            )
    if made.spec is not None and made.spec.id in gym.registry:
        found |= kwargs_of_spec(made.spec)
    kept = {name: _json(value) for name, value in found.items() if name != "render_mode"}
    return {name: json.loads(value) for name, value in kept.items() if value is not None}


def kwargs_of_spec(spec: EnvSpec) -> dict[str, Any]:
    """The arguments of a spec where they differ from those registered with its id; what JSON cannot hold is left out."""
    known = gym.registry.get(spec.id)
    registered = {} if known is None else known.kwargs
    found = {
        name: value
        for name, value in spec.kwargs.items()
        if name != "render_mode"
        and _json(value) is not None
        and (name not in registered or _json(value) != _json(registered[name]))
    }
    if spec.max_episode_steps not in (None, known and known.max_episode_steps):
        found["max_episode_steps"] = spec.max_episode_steps
    return found


def _json(value: Any) -> str | None:
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return None


def id_of(env: EnvLike) -> str | None:
    """The id that was given for an environment, if it was one."""
    return id_of(env.env) if isinstance(env, WithKwargs) else env if isinstance(env, str) else None


def make_env(env: EnvLike, **kwargs: Any) -> Env:
    """Make one environment whose observations and actions are vectors.

    Its time limit is kept. Gymnasium's passive checker is left out, as it slows every step. Observations and actions
    that are a ``Box`` of another shape are flattened, and so is a ``Dict`` of such observations, in the order of
    :func:`observation_keys`. A ``Discrete`` observation becomes one-hot. Discrete actions stay as they are.

    Args:
        env: a Gymnasium id, such as ``InvertedPendulum-v5``; without a version, the newest is made.
            ``module:Name-v0`` imports the module first, which has to register ``Name-v0``. Or an environment, which is
            used as it is, and which closing what is returned leaves open. Or a function that makes an environment.
        **kwargs: passed to :func:`gymnasium.make` or to the function, such as ``render_mode``.

    Raises:
        LfoError: the id is unknown, a package the environment needs is missing, its observations are images or
            neither a ``Box``, a ``Dict`` of them nor ``Discrete``, or its actions are neither discrete nor a ``Box``
            with finite bounds.
    """
    made = _Borrowed(env) if isinstance(env, gym.Env) else _start(env, kwargs)
    _silence_mujoco()
    try:
        return _vectors(made, env)
    except LfoError:
        made.close()
        raise


def make_envs(env: EnvLike, number: int, *, least: int | None = None) -> list[Env]:
    """Make ``number`` environments; see :func:`make_env`.

    Args:
        env: an environment object is copied by its spec: what was changed after it was made is lost.
        number: how many.
        least: how many the caller can do with. An environment object is used as it is where one is enough.

    Raises:
        LfoError: an object cannot be copied, or a function gives the same environment twice.
    """
    if isinstance(env, gym.Env):
        if (number if least is None else least) == 1:
            return [make_env(env)]
        env = copyable(env)
    envs = [make_env(env) for _ in range(number)]
    if len({id(made.unwrapped) for made in envs}) < number:
        raise LfoError(
            f"environment {name_of(env)}: expected a new environment from each call of the function, found the same "
            "one twice; make it inside the function"
        )
    return envs


def copyable(env: EnvLike) -> EnvLike:
    """What makes an environment object again: its spec. Anything else is returned as it is.

    Raises:
        LfoError: the object was made without ``gymnasium.make``, or a wrapper does not record its arguments.
    """
    if not isinstance(env, gym.Env):
        return env
    spec = env.spec
    if spec is None or any(wrapper.kwargs is None for wrapper in spec.additional_wrappers):
        reason = "it was not made by gymnasium.make" if spec is None else "a wrapper keeps no arguments"
        raise LfoError(
            f"environment {name_of(env)}: several copies are needed, and this object cannot be copied ({reason}); "
            "pass a function that makes one, such as `lambda: Wrapper(MyEnv())`"
        )
    return spec


def name_of(env: EnvLike) -> str:
    """What errors and records call an environment: its id, or else the name of its class or function."""
    if isinstance(env, WithKwargs):
        return name_of(env.env)
    if isinstance(env, str):
        return env
    if isinstance(env, EnvSpec):
        return env.id
    if isinstance(env, gym.Env):
        return env.spec.id if env.spec else type(env.unwrapped).__name__
    return getattr(env, "__name__", type(env).__name__)


def full_id(env: EnvLike, made: Env) -> str:
    """The id that makes ``made``, made from ``env``, again: with its version and its module, if it has one."""
    given = id_of(env)
    if made.spec is None:
        return given or name_of(made)
    module, colon, _ = (given or "").rpartition(":")
    return f"{module}{colon}{made.spec.id}"


def observation_keys(env: Env) -> list[str]:
    """The keys of a ``Dict`` observation in the order in which they were flattened; none for other observations."""
    space = env.env.observation_space if isinstance(env, FlattenObservation) else None
    return [name for name, _ in _leaves(space)] if isinstance(space, Dict) else []


def observation_length(env: Env) -> int:
    """The length S of an observation."""
    assert isinstance(env.observation_space, Box)
    return int(env.observation_space.shape[0])


def require_state_dim(
    env: Env, expected: int, *, of: str, use: str = "the environment that the data came from"
) -> None:
    """Check the length of observations.

    Args:
        env: whose observations are checked.
        expected: the length that they must have.
        of: what needs that length, such as ``the run``; named in the error.
        use: the remedy: which environment to use instead.

    Raises:
        LfoError: the length is another one.
    """
    found = observation_length(env)
    if found == expected:
        return
    env_id = name_of(env)
    hint = f"use {use}"
    if {found, expected} == {10, 11} and env_id.startswith("Reacher"):
        hint = f"Reacher has 11 observations up to v4 and 10 in v5: {hint}"
    raise LfoError(
        f"environment {env_id}: expected observations of length {expected}, as {of} takes, "
        f"found {found}; {hint}"
    )


class _Borrowed(gym.Wrapper[Any, Any, Any, Any]):
    """An environment of the caller's, who closes it."""

    def close(self) -> None:
        """Leave it open."""


def _start(env: str | EnvSpec | Callable[..., Env], kwargs: dict[str, Any]) -> Env:
    """Make what an id, a spec or a function stands for."""
    name = name_of(env)
    made: Any
    try:
        if isinstance(env, str | EnvSpec):
            what = _import_module_of(env) if isinstance(env, str) else env
            with warnings.catch_warnings():
                # The caller chooses the version, and it is recorded: no need to warn that a newer one exists.
                warnings.filterwarnings("ignore", message=r".*(out of date|latest versioned environment)")
                made = gym.make(what, disable_env_checker=True, **kwargs)
        else:
            made = env(**kwargs)
    except LfoError:
        raise
    except gym.error.DependencyNotInstalled as error:
        raise LfoError(f"environment {name!r}: a package that it needs is missing: {error}") from error
    except gym.error.Error as error:
        raise LfoError(_unknown(name)) from error
    except ImportError as error:
        raise LfoError(f"environment {name!r} cannot be imported: {error}") from error
    except Exception as error:  # an environment's constructor is anyone's code
        raise LfoError(f"environment {name!r} fails to start: {type(error).__name__}: {error}") from error
    if not isinstance(made, gym.Env):
        raise LfoError(
            f"environment {name!r}: expected a gymnasium.Env from the function, found {type(made).__name__}; return one"
        )
    return made


def _import_module_of(env_id: str) -> str:
    """Import the module of a ``module:Name-v0`` id, which registers ``Name-v0``; return ``Name-v0``.

    A module in the current folder is found too, as with ``python -m``.
    """
    module, _, name = env_id.rpartition(":")
    if module:
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
        try:
            importlib.import_module(module)
        except (ImportError, ValueError) as error:
            raise LfoError(
                f"environment {env_id!r}: module {module!r} cannot be imported: {error}; install it, or run from "
                "the folder that it is in"
            ) from error
    return name


def _silence_mujoco() -> None:
    """Keep MuJoCo from writing MUJOCO_LOG.TXT into the current folder; a state that is not finite is refused anyway."""
    mujoco: Any = sys.modules.get("mujoco")
    if hasattr(mujoco, "set_mju_user_warning"):
        mujoco.set_mju_user_warning(_ignore)


def _ignore(warning: Any) -> None:
    """What MuJoCo warns of."""


def _unknown(env_id: str) -> str:
    known = list(gym.registry)
    close = difflib.get_close_matches(env_id, known, n=3) or [
        name for name in known if name.lower().startswith(env_id.lower().partition("-")[0])
    ]
    # The newest version first: ids sort so inside a name.
    suggestion = (
        f"did you mean {' or '.join(sorted(close, reverse=True)[:3])}?"
        if close
        else "`gymnasium.pprint_registry()` lists the known ones"
    )
    return f"unknown environment {env_id!r}; {suggestion}"


def _leaves(space: Space[Any], name: str = "") -> Iterator[tuple[str, Space[Any]]]:
    """The parts of an observation, by their keys: those of a ``Dict`` in a ``Dict`` are ``outer/inner``."""
    if not isinstance(space, Dict):
        yield name, space
        return
    for key, inner in space.spaces.items():
        yield from _leaves(inner, f"{name}/{key}" if name else str(key))


def _vectors(made: Env, env: EnvLike) -> Env:
    """Flatten observations and actions that are not vectors."""
    name, observations, actions = name_of(env), made.observation_space, made.action_space
    for key, part in () if isinstance(observations, Discrete) else _leaves(observations):
        image = isinstance(part, Box) and len(part.shape) > 1 and part.dtype == np.uint8
        if image or not isinstance(part, Box):
            shape = f" of shape {part.shape}" if part.shape else ""
            found = f"{type(part).__name__}{shape}" + (f" under {key!r}" if key else "")
            raise LfoError(
                f"environment {name}: expected observations that are vectors (a Box, or a Dict of them) or Discrete, "
                f"found {found}; images and other spaces are not supported yet: use an environment with vectors"
            )
    if isinstance(actions, Box):
        made = _vector_actions(made, env, actions)
    else:
        _require_discrete(name, actions)
    if isinstance(observations, Dict) or len(observations.shape or ()) != 1:
        made = FlattenObservation(made)
    return made


def _vector_actions(made: Env, env: EnvLike, actions: Box) -> Env:
    """Flatten actions, which have to have bounds."""
    if not (np.isfinite(actions.low).all() and np.isfinite(actions.high).all()):
        raise LfoError(
            f"environment {name_of(env)}: expected actions that are vectors with finite bounds, found {actions}; "
            + _bounding(env, actions)
        )
    if len(actions.shape) == 1:
        return made
    flat = gym.spaces.flatten_space(actions)
    return TransformAction(made, lambda action: np.reshape(action, actions.shape), flat)


def _require_discrete(name: str, actions: Space[Any]) -> None:
    """Check that actions are choices, of numbers that float32 can tell apart."""
    if not isinstance(actions, Discrete | MultiDiscrete):
        raise LfoError(
            f"environment {name}: expected continuous actions (a Box), Discrete or MultiDiscrete ones, found {actions}; "
            f"{type(actions).__name__} action spaces are not supported: use an environment with one of these"
        )
    number = actions.n if isinstance(actions, Discrete) else actions.nvec
    if max(np.abs(actions.start).max(), np.abs(actions.start + number).max(), np.sum(number)) > _LARGEST:
        raise LfoError(
            f"environment {name}: expected discrete actions between -{_LARGEST} and {_LARGEST}, found {actions}; number "
            "them from 0 in a wrapper, or use fewer"
        )


def _bounding(env: EnvLike, actions: Box) -> str:
    """How to give an environment bounded vector actions."""
    size = int(np.prod(actions.shape))
    bounded = f"lambda a: a.reshape({actions.shape}), g.spaces.Box(-1, 1, ({size},)))"
    given = id_of(env)
    if given is None:
        return (
            "`import gymnasium as g`, and pass this with your own bounds instead of -1 and 1: "
            f"`g.wrappers.TransformAction(env, {bounded}`"
        )
    new = f"Wrapped{given.rpartition(':')[2].rpartition('/')[2]}"
    return (
        "write a file wrapped.py with your own bounds instead of -1 and 1 and this line: `import gymnasium as g; "
        f"g.register({new!r}, lambda **k: g.wrappers.TransformAction(g.make({given!r}, disable_env_checker=True, **k), "
        f"{bounded})`, and use the environment `wrapped:{new}`"
    )
