"""``d3g-lfo interact``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lfo.cli._common import (
    demonstrations,
    environment,
    note,
    option,
    parse_settings,
    require_trained,
    resumable,
    round_lines,
)

if TYPE_CHECKING:
    from lfo.acting.rounds import Round
    from lfo.algorithms.inverse import InverseConfig
    from lfo.runs.folder import RunFolder


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--env", metavar="ENV", help="Gymnasium id.  [default: the data set's]")
@click.option("--rounds", type=click.IntRange(1), help="Rounds in all.  [default: 10]")
@click.option(
    "--interactions", type=click.IntRange(1), help="Environment steps a round and member.  [default: 1000]"
)
@click.option("--grad-steps", type=click.IntRange(1), help="Gradient steps a round.  [default: 2000]")
@click.option("--episodes", type=click.IntRange(1), help="Episodes to evaluate a round.  [default: 10]")
@click.option("--hidden", type=click.IntRange(1), help="Units in each hidden layer of I.  [default: 256]")
@click.option(
    "--set",
    "settings",
    callback=parse_settings,
    multiple=True,
    metavar="KEY=VALUE",
    help="noise, batch_size or learning_rate; repeatable.",
)
@option("device")
@click.option("--resume", is_flag=True, help="Go on after the last round; what is not given is as it was.")
@click.option("--overwrite", is_flag=True, help="Forget the rounds so far and start again.")
def command(
    run: Path,
    env: str | None,
    settings: dict[str, Any],
    device: str,
    resume: bool,
    overwrite: bool,
    **options: int | None,
) -> None:
    """Learn the inverse dynamics I(s,s') of RUN from rounds of interaction, evaluating after each.

    A round lets every member act with noise, fits I to all it has seen so far, and measures the policy. What
    is printed is the mean return over members ± its standard deviation, then each member's mean. Environment
    steps are the budget: they are kept in RUN/interactions.h5, the scores in RUN/evaluations.csv.

    \b
    d3g-lfo interact run
    d3g-lfo interact run --rounds 5 --interactions 1000 --grad-steps 1000
    d3g-lfo interact run --resume                # after Ctrl-C or a crash
    d3g-lfo interact run --resume --rounds 20    # ten rounds more
    """
    if resume and overwrite:
        raise click.UsageError("--resume and --overwrite exclude each other.")
    from lfo.acting.rounds import learn_inverse
    from lfo.cli._progress import bars, duration
    from lfo.datasets import LfoError
    from lfo.runs.folder import RunFolder
    from lfo.runs.loading import load_agent

    out = RunFolder(run)
    agent = load_agent(out, device)
    require_trained(out, agent)
    if agent.inverse is not None and not (resume or overwrite):
        raise LfoError(
            f"{run}: expected a run without interactions, found some; pass --resume to go on after them "
            "or --overwrite to start again"
        )
    changes = settings | {name: value for name, value in options.items() if value is not None}
    config = _config(out, changes, resume)
    env = environment(out, env)
    done: list[Round] = []

    def on_round(round_: Round) -> None:
        done.append(round_)
        progress.close()
        click.echo(round_lines(round_, config.rounds, out))

    with resumable(f"d3g-lfo interact {run} --resume"), bars() as progress:
        learn_inverse(
            agent,
            env,
            config=config,
            demonstrations=demonstrations(out, agent),
            out=out,
            resume=resume,
            progress=progress,
            on_round=on_round,
        )
    if done:
        note(
            f"{len(done)} round{'s' if len(done) > 1 else ''} in {duration(progress.seconds)}; next: d3g-lfo eval {run}"
        )
    else:
        note(f"nothing left to do: {run} has its {config.rounds} rounds; more with --resume --rounds K")


def _config(out: RunFolder, changes: dict[str, Any], resume: bool) -> InverseConfig:
    from lfo.algorithms.inverse import InverseConfig
    from lfo.settings import configure

    kept = out.info().get("interact", {}).get("config", {}) if resume else {}
    config = configure(InverseConfig(), kept, where=str(out.path / "run.json"))
    return configure(config, changes, where="--set")
