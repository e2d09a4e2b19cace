"""What an environment does wrong, told with its name, the call and the step."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from lfo.envs.make import Env, EnvLike, make_env, name_of, observation_length
from lfo.errors import LfoError

_REMEDY = "correct the environment"


class EnvironmentFault(LfoError):
    """An environment raised an error, or returned what it must not."""


def refuse(env: Env, call: str, what: str, remedy: str = _REMEDY) -> NoReturn:
    """Raise :class:`EnvironmentFault` for one call of an environment."""
    raise EnvironmentFault(f"environment {name_of(env)}: {call}: {what}; {remedy}")


@contextmanager
def blamed(env: Env, call: str) -> Iterator[None]:
    """Turn an error in the block into a fault of the environment."""
    try:
        yield
    except LfoError:
        raise
    except Exception as error:  # an environment is anyone's code
        refuse(
            env, call, f"{type(error).__name__}: {' '.join(str(error).split())[:300] or 'no reason given'}"
        )


def reset(env: Env, call: str = "reset", **seed: Any) -> np.ndarray:
    """The first observation [S] float32 of an episode.

    Raises:
        EnvironmentFault: an error, or something else than a finite observation and an info.
    """
    with blamed(env, call):
        result = env.reset(**seed)
    if not isinstance(result, tuple) or len(result) != 2:
        refuse(env, call, f"expected (observation, info), found {_kind(result)}")
    observation = _observation(env, call, result[0])
    if not np.isfinite(observation).all():
        refuse(env, call, "expected a finite observation, found NaN or infinity")
    return observation


def check_step(env: Env, call: str, result: Any) -> None:
    """Look at what a step returned, to say what is wrong with it.

    Raises:
        EnvironmentFault: something is.
    """
    wanted = "(observation, reward, terminated, truncated, info)"
    if not isinstance(result, tuple) or len(result) != 5:
        refuse(env, call, f"expected {wanted}, found {_kind(result)}")
    _observation(env, call, result[0])
    if not is_number(result[1]):
        refuse(env, call, f"expected a number as reward, found {_kind(result[1])}")
    for name, flag in zip(("terminated", "truncated"), result[2:4], strict=True):
        if np.ndim(flag) != 0:
            refuse(env, call, f"expected true or false as {name}, found {_kind(flag)}")


def is_number(value: Any) -> bool:
    """Whether it is one real number."""
    array = np.asarray(value)
    return array.ndim == 0 and array.dtype.kind in "fiub"


def close_all(envs: Sequence[Env]) -> None:
    """Close environments. One that raises an error is told in a warning: nothing depends on it any more."""
    for env in envs:
        try:
            env.close()
        except Exception as error:
            told = " ".join(str(error).split())[:300]
            warnings.warn(
                f"environment {name_of(env)}: close: {type(error).__name__}: {told}; ignored",
                RuntimeWarning,
                stacklevel=2,
            )


@contextmanager
def opened(env: EnvLike) -> Iterator[Env]:
    """An environment for the block, see :func:`~lfo.envs.make.make_env`."""
    made = make_env(env)
    try:
        yield made
    finally:
        close_all([made])


def _observation(env: Env, call: str, value: Any) -> np.ndarray:
    expected = (observation_length(env),)
    try:
        observation = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError):
        observation = None
    if observation is None or observation.shape != expected:
        refuse(env, call, f"expected an observation of shape {list(expected)}, found {_kind(value)}")
    return observation


def _kind(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} of shape {list(value.shape)}"
    return "None" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
