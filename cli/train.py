"""``d3g-lfo train``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lfo.algorithms import registry
from lfo.cli._common import (
    command_line,
    duration,
    note,
    option,
    refuse_online,
    resumable,
    seed_ranges,
    settings_of,
)

if TYPE_CHECKING:
    from lfo.datasets import Transitions
    from lfo.runs.folder import RunFolder

_STEPS = 50_000


@click.command()
@click.argument("datasets", nargs=-1, metavar="DATASET...")
@option("output", required=True, metavar="RUN", help="Run folder to write.")
@option("algo", shown=registry.DEFAULT)
@option("seeds", shown=0)
@option("steps", shown=_STEPS)
@click.option("--config", "config_file", metavar="FILE.toml", help="Settings of the algorithm, KEY = VALUE.")
@option("set")
@option("hidden", shown=256)
@option("precision", shown="fp32")
@option("paper")
@option("device")
@option("log")
@option("resume")
@option("overwrite")
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
    log: tuple[str, ...],
    resume: bool,
    overwrite: bool,
) -> None:
    """Learn offline from data without actions. D3G learns Q(s,s'), the next state to aim for, and a forward model.

    DATASET is a file or a named data set, as for `d3g-lfo inspect`. Every seed learns from every data set, all of them
    at once. The run folder holds the settings, the checkpoint and metrics.csv.

    \b
    d3g-lfo train d.h5 -o run --seeds 0-4
    d3g-lfo train d.h5 -o quick --hidden 128 --steps 30000
    d3g-lfo train noise-0.h5 noise-1.h5 -o sweep --seeds 0-9      # 20 members, one run
    d3g-lfo train d.h5 -o bco --algo bco                          # the baseline to compare with
    d3g-lfo train -o run --resume                                 # after Ctrl-C or a crash

    `--set cycle_weight=0.5` changes one setting; `--config` takes a TOML file with lines such as `gamma = 0.98`.
    """
    if resume and overwrite:
        raise click.UsageError("Pass either --resume or --overwrite, not both.")
    if not datasets and not resume:
        raise click.UsageError("Missing argument 'DATASET...'.")
    from lfo.cli._progress import bars
    from lfo.runs.folder import RunFolder
    from lfo.runs.hardware import pick_device
    from lfo.runs.record import Member
    from lfo.training.loggers import require_loggers
    from lfo.training.loop import train

    pick_device(device)
    require_loggers(log)
    out = RunFolder(output)
    if resume:
        refuse_online(out)
        record = out.info()
    else:
        out.check_free(overwrite=overwrite)
        record = {"algo": registry.DEFAULT, "members": [{"seed": 0}], "steps": _STEPS, "config": {}}
    algo = algo or str(record["algo"])
    spec = registry.spec(algo)
    kept = record["config"] if algo == record["algo"] else {}
    given = dict(settings) | ({} if hidden is None else {"hidden": hidden})
    if precision is not None:
        if precision not in spec.precisions:
            raise click.UsageError(
                f"--precision: {algo} supports {', '.join(spec.precisions)}, found {precision}."
            )
        given |= {"precision": precision} if len(spec.precisions) > 1 else {}
    config = settings_of(spec, kept, config_file, given, paper)
    data = _load(datasets, out)
    if datasets or seeds:
        seeds = seeds or tuple(dict.fromkeys(member["seed"] for member in record["members"]))
        members = [Member(seed, index) for index in range(len(data)) for seed in seeds]
    else:
        members = [Member(**member) for member in record["members"]]
    with (
        out.claim("train"),
        resumable(f"d3g-lfo train -o {output} --resume", (output / "run.json").is_file),
        bars() as progress,
    ):
        if not resume:
            out.create(overwrite=overwrite)
        agent, _ = train(
            data,
            algorithm=spec.cls,
            config=config,
            members=members,
            steps=steps or record["steps"],
            device=device,
            out=out,
            resume=resume,
            command=command_line(ctx),
            progress=progress,
            log=log,
        )
    if not spec.learns_offline:
        note(f"{algo} learns nothing offline; it learns in `d3g-lfo interact {output}`")
    if agent.stopped:
        seeds_lost = ", ".join(str(agent.seeds[m]) for m in sorted(agent.stopped))
        note(f"seed {seeds_lost} diverged and will not be counted; the others are fine")
    seeds_shown = seed_ranges([member.seed for member in members])
    click.echo(
        f"{output}: {algo}, {len(members)} member{'s' if len(members) > 1 else ''} (seeds {seeds_shown}), "
        f"{agent.updates:,} steps, {duration(progress.seconds)}; next: d3g-lfo interact {output}"
    )


def _load(datasets: Sequence[str], out: RunFolder) -> list[Transitions]:
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
        raise LfoError(
            f"data sets of one run: expected one environment, found {found}; train them in separate runs"
        )
    return data
