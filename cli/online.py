"""``d3g-lfo online``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lfo.algorithms import registry
from lfo.cli._common import (
    COUNT,
    command_line,
    duration,
    note,
    option,
    resumable,
    round_lines,
    seed_ranges,
    settings_of,
)

if TYPE_CHECKING:
    from lfo.acting.online import OnlineConfig
    from lfo.acting.rounds import Round

DEFAULT = registry.online_names()[0]


@click.command()
@click.argument("env", required=False, metavar="ENV")
@option("env-kwargs")
@option("output", required=True, metavar="RUN", help="Run folder to write.")
@click.option(
    "--algo",
    type=click.Choice(registry.online_names()),
    help=f"Algorithm to train.  [default: {DEFAULT}]",
)
@option("seeds", shown=0)
@option("steps", help="Environment steps of each seed in all.", shown="100000")
@click.option(
    "--start", type=COUNT, metavar="N", help="Random steps before learning starts.  [default: 10000]"
)
@click.option("--eval-every", type=COUNT, metavar="N", help="Steps between evaluations.  [default: 5000]")
@option("episodes", help="Episodes of each evaluation and seed.", shown=10)
@click.option(
    "--noise", type=float, metavar="X", help="Exploration noise, in units of a_max.  [default: 0.1]"
)
@option("set")
@option("hidden", shown=256)
@option("precision", shown="fp32")
@option("paper")
@option("device")
@option("log")
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="At the end, write all steps to a data set without actions.",
)
@click.option("--keep-actions", is_flag=True, help="With --record: store the actions too.")
@option("resume")
@option("overwrite")
@click.pass_context
def command(
    ctx: click.Context,
    env: str | None,
    env_kwargs: dict[str, Any],
    output: Path,
    algo: str | None,
    seeds: tuple[int, ...] | None,
    steps: int | None,
    start: int | None,
    eval_every: int | None,
    episodes: int | None,
    noise: float | None,
    settings: dict[str, Any],
    hidden: int | None,
    precision: str | None,
    paper: bool,
    device: str,
    log: tuple[str, ...],
    record: Path | None,
    keep_actions: bool,
    resume: bool,
    overwrite: bool,
) -> None:
    """Learn in the simulator, with actions: D3G's Q(s,s'), τ(s), forward model and inverse dynamics, online.

    ENV is a Gymnasium id; module:Name-v0 imports the module first. Every seed has an environment and a replay buffer
    of its own; all of them learn at once, a gradient step for each environment step. A line is printed for each
    evaluation. `eval`, `compare` and `export` take the run folder as any other.

    \b
    d3g-lfo online InvertedPendulum-v5 -o run --steps 30000
    d3g-lfo online Hopper-v5 -o run --seeds 0-2
    d3g-lfo online Hopper-v5 -o ablation --set cycle=false    # nothing keeps τ(s) where an action leads
    d3g-lfo online -o run --resume                             # after Ctrl-C or a crash
    d3g-lfo online Hopper-v5 -o run --record replay.h5         # a data set for `d3g-lfo train`
    """
    if resume and overwrite:
        raise click.UsageError("Pass either --resume or --overwrite, not both.")
    if env is None and not resume:
        raise click.UsageError("Missing argument 'ENV'.")
    if keep_actions and record is None:
        raise click.UsageError("--keep-actions goes with --record.")
    from lfo.acting.online import learn_online
    from lfo.atomic import check_output
    from lfo.cli._progress import bars
    from lfo.envs.faults import opened
    from lfo.envs.make import with_kwargs
    from lfo.runs.folder import RunFolder
    from lfo.runs.hardware import pick_device
    from lfo.training.loggers import require_loggers

    pick_device(device)
    require_loggers(log)
    out = RunFolder(output)
    if record is not None:
        check_output(record, overwrite=overwrite)
    if resume:
        kept = out.info()
        _require_online(out, kept)
    else:
        out.check_free(overwrite=overwrite)
        kept = {"algo": algo or DEFAULT, "members": [{"seed": 0}], "config": {}, "online": {}}
    env, env_kwargs = _environment(kept.get("interact", {}), env, env_kwargs)
    spec = registry.spec(algo or kept["algo"])
    given = dict(settings) | ({} if hidden is None else {"hidden": hidden})
    given |= {} if precision is None else {"precision": precision}
    config = settings_of(spec, kept["config"], None, given, paper)
    options = {"steps": steps, "start": start, "eval_every": eval_every, "episodes": episodes, "noise": noise}
    online = _online(kept["online"], options)
    with opened(with_kwargs(env, env_kwargs)):
        pass  # an unknown environment is told before a folder is made
    members = seeds or tuple(member["seed"] for member in kept["members"])
    done: list[Round] = []

    def on_round(round_: Round) -> None:
        done.append(round_)
        progress.close()
        click.echo(round_lines(round_, online.rounds, out))

    with (
        out.claim("online"),
        resumable(f"d3g-lfo online -o {output} --resume", (output / "run.json").is_file),
        bars() as progress,
    ):
        if not resume:
            out.create(overwrite=overwrite)
        agent = learn_online(
            env,
            env_kwargs=env_kwargs,
            algorithm=spec.cls,
            config=config,
            online=online,
            seeds=members,
            device=device,
            out=out,
            resume=resume,
            command=command_line(ctx),
            progress=progress,
            log=log,
            record=record,
            keep_actions=keep_actions,
            on_round=on_round,
        )
    if agent.stopped:
        lost = ", ".join(str(agent.seeds[m]) for m in sorted(agent.stopped))
        note(f"seed {lost} diverged and will not be counted; the others are fine")
    if not done:
        note(
            f"nothing left to do: {output} has its {online.rounds} evaluations; add steps with --resume --steps N"
        )
    note(
        f"{output}: {agent.name}, seeds {seed_ranges(list(members))}, {duration(progress.seconds)}; "
        f"next: d3g-lfo eval {output}"
    )


def _online(kept: dict[str, Any], options: dict[str, Any]) -> OnlineConfig:
    from lfo.acting.online import OnlineConfig
    from lfo.settings import configure

    online = configure(OnlineConfig(), kept, where="run.json")
    given = {name: value for name, value in options.items() if value is not None}
    return configure(online, given, where="online")


def _environment(
    stage: dict[str, Any], env: str | None, env_kwargs: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The environment given, or the run's; the run's own arguments stay unless they are given anew."""
    recorded = stage.get("env_kwargs", {}) if env in (None, stage.get("env")) else {}
    return env or str(stage["env"]), {**recorded, **env_kwargs}


def _require_online(out: Any, info: dict[str, Any]) -> None:
    from lfo.errors import LfoError

    if "online" not in info:
        raise LfoError(
            f"{out.path}: --resume: expected a run of `d3g-lfo online`, found one of `d3g-lfo train`; continue it "
            f"with `d3g-lfo train -o {out.path} --resume`"
        )
