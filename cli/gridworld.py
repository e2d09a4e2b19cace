"""``d3g-lfo gridworld``."""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from lfo.errors import LfoError
from lfo.tabular.experiments import EPISODES, EXPERIMENTS, run_experiments


@click.group()
def command() -> None:
    """Reproduce the paper's tabular experiments: QSS against Q-learning on the 11×11 grid.

    \b
    d3g-lfo gridworld all -o report                             # published size, some minutes
    d3g-lfo gridworld redundant -o report --trials 5 --episodes 5000
    d3g-lfo gridworld dataset -o walk.h5                        # a random walk for `d3g-lfo train`

    Needs the extra `tabular`: pip install 'd3g-lfo[tabular]'.
    """


def _cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_OPTIONS = [
    click.option(
        "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder of the report."
    ),
    click.option(
        "--trials",
        type=click.IntRange(1, 1000),
        help="Trials of each curve.  [default: 50, or 10 where random]",
    ),
    click.option(
        "--episodes",
        type=click.IntRange(1),
        default=EPISODES,
        show_default=True,
        help="Episodes of each trial.",
    ),
    click.option(
        "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the trials' seeds."
    ),
    click.option(
        "--jobs", type=click.IntRange(1), default=None, help="Processes; changes no result.  [default: cores]"
    ),
    click.option("--resume", is_flag=True, help="Go on with a run: only missing trials are run."),
    click.option("--overwrite", is_flag=True, help="Replace the report in the folder."),
]


def _add(name: str, experiments: list[str], text: str) -> None:
    """Register the command that runs some experiments."""

    def run(output: Path, resume: bool, overwrite: bool, jobs: int | None, **options: Any) -> None:
        importlib.import_module("lfo.tabular.learners")  # if numba is missing, nothing is touched
        _prepare(output, resume, overwrite)
        with tqdm(desc=name, unit="trial", smoothing=0) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            tasks = run_experiments(output, experiments, jobs=jobs or _cores(), progress=progress, **options)
        from lfo.tabular.report import write_report

        click.echo(write_report(output, tasks))

    run.__doc__ = (
        f"{text}.\n\nWrites curves (CSV), figures (PNG), results.json and findings.md; prints the last."
    )
    for option in reversed(_OPTIONS):
        run = option(run)
    command.command(name, short_help=text)(run)


for _name, _experiment in EXPERIMENTS.items():
    _add(_name, [_name], _experiment.title)
_add("all", list(EXPERIMENTS), "All of the above, into one report")


def _prepare(output: Path, resume: bool, overwrite: bool) -> None:
    """Refuse a folder with something in it, unless it is our report and we were told what to do with it."""
    if resume and overwrite:
        raise click.UsageError("--resume and --overwrite exclude each other")
    _make_folder(output)
    if not any(output.iterdir()):
        return
    if not (output / "run.json").is_file():
        raise LfoError(
            f"{output}: output: expected an empty folder or a gridworld report (run.json), found other "
            "files; give another folder"
        )
    if overwrite:
        shutil.rmtree(output / "trials", ignore_errors=True)
        (output / "run.json").unlink()
    elif not resume:
        raise LfoError(
            f"{output}: output: expected a new folder, found a report; pass --resume to go on with it, or "
            "--overwrite to replace it"
        )


def _make_folder(output: Path) -> None:
    """Make the folder, or say in one line why it cannot be written to."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise LfoError(
            f"{output}: output: expected a folder to write to, found: {error.strerror}; give another one, or "
            "mend its permissions"
        ) from error


@command.command("dataset", short_help="Record a random walk as an action-free data set")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write, .h5.")
@click.option(
    "--steps", type=click.IntRange(1), default=100_000, show_default=True, help="Transitions to record."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the walk.")
@click.option(
    "--slip",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Probability that an action slips.",
)
@click.option("--windy-cliff", is_flag=True, help="The grid with the windy cliff.")
@click.option("--overwrite", is_flag=True, help="Replace the file.")
def dataset(output: Path, steps: int, seed: int, slip: float, windy_cliff: bool, overwrite: bool) -> None:
    """Record uniformly random actions on the grid as a data set without actions.

    States are (row, column). `d3g-lfo inspect` and `d3g-lfo train` read the file.
    """
    from lfo.datasets.writer import save
    from lfo.tabular.dataset import random_walk_dataset

    data = random_walk_dataset(steps, seed, slip=slip, windy_cliff=windy_cliff)
    save(data, output, overwrite=overwrite)
    click.echo(f"{output}: {len(data)} transitions, {data.num_episodes} episodes")
