"""``d3g-lfo convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lfo.cli._common import note, option


@click.command()
@click.argument("logs", nargs=-1, required=True, metavar="LOGS...")
@click.option("--recipe", metavar="R.toml", help="Which columns make the state, the reward and the episodes.")
@option("output", required=True, help="HDF5 file to write.")
@option("set", help="Set one key of the recipe, in place of the file's or without one. Repeatable.")
@option("overwrite")
def command(
    logs: tuple[str, ...], recipe: str | None, output: Path, settings: dict[str, Any], overwrite: bool
) -> None:
    """Turn LOGS, such as CSV files, into a data set without actions.

    LOGS are CSV, TSV, Parquet or JSON lines, gzip of one, or quoted patterns. One file is one episode, unless the
    recipe names a column of episodes. docs/logs.md explains the recipe.

    \b
    d3g-lfo convert logs/*.csv --recipe pendulum.toml -o d.h5
    d3g-lfo convert 'logs/*.parquet' --recipe pendulum.toml --set dt=0.05 -o slow.h5
    d3g-lfo convert walk.csv --set "state=['x', 'v']" --set "reward='next_x - x'" -o walk.h5

    Expressions in a recipe are never run as Python. Only a reward of the form module:function is, and a note says so.
    """
    if recipe is None and not settings:
        raise click.UsageError("Missing option '--recipe': name its TOML file, or set its keys with --set.")
    from lfo.datasets import check_output, from_logs, read_recipe, save
    from lfo.locks import output_lock

    read = read_recipe({} if recipe is None else recipe, settings)
    check_output(output, overwrite=overwrite)
    if read.reward_function is not None:
        note(f"{read.source}: the reward is the Python function {read.reward_function}, which is run now")
    with output_lock(output, "convert"):
        data = from_logs(logs, read)
        for warning in data.warnings:
            note(warning)
        save(data, output, overwrite=overwrite)
    dropped = f", {data.metadata.dropped:,} rows left out" if data.metadata.dropped else ""
    click.echo(
        f"{output}: {len(data):,} transitions of {data.state_dim}-dimensional states in {data.num_episodes:,} "
        f"episode{'s' if data.num_episodes > 1 else ''}{dropped}; next: d3g-lfo inspect {output}"
    )
