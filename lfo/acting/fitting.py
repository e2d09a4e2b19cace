"""Behind ``D3G.fit``, ``save`` and ``load``: an algorithm as an estimator, without a command line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from lfo.acting.online import OnlineConfig, learn_online
from lfo.acting.rounds import learn_inverse
from lfo.algorithms import registry
from lfo.algorithms.inverse import InverseConfig
from lfo.algorithms.protocol import Agent
from lfo.datasets import Transitions
from lfo.envs.make import EnvLike, with_kwargs
from lfo.errors import LfoError
from lfo.runs.folder import RunFolder
from lfo.runs.loading import load_agent
from lfo.runs.record import Member
from lfo.settings import configure, suggest
from lfo.training.loggers import require_loggers
from lfo.training.loop import train
from lfo.training.metrics import columns
from lfo.training.progress import Progress, as_progress
from lfo.training.sources import demonstrations


def fit(
    algorithm: type[Any],
    data: Transitions,
    env: EnvLike | None,
    *,
    env_kwargs: Mapping[str, Any] | None,
    seeds: Iterable[int],
    steps: int,
    device: str,
    progress: Progress | bool,
    out: str | Path | None,
    log: Sequence[str],
    settings: Mapping[str, Any],
) -> Any:
    """Train on one data set, then learn to act in ``env``; see :meth:`lfo.algorithms.base.Algorithm.fit`."""
    where = f"{algorithm.__name__}.fit"
    own = {field.name for field in fields(registry.spec(algorithm.name).config)}
    stage = {field.name for field in fields(InverseConfig)} - own
    _check_names(settings, own | stage, where)
    in_rounds = {key: value for key, value in settings.items() if key in stage}
    if env is None and (in_rounds or not algorithm.learns_offline):
        needed = next(iter(in_rounds), f"{algorithm.__name__}, which learns in rounds of interaction,")
        raise LfoError(f"{where}: env: expected an environment, as {needed} needs one, found none; pass env")
    require_loggers(log)
    if env is not None:
        env = with_kwargs(env, env_kwargs)
    shown = as_progress(progress)
    with ExitStack() as stack:
        if progress is True:
            stack.callback(shown.close)
        folder = stack.enter_context(_new_run(out))
        offline = {key: value for key, value in settings.items() if key in own}
        agent: Any
        agent, _ = train(
            [data],
            algorithm=algorithm,
            config=configure(registry.spec(algorithm.name).config(), offline, where=where),
            members=[Member(seed) for seed in seeds],
            steps=steps,
            device=device,
            out=folder,
            progress=shown,
            log=log,
        )
        if env is not None:
            table = demonstrations(agent, [data], [0] * len(agent.seeds))
            learn_inverse(agent, env, demonstrations=table, out=folder, progress=shown, log=log, **in_rounds)
    return agent


def fit_online(
    algorithm: type[Any],
    env: EnvLike,
    *,
    env_kwargs: Mapping[str, Any] | None,
    seeds: Iterable[int],
    steps: int,
    device: str,
    progress: Progress | bool,
    out: str | Path | None,
    log: Sequence[str],
    settings: Mapping[str, Any],
) -> Any:
    """Train online, with actions; see :meth:`lfo.algorithms.d3g_online.D3GOnline.fit`."""
    where, config = f"{algorithm.__name__}.fit", registry.spec(algorithm.name).config()
    own = {field.name for field in fields(config)}
    stage = {field.name for field in fields(OnlineConfig)} - own - {"steps"}
    _check_names(settings, own | stage, where)
    given = {key: value for key, value in settings.items() if key in stage}
    config = configure(config, {k: v for k, v in settings.items() if k in own}, where=where)
    online = configure(OnlineConfig(), {"steps": steps, **given}, where=where)
    require_loggers(log)
    with _new_run(out) as folder:
        return learn_online(
            env,
            env_kwargs=env_kwargs,
            algorithm=algorithm,
            config=config,
            online=online,
            seeds=list(seeds),
            device=device,
            out=folder,
            progress=progress,
            log=log,
        )


@contextmanager
def _new_run(out: str | Path | None) -> Iterator[RunFolder | None]:
    """A run folder that is this process's for the block; None for None."""
    if out is None:
        yield None
        return
    folder = RunFolder(out)
    with folder.claim("fit"):
        folder.create(overwrite=False)
        yield folder


def _check_names(settings: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in settings:
        if key not in known:
            raise LfoError(
                f"{where}: {key}: expected one of {', '.join(sorted(known))}, found another name; "
                f"{suggest(key, known)}"
            )


def save(agent: Agent, folder: str | Path, *, overwrite: bool) -> None:
    """Write a run folder. The interactions are not kept, so ``interact`` can start again but not continue.

    Raises:
        LfoError: the agent was neither trained nor loaded, or see :meth:`RunFolder.create`.
    """
    if not agent.record:
        raise LfoError(f"{folder}: expected an agent that was trained, found a new one; call fit first")
    out = RunFolder(folder)
    out.create(overwrite=overwrite)
    out.write_info(agent.record)
    for name, table in (("metrics.csv", agent.history), ("evaluations.csv", agent.evaluations)):
        if table:
            out.write_rows(
                name, [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
            )
    stage = agent.record.get("interact")
    done = max(agent.evaluations.get("round", []), default=0)
    out.save_agent(agent, **({} if stage is None else {"inverse": {**stage, "rounds_done": done}}))


def load(algorithm: type[Any], folder: str | Path, device: str) -> Any:
    """Read a run folder of this algorithm.

    Raises:
        LfoError: there is none, it is damaged, or it is of another algorithm.
    """
    out = RunFolder(folder)
    agent = load_agent(out, device)
    if not isinstance(agent, algorithm):
        raise LfoError(
            f"{out.path}: expected a run of {algorithm.name}, found one of {agent.name}; use lfo.load_agent"
        )
    agent.history, agent.evaluations = (
        columns(out.rows(name)) for name in ("metrics.csv", "evaluations.csv")
    )
    return agent
