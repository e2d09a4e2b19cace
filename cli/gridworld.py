"""``d3g-lfo gridworld``."""

from __future__ import annotations

import importlib
import shlex
import shutil
from pathlib import Path
from typing import Any

import click

from lfo.atomic import check_folder, make_folder, write_whole
from lfo.cli._common import option, resumable
from lfo.tabular.experiments import EPISODES, EXPERIMENTS, run_experiments


@click.group()
def command() -> None:
    """Reproduce the paper's tabular experiments: QSS against Q-learning on an 11×11 grid.

    \b
    d3g-lfo gridworld all -o report                 # published size: about ten minutes on one core
    d3g-lfo gridworld redundant -o quick --trials 5 --episodes 5000
    d3g-lfo gridworld dataset -o walk.h5            # a random walk for `d3g-lfo train`

    Needs numba: pip install numba
    """


_OPTIONS = [
    option("output", required=True, help="Folder for the report."),
    option(
        "trials", type=click.IntRange(1, 1000), help="Trials of each curve.", shown="as published, 50 or 10"
    ),
    option("episodes", default=EPISODES, show_default=True, help="Episodes of each trial."),
    option("seed", help="Seed of all trials."),
    option("jobs", shown="cores"),
    option("resume", help="Continue an interrupted run: run only the missing trials."),
    option("overwrite", help="Replace the report in the folder."),
]


def _add(name: str, experiments: list[str], text: str) -> None:
    """Register the command that runs some experiments."""

    def run(output: Path, resume: bool, overwrite: bool, jobs: int | None, **options: Any) -> None:
        importlib.import_module("lfo.tabular.learners")  # without numba, stop before anything is written
        if resume and overwrite:
            raise click.UsageError("--resume and --overwrite cannot be combined; pass one of them")
        check_folder(output, owner="run.json", overwrite=overwrite, resume=resume)
        make_folder(output)
        from lfo.cli._progress import bars
        from lfo.locks import claimed
        from lfo.processes import available_cores
        from lfo.tabular.report import write_report

        begun = f"d3g-lfo gridworld {name} -o {shlex.quote(str(output))} --resume"
        with (
            claimed(output / ".lock", f"gridworld {name}", of=output),
            resumable(begun, (output / "run.json").is_file),
            bars() as shown,
        ):
            _clear(output, overwrite)
            before: list[int] = []

            def progress(done: int, total: int) -> None:
                if before:
                    shown.step(done - before[-1])
                else:
                    shown.start("trials", total, done)
                before.append(done)

            jobs = jobs or available_cores()
            tasks = run_experiments(output, experiments, jobs=jobs, progress=progress, **options)
            findings = write_report(output, tasks)
        click.echo(findings)

    run.__doc__ = (
        f"{text}.\n\nWrites curves (CSV), figures (PNG), results.json and findings.md; prints the findings."
    )
    for add in reversed(_OPTIONS):
        run = add(run)
    command.command(name, short_help=text)(run)


for _name, _experiment in EXPERIMENTS.items():
    _add(_name, [_name], _experiment.title)
_add("all", list(EXPERIMENTS), "All five experiments in one report")


def _clear(output: Path, overwrite: bool) -> None:
    """Remove what killed processes left half written, and the trials that are to be replaced."""
    for left in output.rglob(".*.tmp"):
        left.unlink(missing_ok=True)
    if overwrite:
        shutil.rmtree(output / "trials", ignore_errors=True)
        (output / "run.json").unlink(missing_ok=True)


@command.command("dataset", short_help="A random walk as a data set without actions")
@option("output", required=True, help="File to write, .h5.")
@option("steps", default=100_000, show_default=True, help="Transitions to record.")
@option("seed", help="Seed of the walk.")
@click.option(
    "--slip",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Probability that an action is replaced by a random one.",
)
@click.option("--windy-cliff", is_flag=True, help="Use the grid with the windy cliff.")
@option("overwrite", help="Replace the file.")
def dataset(output: Path, steps: int, seed: int, slip: float, windy_cliff: bool, overwrite: bool) -> None:
    """Record a random walk on the grid as a data set without actions.

    A state is (row, column). `d3g-lfo inspect` and `d3g-lfo train` read the file.
    """
    from lfo.datasets.writer import save
    from lfo.locks import output_lock
    from lfo.tabular.dataset import random_walk_dataset
    from lfo.training.interrupts import interruptible

    with output_lock(output, "gridworld dataset"):
        with interruptible():  # numba's callbacks would lose a Ctrl-C
            data = random_walk_dataset(steps, seed, slip=slip, windy_cliff=windy_cliff)
        save(data, output, overwrite=overwrite)
    click.echo(f"{output}: {len(data)} transitions, {data.num_episodes} episodes")


@command.command("cycle", short_help="What the cycle is for: D3G with actions, with it and without")
@option("output", required=True, help="Folder for the two runs and the picture.")
@option("seeds", help="One member each, such as 0-2.", shown="0-2")
@option("steps", default=30_000, show_default=True, help="Environment steps of each seed.")
@option("hidden", default=128, show_default=True)
@option("resume", help="Continue an interrupted run.")
@option("overwrite", help="Replace the folder.")
@click.pass_context
def cycle(
    ctx: click.Context,
    output: Path,
    seeds: tuple[int, ...] | None,
    steps: int,
    hidden: int,
    resume: bool,
    overwrite: bool,
) -> None:
    """Train D3G with actions on the grid, with the cycle and without, and draw where τ(s) points.

    Prints the share of the proposals τ(s) that no action reaches, and the return of the learned policy. cycle.png has an
    arrow for each state; with/ and without/ are run folders, as `d3g-lfo online` makes them.
    """
    from lfo.cli._common import command_line
    from lfo.cli._progress import bars
    from lfo.locks import claimed
    from lfo.tabular.cycle import run_cycle

    if resume and overwrite:
        raise click.UsageError("--resume and --overwrite cannot be combined; pass one of them")
    check_folder(output, owner="cycle.json", overwrite=overwrite, resume=resume)
    make_folder(output)
    with (
        claimed(output / ".lock", "gridworld cycle", of=output),
        resumable(f"d3g-lfo gridworld cycle -o {shlex.quote(str(output))} --resume"),
        bars() as progress,
    ):
        if overwrite:
            for name in ("with", "without"):
                shutil.rmtree(output / name, ignore_errors=True)
        write_whole(output / "cycle.json", "{}\n")  # marks the folder as ours
        line = command_line(ctx)
        findings = run_cycle(
            output, seeds or (0, 1, 2), steps=steps, hidden=hidden, progress=progress, command=line
        )
    click.echo(findings)
