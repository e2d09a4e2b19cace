"""``d3g-lfo eval``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lfo.cli._common import (
    COUNT,
    demonstrations,
    environment,
    note,
    option,
    require_trained,
    resumable,
    round_lines,
)

if TYPE_CHECKING:
    import numpy as np

    from lfo.acting.evaluation import Evaluation
    from lfo.algorithms.protocol import Agent
    from lfo.envs.make import EnvLike
    from lfo.runs.folder import RunFolder


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@option("env", shown="the one that RUN interacted with")
@option("env-kwargs", shown="those that RUN interacted with")
@option("episodes", default=10, show_default=True, help="Episodes of each member.")
@option(
    "seed",
    help="Seed of the starts. Each member has its own; members with the same training seed share them.",
)
@option("max-steps", type=COUNT, help="Cut episodes here.", shown="the environment's limit, or 10000")
@click.option(
    "--video",
    type=click.Path(path_type=Path),
    metavar="FILE.mp4",
    help="Also film the first member's first episode; needs imageio-ffmpeg.",
)
@option("json")
@option("device")
@option("overwrite", help="Replace the video if it exists.")
def command(
    run: Path,
    env: str | None,
    env_kwargs: dict[str, Any],
    episodes: int,
    seed: int,
    max_steps: int | None,
    video: Path | None,
    as_json: bool,
    device: str,
    overwrite: bool,
) -> None:
    """Measure the policies of RUN: whole episodes from fixed starts, without exploration noise.

    The table has a line per member, mean ± standard deviation over its episodes, and one over all episodes of all
    members. Members that diverged are marked and not counted. A run that has not interacted yet first does one round,
    as `d3g-lfo interact RUN --rounds 1` would.

    \b
    d3g-lfo eval run
    d3g-lfo eval run --episodes 100 --json
    d3g-lfo eval run --video pendulum.mp4
    """
    from lfo.acting.rounds import evaluate
    from lfo.cli._progress import bars
    from lfo.runs.folder import RunFolder
    from lfo.runs.loading import load_agent

    out = RunFolder(run)
    if video is not None:
        from lfo.acting.video import check_video

        check_video(video, overwrite=overwrite)
    agent = load_agent(out, device)
    require_trained(out, agent)
    acting_in = environment(out, env, env_kwargs)
    if agent.inverse is None:
        with out.claim("eval"):
            agent = load_agent(out, device)  # another process may have done a round meanwhile
            if agent.inverse is None:
                _first_round(out, agent, acting_in)
    with bars() as progress:
        progress.start("evaluate", episodes * len(agent.seeds))
        result = evaluate(
            agent, acting_in, episodes=episodes, seed=seed, max_steps=max_steps, on_episodes=progress.step
        )
    summary = _summary(out, agent, result)
    click.echo(json.dumps(summary) if as_json else _table(summary))
    if result.cut:
        note(
            f"{result.cut} episodes were cut after 10,000 steps: {result.env_id} has no time limit; set one with "
            "--max-steps"
        )
    if video is not None:
        _film(agent, acting_in, video, seed, overwrite)


def _first_round(out: RunFolder, agent: Agent, env: EnvLike) -> None:
    from lfo.acting.rounds import learn_inverse
    from lfo.algorithms.inverse import InverseConfig
    from lfo.cli._progress import bars

    config = InverseConfig(rounds=1)
    note(
        f"{out.path} has no inverse dynamics yet: learning them from one round of {config.interactions:,} "
        f"interactions, kept in the run (more with `d3g-lfo interact {out.path} --resume --rounds K`)"
    )
    with resumable(f"d3g-lfo eval {out.path}"), bars() as progress:
        rounds = learn_inverse(
            agent,
            env,
            config=config,
            demonstrations=demonstrations(out, agent),
            out=out,
            progress=progress,
        )
    for round_ in rounds:
        note(round_lines(round_, config.rounds, out))


def _film(agent: Agent, env: EnvLike, path: Path, seed: int, overwrite: bool) -> None:
    from lfo.acting.rounds import act
    from lfo.acting.video import record_video

    first = agent.member(0)

    def act_first(observation: np.ndarray) -> np.ndarray:
        action: np.ndarray = act(first, observation[None, None])[0, 0]
        return action

    returns = record_video(act_first, env, path, seed=seed, stream=agent.seeds[0], overwrite=overwrite)
    note(f"{path}: seed {agent.seeds[0]}, one episode, return {returns[0]:.2f}")


def _summary(out: RunFolder, agent: Agent, result: Evaluation) -> dict[str, Any]:
    info = out.info()
    fractions = [data["random_frac"] for data in info["datasets"]]
    spent = out.interactions_spent()
    members = [
        {
            "seed": seed,
            "return_mean": float(result.member_means[m]),
            "return_std": float(result.member_stds[m]),
            "interactions": spent,
            "random_frac": fractions[info["members"][m]["dataset"]],
            "dataset": info["datasets"][info["members"][m]["dataset"]]["source"],
            "stopped": result.stopped.get(m),
        }
        for m, seed in enumerate(agent.seeds)
    ]
    return {
        "env": result.env_id,
        "algo": agent.name,
        "random_frac": fractions[0] if len(set(fractions)) == 1 else None,
        "interactions": spent,
        "episodes": int(result.returns.shape[1]),
        "return_mean": result.mean,
        "return_std": result.std,
        "success_rate": result.success_rate,
        "success_return": result.threshold,
        "members": members,
    }


def _table(s: dict[str, Any]) -> str:
    several = len({member["dataset"] for member in s["members"]}) > 1
    lines = [
        f"{s['algo']} in {s['env']} after {s['interactions']:,} interactions, {s['episodes']} episodes a seed"
    ]
    labels = [
        f"seed {member['seed']}" + (f", {Path(member['dataset']).name}" if several else "")
        for member in s["members"]
    ]
    width = max(12, *map(len, labels))
    for label, member in zip(labels, s["members"], strict=True):
        lost = f"  diverged, not counted: {member['stopped']}" if member["stopped"] else ""
        lines.append(f"{label:<{width}} {member['return_mean']:10.2f} ± {member['return_std']:.2f}{lost}")
    lines.append(f"{'all':<{width}} {s['return_mean']:10.2f} ± {s['return_std']:.2f}")
    if s["success_rate"] is not None:
        lines.append(
            f"{'solved':<{width}} {s['success_rate']:10.0%} of episodes (return ≥ {s['success_return']:g})"
        )
    return "\n".join(lines)
