"""``d3g-lfo interact``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lfo.cli._common import (
    demonstrations,
    duration,
    environment,
    note,
    option,
    refuse_online,
    require_trained,
    resumable,
    round_lines,
    worse_than_data,
)

if TYPE_CHECKING:
    from lfo.acting.rounds import Round
    from lfo.algorithms.inverse import InverseConfig
    from lfo.runs.folder import RunFolder


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@option("env", shown="the data set's")
@option("rounds", shown=10)
@option("interactions", shown=1000)
@option("grad-steps", shown=2000)
@option("episodes", shown=10)
@option("hidden", help="Units in each hidden layer of I.", shown=256)
@option("set", help="Change noise, batch_size or learning_rate. Repeatable.")
@option("device")
@option("log")
@option("resume", help="Continue after the last round. Options you leave out keep their earlier values.")
@option("overwrite", help="Discard the rounds so far and start again.")
def command(
    run: Path,
    env: str | None,
    settings: dict[str, Any],
    device: str,
    log: tuple[str, ...],
    resume: bool,
    overwrite: bool,
    **options: int | None,
) -> None:
    """Learn the inverse dynamics I(s,s') of RUN from rounds of interaction, and evaluate after each.

    In each round every member acts with noise, fits I to all it has seen so far, and is evaluated. A line is printed
    per round: the mean return over members ± its standard deviation, then each member's mean. The interactions are
    kept in RUN/interactions/, the scores in RUN/evaluations.csv.

    \b
    d3g-lfo interact run
    d3g-lfo interact run --rounds 5 --interactions 1000 --grad-steps 1000
    d3g-lfo interact run --resume                # after Ctrl-C or a crash
    d3g-lfo interact run --resume --rounds 20    # ten more rounds
    """
    if resume and overwrite:
        raise click.UsageError("Pass either --resume or --overwrite, not both.")
    from lfo.runs.folder import RunFolder

    out = RunFolder(run)
    refuse_online(out)  # before a folder is made
    changes = settings | {name: value for name, value in options.items() if value is not None}
    with out.claim("interact"):
        _interact(out, env, changes, device, log, resume, overwrite)


def _interact(
    out: RunFolder,
    env: str | None,
    changes: dict[str, Any],
    device: str,
    log: tuple[str, ...],
    resume: bool,
    overwrite: bool,
) -> None:
    from lfo.acting.rounds import learn_inverse
    from lfo.cli._progress import bars
    from lfo.datasets import LfoError
    from lfo.runs.loading import load_agent
    from lfo.training.loggers import require_loggers

    require_loggers(log)
    run = out.path
    if resume and "interact" not in out.info():
        raise LfoError(
            f"{run}: --resume: expected interactions that were begun, found none; leave --resume out, and pass "
            "the options that you want"
        )
    agent = load_agent(out, device)
    require_trained(out, agent)
    if agent.inverse is not None and not (resume or overwrite):
        raise LfoError(
            f"{run}: expected a run without interactions, found some; pass --resume to continue after them "
            "or --overwrite to start again"
        )
    config = _config(out, changes, resume)
    env = environment(out, env)
    done: list[Round] = []

    def on_round(round_: Round) -> None:
        done.append(round_)
        progress.close()
        click.echo(round_lines(round_, config.rounds, out))

    with (
        resumable(f"d3g-lfo interact {run} --resume", lambda: "interact" in out.info()),
        bars() as progress,
    ):
        learn_inverse(
            agent,
            env,
            config=config,
            demonstrations=demonstrations(out, agent),
            out=out,
            resume=resume,
            progress=progress,
            log=log,
            on_round=on_round,
        )
    if not done:
        note(f"nothing left to do: {run} has its {config.rounds} rounds; add some with --resume --rounds K")
        return
    for line in worse_than_data(done[-1], out):
        note(line)
    plural = "s" if len(done) > 1 else ""
    note(f"{len(done)} round{plural} in {duration(progress.seconds)}; next: d3g-lfo eval {run}")


def _config(out: RunFolder, changes: dict[str, Any], resume: bool) -> InverseConfig:
    from lfo.algorithms.inverse import InverseConfig
    from lfo.settings import configure

    kept = out.info().get("interact", {}).get("config", {}) if resume else {}
    config = configure(InverseConfig(), kept, where=str(out.path / "run.json"))
    return configure(config, changes, where="--set")
