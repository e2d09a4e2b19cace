"""Filming a policy without a screen: MuJoCo renders through EGL or OSMesa, ffmpeg writes the mp4."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from lfo.acting.evaluation import NO_LIMIT_STEPS
from lfo.atomic import check_output
from lfo.envs.faults import opened
from lfo.envs.make import Env, EnvLike, copyable, make_env, name_of, with_kwargs
from lfo.envs.rollout import rollout, starts
from lfo.envs.spaces import ActionSpace
from lfo.errors import LfoError

BACKENDS = ("egl", "osmesa")
"""What MUJOCO_GL may be without a screen, the faster one first."""

_PROBE = """
import gymnasium
env = gymnasium.make("InvertedPendulum-v5", render_mode="rgb_array")
env.reset()
assert env.render().any()
print("renders", flush=True)
"""


def headless_backend() -> str:
    """The value of ``MUJOCO_GL`` that renders here; the one already set is tried alone.

    Each is tried in a process of its own, since a failure can end the process, and a library that was loaded
    for one stands in the way of the next.

    Raises:
        LfoError: none renders; names the system packages that bring one.
    """
    chosen = os.environ.get("MUJOCO_GL")
    for backend in (chosen,) if chosen else BACKENDS:
        try:
            done = subprocess.run(
                [sys.executable, "-c", _PROBE],
                env={**os.environ, "MUJOCO_GL": backend},
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        except subprocess.TimeoutExpired:
            continue
        if "renders" in done.stdout:  # what happens to the process after that does not matter
            return backend
    tried = f"MUJOCO_GL={chosen}, which is set, does not work" if chosen else "neither EGL nor OSMesa works"
    raise LfoError(
        f"video: rendering needs EGL or OSMesa, {tried} here; install one of them, on Debian or Ubuntu with "
        "`apt-get install libegl1 libgl1-mesa-dri` or `apt-get install libosmesa6`"
        + (", or unset MUJOCO_GL" if chosen else "")
    )


def check_video(path: str | Path, *, overwrite: bool) -> None:
    """Check that a film can be written to ``path``. Call it before long work.

    Raises:
        LfoError: the path is not an mp4, exists or is not writable, or imageio-ffmpeg is missing.
    """
    path = Path(path)
    if path.suffix != ".mp4":
        raise LfoError(f"{path}: output: expected a name ending in .mp4, found {path.name}; add .mp4")
    check_output(path, overwrite=overwrite)
    try:
        importlib.import_module("imageio_ffmpeg")
    except ImportError as error:
        raise LfoError(
            "video: writing it needs ffmpeg; install it with `pip install imageio-ffmpeg`"
        ) from error


def record_video(
    act: Callable[[np.ndarray], np.ndarray],
    env: EnvLike,
    path: str | Path,
    *,
    env_kwargs: Mapping[str, Any] | None = None,
    seed: int = 0,
    stream: int = 0,
    episodes: int = 1,
    fps: int | None = None,
    overwrite: bool = False,
) -> list[float]:
    """Film whole episodes, one after the other, as an mp4; the file appears when it is complete.

    Sets the environment variable ``MUJOCO_GL`` of this process where the environment is one of MuJoCo's.

    Args:
        act: the action [A] for one observation [S] float32; clipped to the action space.
        env: an id, an environment or a function that makes one, see :func:`lfo.envs.make.make_env`. An object whose
            render mode is not ``rgb_array`` is copied by its spec.
        env_kwargs: arguments that the environment is made with, where ``env`` is an id or a function.
        path: of the file, ending in ``.mp4``.
        seed, stream: of the starts, see :func:`lfo.envs.rollout.starts`.
        episodes: how many.
        fps: frames a second; by default the environment's own, which is real time.
        overwrite: replace an existing file.

    Returns:
        The return of each filmed episode.

    Raises:
        LfoError: the path is not an mp4, exists or is not writable; the extra ``video`` is missing; the
            environment is unknown or does not render.
    """
    path = Path(path)
    check_video(path, overwrite=overwrite)
    import imageio_ffmpeg

    with (
        closing(_renderable(with_kwargs(env, env_kwargs))) as made,
        tempfile.TemporaryDirectory(dir=path.parent) as folder,
    ):
        returns: list[float] = []
        frames = _frames(made, act, starts(seed, stream, episodes), returns)
        first = next(frames)
        unfinished = Path(folder) / path.name
        writer = imageio_ffmpeg.write_frames(
            str(unfinished),
            (first.shape[1], first.shape[0]),
            fps=fps or int(made.metadata.get("render_fps") or 30),
            ffmpeg_log_level="error",
            macro_block_size=2,
        )
        try:
            writer.send(None)
            writer.send(np.ascontiguousarray(first))
            for frame in frames:
                writer.send(np.ascontiguousarray(frame))
        except OSError as error:
            # What ffmpeg says spans many lines; its last but one is what failed.
            reason = " ".join(str(error).split())[-200:]
            raise LfoError(f"video: {path}: ffmpeg failed: {reason}") from error
        finally:
            writer.close()
        os.replace(unfinished, path)
    return returns


def _renderable(env: EnvLike) -> Env:
    """The environment with frames as its render mode; for MuJoCo's, with a backend that works."""
    if not os.environ.get("DISPLAY"):
        os.environ.setdefault(
            "SDL_VIDEODRIVER", "dummy"
        )  # else pygame complains of a screen that it does not need
    if os.environ.get("MUJOCO_GL"):
        headless_backend()  # with one that does not work, MuJoCo does not even import
    if isinstance(env, gymnasium.Env) and env.render_mode != "rgb_array":
        env = copyable(env)
    with opened(env) as made:
        if "rgb_array" not in made.metadata.get("render_modes", ()):
            raise LfoError(
                f"video: environment {name_of(env)} cannot render frames (no render mode 'rgb_array'); film another"
            )
        if _is_mujoco(made) and not os.environ.get("MUJOCO_GL"):
            os.environ["MUJOCO_GL"] = headless_backend()
        ready = made.render_mode == "rgb_array"
    return make_env(env) if ready else make_env(env, render_mode="rgb_array")


def _is_mujoco(env: Env) -> bool:
    from gymnasium.envs.mujoco import MujocoEnv

    return isinstance(env.unwrapped, MujocoEnv)


def _frames(
    env: Env, act: Callable[[np.ndarray], np.ndarray], seeds: np.ndarray, returns: list[float]
) -> Iterator[np.ndarray]:
    """The frames [H, W, 3] uint8 of one episode a seed; each episode's return joins ``returns``."""
    space = ActionSpace.of(env)
    limit = (env.spec.max_episode_steps if env.spec else None) or NO_LIMIT_STEPS
    shown: list[np.ndarray] = []

    def choose(observations: np.ndarray, running: list[int]) -> np.ndarray:
        if not shown:
            shown.append(_render(env))  # the start
        return space.clip(np.asarray(act(observations[0]), dtype=np.float32))[None]

    for seed in seeds.tolist():
        total = 0.0
        shown.clear()
        for step in rollout([env], choose, [seed], [limit], episodes=True):
            yield from shown
            shown[:] = [_render(env)]
            total += float(step.rewards[0])
        yield from shown
        returns.append(total)


def _render(env: Env) -> np.ndarray:
    try:
        return np.asarray(env.render())
    except gymnasium.error.DependencyNotInstalled as error:
        raise LfoError(f"video: drawing this environment needs another package: {error}") from error
    except Exception as error:  # an environment is anyone's code
        raise LfoError(
            f"video: environment {name_of(env)}: render: {type(error).__name__}: {error}; leave --video out"
        ) from error
