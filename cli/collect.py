"""``d3g-lfo collect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lfo.cli._common import option

if TYPE_CHECKING:
    from lfo.datasets.policies import Policy
    from lfo.envs.make import EnvLike


@click.command()
@click.argument("env")
@option("env-kwargs")
@click.option(
    "--random-frac",
    type=click.FloatRange(0, 1),
    metavar="F",
    help="Probability, 0 to 1, that a step takes a uniform random action instead of the policy's. "
    "Required, except with --policy random.",
)
@option("output", required=True, help="HDF5 file to write.")
@click.option(
    "--policy",
    default="expert",
    show_default=True,
    metavar="expert|random|RUN|PATH",
    help="Who acts: the built-in expert, uniform random actions, a run folder that has interacted, a "
    ".safetensors file from `d3g-lfo export`, or a Stable-Baselines3 .zip (with --trust-pickle).",
)
@option("member", help="With --policy RUN: which member acts.", shown=0)
@option("steps", default=100_000, show_default=True, help="Rows to record.")
@option("seed", help="Random seed. The same seed gives the same data.")
@click.option("--keep-actions", is_flag=True, help="Store the actions too. Training never reads them.")
@click.option(
    "--trust-pickle", is_flag=True, help="Load a Stable-Baselines3 zip. It can run any code hidden in it."
)
@option("jobs", help="Processes to use, at most. The data does not depend on it.", shown="cores")
@option("overwrite")
def command(
    env: str,
    env_kwargs: dict[str, Any],
    random_frac: float | None,
    output: Path,
    policy: str,
    member: int | None,
    steps: int,
    seed: int,
    keep_actions: bool,
    trust_pickle: bool,
    jobs: int | None,
    overwrite: bool,
) -> None:
    """Record a policy in ENV into a data set without actions.

    ENV is a Gymnasium id; module:Name-v0 imports the module first. With --random-frac 1 all actions are
    random, and no policy is needed.

    \b
    d3g-lfo collect InvertedPendulum-v5 --random-frac 0.5 -o d.h5
    d3g-lfo collect Hopper-v5 --policy random -o hopper.h5
    d3g-lfo collect Reacher-v5 --policy run --random-frac 0 -o better.h5
    """
    from lfo.cli._progress import bars
    from lfo.datasets import check_output, save
    from lfo.datasets.collect import collect
    from lfo.datasets.policies import is_trained_policy
    from lfo.envs.make import with_kwargs
    from lfo.errors import LfoError
    from lfo.locks import output_lock
    from lfo.processes import available_cores

    if random_frac is None and policy != "random":
        raise click.UsageError(
            "Missing option '--random-frac': pass 1 for random actions only, 0 for the policy alone."
        )
    run = random_frac != 1 and (Path(policy) / "run.json").is_file()
    if member is not None and not run:
        raise click.UsageError(
            "--member: only with --policy RUN, the folder of a run, and --random-frac below 1."
        )
    check_output(output, overwrite=overwrite)
    with output_lock(output, "collect"):
        trained = run or (random_frac != 1 and is_trained_policy(policy))
        actor = _trained(Path(policy), with_kwargs(env, env_kwargs), member or 0) if trained else policy
        try:
            with bars() as progress:
                progress.start(f"collect {env}", steps)
                data, actions = collect(
                    env,
                    env_kwargs=env_kwargs,
                    random_frac=random_frac,
                    steps=steps,
                    seed=seed,
                    policy=actor,
                    trust_pickle=trust_pickle,
                    jobs=jobs or available_cores(),
                    progress=progress.step,
                )
        except KeyboardInterrupt as error:
            raise LfoError("interrupted; nothing was written") from error
        save(data, output, actions=actions if keep_actions else None, overwrite=overwrite)
    returns = data.episode_returns()
    click.echo(
        f"{output}: {len(data)} transitions of {data.metadata.env_id} in {data.num_episodes} episodes, "
        f"return {returns.mean():.2f} ± {returns.std():.2f}, policy {data.metadata.policy}, "
        f"random_frac {data.metadata.random_frac:g}, {'with' if keep_actions else 'without'} actions"
    )


def _trained(path: Path, env: EnvLike, member: int) -> Policy:
    """The policy of a run or of a file that was exported from one."""
    from lfo.envs.faults import opened
    from lfo.runs.policy import load_run_policy

    with opened(env) as made:
        return load_run_policy(path, made, member=member)
