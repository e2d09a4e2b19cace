"""What several commands share: their options, the line for the record, and what they all do with a run."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lfo.algorithms import registry
from lfo.errors import LfoError

if TYPE_CHECKING:
    from lfo.acting.rounds import Round
    from lfo.algorithms.protocol import Agent, Config
    from lfo.envs.make import EnvLike
    from lfo.runs.folder import RunFolder
    from lfo.training.sources import Table


CommandT = TypeVar("CommandT", bound=Callable[..., Any])
COUNT = click.IntRange(1)


# Options ---------------------------------------------------------------------------------------------------------


def parse_seeds(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """``0,2,5-7`` is (0, 2, 5, 6, 7)."""
    if value is None:
        return None
    seeds: list[int] = []
    for part in value.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        last = last if dash else first
        if not (first.isascii() and first.isdigit() and last.isascii() and last.isdigit()):
            raise click.BadParameter(f"expected seeds such as 3, 0-9 or 0,2,5-7, found {value!r}")
        if len(last) > 18 or len(first) > 18:
            raise click.BadParameter(f"expected seeds of at most 18 digits, found {part.strip()!r}")
        if not 0 <= int(last) - int(first) < 10_000:
            raise click.BadParameter(
                f"expected a rising range of at most 10,000 seeds, found {part.strip()!r}"
            )
        seeds += range(int(first), int(last) + 1)
    if len(set(seeds)) < len(seeds):
        raise click.BadParameter(f"expected every seed once, found {value!r}")
    return tuple(seeds)


def parse_settings(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """``("hidden=128",)`` is {"hidden": 128}."""
    from lfo.settings import parse_setting

    try:
        return dict(map(parse_setting, values))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


class Algorithm(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic in newer clicks
    """The name of a registered algorithm."""

    name = "algorithm"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """``[d3g|bco]``."""
        return f"[{'|'.join(registry.names())}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check the name without importing the algorithm."""
        if value not in registry.names():
            self.fail(f"expected one of {', '.join(registry.names())}, found {value!r}", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """The names that begin with what was typed."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(name) for name in registry.names() if name.startswith(incomplete)]


_OPTIONS: dict[str, dict[str, Any]] = {
    "algo": {"type": Algorithm(), "help": "Algorithm to train."},
    "env": {"metavar": "ENV", "help": "Gymnasium id of the environment, or module:id."},
    "env-kwargs": {
        "callback": parse_settings,
        "multiple": True,
        "metavar": "KEY=VALUE",
        "help": "An argument that the environment is made with, such as gravity=5. Repeatable.",
    },
    "seeds": {
        "callback": parse_seeds,
        "metavar": "LIST",
        "help": "Train one member per seed, such as 0-9 or 0,2,5-7.",
    },
    "steps": {"type": COUNT, "help": "Offline gradient steps in all."},
    "rounds": {"type": COUNT, "help": "Rounds of interaction in all."},
    "interactions": {"type": COUNT, "help": "Environment steps per round and member."},
    "grad-steps": {"type": COUNT, "help": "Gradient steps per round."},
    "episodes": {"type": COUNT, "help": "Evaluation episodes per member and round."},
    "hidden": {"type": COUNT, "help": "Units in each hidden layer."},
    "json": {"name": "as_json", "is_flag": True, "help": "Print one JSON object instead of the table."},
    "member": {"type": click.IntRange(0)},
    "output": {"short": "-o", "type": click.Path(path_type=Path)},
    "precision": {
        "type": click.Choice(["fp32", "tf32", "bf16"]),
        "help": "Number format of matrix products: bf16 needs a processor that supports it, tf32 a GPU.",
    },
    "paper": {"is_flag": True, "help": "Use the published algorithm, without this project's changes."},
    "seed": {"type": click.IntRange(0, 10**18), "default": 0, "show_default": True},
    "set": {
        "name": "settings",
        "callback": parse_settings,
        "multiple": True,
        "metavar": "KEY=VALUE",
        "help": "Change one setting. Repeatable; a misspelt setting gets an error that lists the valid ones.",
    },
    "device": {
        "type": click.Choice(["auto", "cpu", "cuda"]),
        "default": "auto",
        "show_default": True,
        "help": "Where to compute; auto uses a GPU if there is one.",
    },
    "jobs": {"type": COUNT, "help": "Processes to use; the results stay the same."},
    "resume": {
        "is_flag": True,
        "help": "Continue an interrupted run. Options you leave out keep their earlier values.",
    },
    "log": {
        "type": click.Choice(["tensorboard", "wandb", "mlflow", "trackio"]),
        "multiple": True,
        "help": "Also send losses and returns there; RUN has them as CSV in any case. Repeatable.",
    },
    "overwrite": {"is_flag": True, "help": "Replace an existing output."},
}


def option(
    name: str, *, shown: object = None, flag: str | None = None, **changes: Any
) -> Callable[[CommandT], CommandT]:
    """An option; one that several commands have brings the text that they share.

    Args:
        name: without the dashes, such as ``hidden``. ``set`` arrives as ``settings``.
        shown: the default that help names, for an option that is None unless given.
        flag: the option's own name where it differs, such as ``--episodes-per-round``.
        **changes: to :func:`click.option`, such as ``help`` or ``default``.
    """
    settings = _OPTIONS.get(name, {}) | changes
    if isinstance(settings.get("type"), click.IntRange):
        settings.setdefault("metavar", "N")
    if shown is not None:
        settings["help"] += f"  [default: {shown}]"
    names = [settings.pop("short", None), flag or f"--{name}", settings.pop("name", None)]
    return click.option(*filter(None, names), **settings)


# Words -----------------------------------------------------------------------------------------------------------


def seed_ranges(seeds: list[int]) -> str:
    """The inverse of :func:`parse_seeds`: [0, 1, 2, 5] is ``0-2,5``."""
    parts: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if parts and parts[-1][-1] == seed - 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def note(text: str) -> None:
    """Print one line on stderr that is not a result."""
    click.echo(f"note: {' '.join(text.split())}", err=True)


def command_line(ctx: click.Context) -> str:
    """The command line, for ``run.json``."""
    return shlex.join(ctx.meta["lfo.line"])


def duration(seconds: float) -> str:
    """``3m12s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


@contextmanager
def resumable(remedy: str, begun: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Turn an interruption inside the block into an error that says how to continue.

    Args:
        remedy: the command that continues.
        begun: whether there is something to continue.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        if not begun():
            raise
        raise LfoError(f"interrupted; finished work is saved, continue with `{remedy}`") from error


# Runs ------------------------------------------------------------------------------------------------------------


def settings_of(
    spec: registry.Spec, kept: dict[str, Any], config_file: str | None, given: dict[str, Any], paper: bool
) -> Config:
    """The defaults, the paper's or the resumed run's settings; then the file's; then the options'."""
    from lfo.settings import configure, read_settings, upgrade_config

    base = spec.config.paper() if paper else spec.config()
    config: Config = configure(base, {} if paper else upgrade_config(kept), where="run.json")
    if config_file is not None:
        config = configure(config, read_settings(config_file), where=config_file)
    return configure(config, given, where="--set")


def refuse_online(out: RunFolder) -> None:
    """Refuse a run that learns online, which only ``online`` continues.

    Raises:
        LfoError: it is one.
    """
    if "online" in out.info():
        raise LfoError(
            f"{out.path}: expected a run of `d3g-lfo train`, found one of `d3g-lfo online`; continue it with "
            f"`d3g-lfo online -o {out.path} --resume --steps N`"
        )


def require_trained(out: RunFolder, agent: Agent) -> None:
    """Refuse a run that is still in training.

    Raises:
        LfoError: steps are missing.
    """
    steps = int(out.info()["steps"])
    if agent.learns_offline and agent.updates < steps:
        raise LfoError(
            f"{out.path}: expected a trained run, found {agent.updates:,} of its {steps:,} steps; "
            f"finish it with `d3g-lfo train -o {out.path} --resume`"
        )


def environment(out: RunFolder, env: str | None, kwargs: dict[str, Any]) -> EnvLike:
    """``env`` if given, else the environment that the run interacted with, else the data's.

    It is made with the arguments that are recorded with its id, changed by ``kwargs``. A data set may come from anyone:
    a module that it names is not imported unless the user names it too, or it is one of this package.

    Raises:
        LfoError: none is known, or the data set's would import a module.
    """
    from lfo.envs.make import with_kwargs

    info = out.info()
    stage = info.get("interact", {})
    found = env or stage.get("env")
    foreign = ":" in (info.get("env") or "") and not info["env"].startswith("lfo.")
    if found is None and foreign:
        raise LfoError(
            f"{out.path}: the data set's environment {info['env']} would import a module, which can run any code; "
            f"if you trust it, pass --env {shlex.quote(info['env'])}"
        )
    found = found or info.get("env")
    if found is None:
        raise LfoError(
            f"{out.path}: the data set names no environment; pass one with --env, such as --env Hopper-v5"
        )
    recorded = [one.get("env_kwargs", {}) for one in (stage, info) if one.get("env") == found]
    return with_kwargs(str(found), {**(recorded or [{}])[0], **kwargs})


def demonstrations(out: RunFolder, agent: Agent) -> Table | None:
    """The run's data, for an algorithm that learns from it in rounds."""
    from lfo.runs.loading import load_data
    from lfo.training.sources import demonstrations

    if agent.learns_offline:
        return None
    return demonstrations(agent, load_data(out), [member["dataset"] for member in out.info()["members"]])


def round_lines(round_: Round, rounds: int, out: RunFolder) -> str:
    """A line for each data set of the run: interactions, mean ± std over members, every member's mean.

    Members that diverged are marked, and count in no mean.
    """
    info = out.info()
    means, stopped = round_.evaluation.member_means, round_.evaluation.stopped
    lines = []
    for index, mine, counted in _members_of_data(info, stopped):
        each = "  ".join(
            f"seed {info['members'][m]['seed']}: {means[m]:.2f}"
            + (" diverged, not counted" if m in stopped else "")
            for m in mine
        )
        name = f"  {Path(info['datasets'][index]['source']).name}" if len(info["datasets"]) > 1 else ""
        score = f"return {means[counted].mean():.2f} ± {means[counted].std():.2f}" if counted else "no return"
        lines.append(
            f"round {round_.number}/{rounds}{name}  {round_.interactions:,} interactions  {score}  ({each})"
        )
    return "\n".join(lines)


def _members_of_data(
    info: dict[str, Any], stopped: Mapping[int, str]
) -> Iterator[tuple[int, list[int], list[int]]]:
    """For each data set its index, the members that learn from it, and those of them that have not diverged."""
    for index in range(len(info["datasets"])):
        mine = [m for m, member in enumerate(info["members"]) if member["dataset"] == index]
        yield index, mine, [m for m in mine if m not in stopped]


def worse_than_data(round_: Round, out: RunFolder) -> list[str]:
    """A line for each data set whose own episodes returned more than the policies that learned from it.

    More than two standard errors more, so that chance is no warning.
    """
    info = out.info()
    lines = []
    for index, _, counted in _members_of_data(info, round_.evaluation.stopped):
        if not counted:
            continue
        data, returns = info["datasets"][index], round_.evaluation.returns[counted]
        error = math.hypot(
            data["return_std"] / math.sqrt(data["episodes"]), returns.std() / math.sqrt(returns.size)
        )
        if returns.mean() < data["return_mean"] - 2 * error:
            lines.append(
                f"{Path(data['source']).name}: the policy returns {returns.mean():.4g}, less than the "
                f"{data['return_mean']:.4g} of its data; add rounds (`--resume --rounds {round_.number + 5}`), or train "
                "with another --algo (docs/choosing.md)"
            )
    return lines
