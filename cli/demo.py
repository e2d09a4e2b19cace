"""``d3g-lfo demo``: runs other commands and shows them."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

import click

from lfo.cli._common import option


@dataclass(frozen=True)
class Demo:
    """What the demonstration runs. It should take at most 8 minutes on two cores."""

    env: str = "InvertedPendulum-v5"
    random_frac: float = 1.0
    transitions: int = 100_000
    seeds: int = 2
    hidden: int = 128
    steps: int = 30_000
    # For a run this short: targets that follow faster, and C(s, τ(s)) as the aim, which is good before τ(s) is
    settings: tuple[str, ...] = ("polyak=0.02", "act_on_cycle=true")
    rounds: int = 5
    interactions: int = 1_000
    grad_steps: int = 1_000
    episodes: int = 10

    def lines(self, folder: Path, seed: int, overwrite: bool) -> list[list[str]]:
        """The words after ``d3g-lfo`` of each command."""
        data, d3g, bco = (str(folder / name) for name in ("data.h5", "d3g", "bco"))
        seeds = ["--seeds", f"{seed}-{seed + self.seeds - 1}"]
        again = ["--overwrite"] if overwrite else []
        train = ["--hidden", str(self.hidden), "--steps", str(self.steps), *seeds, *again]
        faster = [word for setting in self.settings for word in ("--set", setting)]
        interact = ["--rounds", str(self.rounds), "--interactions", str(self.interactions)]
        interact += ["--grad-steps", str(self.grad_steps), "--episodes", str(self.episodes)]
        collect = ["--random-frac", str(self.random_frac), "--steps", str(self.transitions)]
        return [
            ["collect", self.env, *collect, "--seed", str(seed), "-o", data, *again],
            ["train", data, "-o", d3g, *train, *faster],
            ["interact", d3g, *interact],
            ["train", data, "-o", bco, "--algo", "bco", *train],
            ["interact", bco, *interact],
            ["compare", d3g, bco, "-o", str(folder), *again],
        ]


DEMO = Demo()


@click.command()
@option(
    "output",
    default=Path("demo-report"),
    show_default=True,
    metavar="DIR",
    help="Folder for the data, the runs and the report.",
)
@option("seed", help="Seed of the data and of the first member.")
@option("overwrite", help="Replace an earlier demonstration.")
def command(output: Path, seed: int, overwrite: bool) -> None:
    """Do all of it on InvertedPendulum with fully random data, in a few minutes on two cores.

    Records random actions, trains D3G and BCO on the states alone, lets each interact for 5,000 steps per seed, and
    compares them with each other and with the data. Prints each command that it runs, so that you can repeat it.

    \b
    d3g-lfo demo
    d3g-lfo demo -o elsewhere --seed 10
    """
    # Before torch is imported. Networks this small are faster with one thread.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

    from lfo.atomic import check_output, make_folder
    from lfo.cli import cli
    from lfo.reporting import comparison as report
    from lfo.runs.folder import RunFolder

    report.check_free(output, overwrite=overwrite)
    if output.is_dir():
        check_output(output / "data.h5", overwrite=overwrite)
    for name in ("d3g", "bco"):
        RunFolder(output / name).check_free(overwrite=overwrite)
    make_folder(output)
    for words in DEMO.lines(output, seed, overwrite):
        click.echo(f"\n$ d3g-lfo {shlex.join(words)}")
        cli.main(words, prog_name="d3g-lfo", standalone_mode=False)
    click.echo(f"\nThe report and its plot are in {output}: {', '.join(report.FILES)}")
