"""``d3g-lfo train``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lfo.cli._common import (
    PRECISIONS,
    command_line,
    note,
    option,
    parse_seeds,
    parse_settings,
    resumable,
    seed_ranges,
)

if TYPE_CHECKING:
    from lfo.algorithms.registry import Config
    from lfo.datasets import Transitions

_STEPS = 50_000


@click.command()
@click.argument("datasets", nargs=-1, metavar="DATASET...")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="RUN", help="Folder to write."
)
@click.option("--algo", type=click.Choice(["d3g", "bco"]), help="What to learn with.  [default: d3g]")
@click.option(
    "--seeds",
    callback=parse_seeds,
    metavar="LIST",
    help="One member for each, such as 0-9 or 0,2,5-7.  [default: 0]",
)
@click.option("--steps", type=click.IntRange(1), help=f"Gradient steps in all.  [default: {_STEPS}]")
@click.option("--config", "config_file", metavar="FILE.toml", help="Settings of the algorithm, KEY = VALUE.")
@click.option(
    "--set",
    "settings",
    callback=parse_settings,
    multiple=True,
    metavar="KEY=VALUE",
    help="One such setting; repeatable.",
)
@click.option("--hidden", type=click.IntRange(1), help="Units in each hidden layer.  [default: 256]")
@click.option(
    "--precision",
    type=click.Choice(list(PRECISIONS)),
    help="Of D3G's matrix products: bf16 is for processors that have it, tf32 for GPUs.  [default: fp32]",
)
@click.option("--paper", is_flag=True, help="The published algorithm, without this project's changes.")
@option("device")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run; what is not given is as it was.")
@click.option("--overwrite", is_flag=True, help="Replace an existing run.")
@click.pass_context
def command(
    ctx: click.Context,
    datasets: tuple[str, ...],
    output: Path,
    algo: str | None,
    seeds: tuple[int, ...] | None,
    steps: int | None,
    config_file: str | None,
    settings: dict[str, Any],
    hidden: int | None,
    precision: str | None,
    paper: bool,
    device: str,
    resume: bool,
    overwrite: bool,
) -> None:
    """Fit Q(s,s'), the state predictor and the forward model offline, from data without actions.

    DATASET is a file or a named data set, as for `d3g-lfo inspect`. Every seed learns from every data set, all
    of them at once; the run folder holds the settings, the checkpoint and metrics.csv.

    \b
    d3g-lfo train d.h5 -o run --seeds 0-4
    d3g-lfo train d.h5 -o quick --hidden 128 --steps 30000
    d3g-lfo train noise-0.h5 noise-1.h5 -o sweep --seeds 0-9      # 20 members, one run
    d3g-lfo train d.h5 -o bco --algo bco                          # the baseline to compare with
    d3g-lfo train -o run --resume                                 # after Ctrl-C or a crash

    `--set cycle_weight=0.5` changes one setting, `--config` many: a TOML file with lines such as
    `gamma = 0.98`. Wrong names are answered with the list of all.
    """
    if resume and overwrite:
        raise click.UsageError("--resume and --overwrite exclude each other.")
    if not datasets and not resume:
        raise click.UsageError("Missing argument 'DATASET...'.")
    from lfo.algorithms import registry
    from lfo.cli._progress import bars, duration
    from lfo.runs.folder import RunFolder
    from lfo.runs.hardware import pick_device
    from lfo.runs.record import Member
    from lfo.training.loop import train

    pick_device(device)
    out = RunFolder(output)
    if resume:
        record = out.info()
    else:
        out.check_free(overwrite=overwrite)
        record = {"algo": "d3g", "members": [{"seed": 0}], "steps": _STEPS, "config": {}}
    algo = algo or record["algo"]
    kept = record["config"] if algo == record["algo"] else {}
    if precision is not None and algo != "d3g":
        raise click.UsageError("--precision is a setting of d3g: leave it out.")
    given = settings | PRECISIONS.get(precision or "", {}) | ({} if hidden is None else {"hidden": hidden})
    config = _config(algo, kept, config_file, given, paper)
    data = _load(datasets, out)
    if datasets or seeds:
        seeds = seeds or tuple(dict.fromkeys(member["seed"] for member in record["members"]))
        members = [Member(seed, index) for index in range(len(data)) for seed in seeds]
    else:
        members = [Member(**member) for member in record["members"]]
    if not resume:
        out.create(overwrite=overwrite)
    with resumable(f"d3g-lfo train -o {output} --resume"), bars() as progress:
        agent, _ = train(
            data,
            algo=algo,
            config=config,
            members=members,
            steps=steps or record["steps"],
            device=device,
            out=out,
            resume=resume,
            command=command_line(ctx),
            progress=progress,
        )
    if not registry.spec(algo).learns_offline:
        note(f"{algo} learns nothing offline: its work is done in `d3g-lfo interact {output}`")
    seeds_shown = seed_ranges([member.seed for member in members])
    click.echo(
        f"{output}: {algo}, {len(members)} member{'s' if len(members) > 1 else ''} (seeds {seeds_shown}), "
        f"{agent.updates:,} steps, {duration(progress.seconds)}; next: d3g-lfo interact {output}"
    )


def _config(
    algo: str,
    kept: dict[str, Any],
    config_file: str | None,
    given: dict[str, Any],
    paper: bool,
) -> Config:
    """The defaults, the paper's or the resumed run's settings; then the file's; then the options'."""
    from lfo.algorithms import registry
    from lfo.settings import configure, read_settings

    kind = registry.spec(algo).config
    config: Config = configure(kind.paper() if paper else kind(), {} if paper else kept, where="run.json")
    if config_file is not None:
        config = configure(config, read_settings(config_file), where=config_file)
    return configure(config, given, where="--set")


def _load(datasets: Sequence[str], out: Any) -> list[Transitions]:
    """The data sets named, or those of the run to resume."""
    from lfo.datasets import LfoError, load
    from lfo.runs.loading import load_data

    data = [load(name) for name in datasets] if datasets else load_data(out)
    for one in data:
        for warning in one.warnings:
            note(f"{one.metadata.source}: {warning}")
    named = {one.metadata.env_id: one.metadata.source for one in data if one.metadata.env_id}
    if len(named) > 1:
        found = ", ".join(f"{env} ({source})" for env, source in named.items())
        raise LfoError(f"data sets of one run: expected one environment, found {found}; train them apart")
    return data
