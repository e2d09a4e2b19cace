"""``d3g-lfo collect``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("env")
@click.option(
    "--random-frac",
    type=click.FloatRange(0, 1),
    required=True,
    metavar="F",
    help="Probability, 0 to 1, with which a step's action is replaced by a uniform random one.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="HDF5 file to write.")
@click.option(
    "--policy",
    default="expert",
    show_default=True,
    metavar="expert|random|PATH",
    help="Who acts otherwise: the built-in expert, random, a .safetensors of this project, or a "
    "Stable-Baselines3 .zip (with --trust-pickle).",
)
@click.option("--steps", type=click.IntRange(1), default=100_000, show_default=True, help="Rows to record.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same data.")
@click.option("--keep-actions", is_flag=True, help="Write the actions too. Training never reads them.")
@click.option(
    "--trust-pickle",
    is_flag=True,
    help="Load a Stable-Baselines3 zip, although that can run code hidden in it.",
)
@click.option(
    "--jobs", type=click.IntRange(1), help="Processes at most; the data stays the same.  [default: cores]"
)
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")
def command(
    env: str,
    random_frac: float,
    output: Path,
    policy: str,
    steps: int,
    seed: int,
    keep_actions: bool,
    trust_pickle: bool,
    jobs: int | None,
    overwrite: bool,
) -> None:
    """Record a policy in ENV, a Gymnasium id, into an action-free data set.

    \b
    d3g-lfo collect InvertedPendulum-v5 --random-frac 0.5 -o d.h5
    d3g-lfo collect Hopper-v5 --policy random --random-frac 1 -o hopper.h5
    """
    from tqdm import tqdm

    from lfo.datasets import check_output, save
    from lfo.datasets.collect import available_cores, collect

    check_output(output, overwrite=overwrite)
    with tqdm(total=steps, unit="step", unit_scale=True, desc=f"collect {env}", disable=None) as bar:
        data, actions = collect(
            env,
            random_frac=random_frac,
            steps=steps,
            seed=seed,
            policy=policy,
            trust_pickle=trust_pickle,
            jobs=jobs or available_cores(),
            progress=bar.update,
        )
    save(data, output, actions=actions if keep_actions else None, overwrite=overwrite)
    returns = data.episode_returns()
    click.echo(
        f"{output}: {len(data)} transitions of {data.metadata.env_id} in {data.num_episodes} episodes, "
        f"return {returns.mean():.2f} ± {returns.std():.2f}, policy {data.metadata.policy}, "
        f"random_frac {random_frac:g}, {'with' if keep_actions else 'without'} actions"
    )
