"""Making the environments that data is collected from and policies are measured in."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box

from lfo.errors import LfoError

__all__ = [
    "Env",
    "full_id",
    "make_env",
    "make_envs",
    "name_of",
    "observation_length",
    "require_state_dim",
]

Env = gym.Env[Any, Any]


def make_env(env_id: str, **kwargs: Any) -> Env:
    """Make one environment whose observations and actions are vectors.

    Its time limit is kept. Gymnasium's passive checker is left out, as it slows every step.

    Args:
        env_id: a Gymnasium id, such as ``InvertedPendulum-v5``; without a version, the newest is made.
            ``module:Name-v0`` imports the module first, which has to register ``Name-v0``.
        **kwargs: passed to :func:`gymnasium.make`, such as ``render_mode``.

    Raises:
        LfoError: the id is unknown, a package the environment needs is missing, observations are not a 1-D
            ``Box``, or actions are not a 1-D ``Box`` with finite bounds.
    """
    name = _import_module_of(env_id)
    with warnings.catch_warnings():
        # The caller chooses the version, and it is recorded: no need to warn that a newer one exists.
        warnings.filterwarnings("ignore", message=r".*(out of date|latest versioned environment)")
        try:
            env = gym.make(name, disable_env_checker=True, **kwargs)
        except gym.error.DependencyNotInstalled as error:
            raise LfoError(f"environment {env_id!r}: a package that it needs is missing: {error}") from error
        except gym.error.Error as error:
            raise LfoError(_unknown(env_id)) from error
        except ImportError as error:
            raise LfoError(f"environment {env_id!r} cannot be imported: {error}") from error
        except Exception as error:  # an environment's constructor is anyone's code
            raise LfoError(
                f"environment {env_id!r} fails to start: {type(error).__name__}: {error}"
            ) from error
    _silence_mujoco()
    try:
        _check_spaces(env, env_id)
    except LfoError:
        env.close()
        raise
    return env


def make_envs(env_id: str, number: int) -> list[Env]:
    """Make ``number`` environments of the same id; see :func:`make_env`."""
    return [make_env(env_id) for _ in range(number)]


def full_id(env_id: str, env: Env) -> str:
    """The id that makes ``env``, made from ``env_id``, again: with its version and its module, if it has one."""
    module, colon, _ = env_id.rpartition(":")
    return f"{module}{colon}{env.spec.id}" if env.spec else env_id


def name_of(env: Env) -> str:
    """What errors call an environment."""
    return str(env.spec.id if env.spec else type(env.unwrapped).__name__)


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


def _check_spaces(env: Env, env_id: str) -> None:
    observations, actions = env.observation_space, env.action_space
    if not isinstance(observations, Box) or len(observations.shape) != 1:
        found = f"{type(observations).__name__} of shape {observations.shape}"
        raise LfoError(
            f"environment {env_id}: expected observations that are vectors (a 1-D Box), found {found}; images "
            "and nested observations are not supported: use an environment with vector observations"
        )
    if not isinstance(actions, Box):
        raise LfoError(
            f"environment {env_id}: expected continuous actions (a Box), found {actions}; "
            f"{type(actions).__name__} action spaces are not supported yet: use an environment with a Box"
        )
    finite = bool(np.isfinite(actions.low).all() and np.isfinite(actions.high).all())
    if len(actions.shape) != 1 or not finite:
        new, code = _vector_actions(env_id, actions, finite)
        bounds = "" if finite else "your own bounds instead of -1 and 1 and "
        raise LfoError(
            f"environment {env_id}: expected actions that are vectors with finite bounds, found {actions}; write "
            f"a file wrapped.py with {bounds}this line: `{code}`, and use the environment `wrapped:{new}`"
        )


def _vector_actions(env_id: str, actions: Box, finite: bool) -> tuple[str, str]:
    """A new id, and the line of Python that registers the environment under it with bounded vector actions."""
    new = f"Wrapped{env_id.rpartition(':')[2].rpartition('/')[2]}"
    space = "g.spaces.flatten_space(e.action_space)"
    if not finite:
        space = f"g.spaces.Box(-1, 1, ({int(np.prod(actions.shape))},))"
    return new, (
        f"import gymnasium as g; g.register({new!r}, lambda **k: g.wrappers.TransformAction("
        f"e := g.make({env_id!r}, disable_env_checker=True, **k), lambda a: a.reshape({actions.shape}), {space}))"
    )
