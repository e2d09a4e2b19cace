"""``d3g-lfo study``."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lfo.cli._common import duration, option, parse_seeds, parse_settings, resumable

if TYPE_CHECKING:
    from lfo.study.spec import Overview, Row, Study

_COUNT = click.IntRange(1)
_BAR = 10


def _words(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """``a,b`` is ("a", "b")."""
    return None if value is None else tuple(word.strip() for word in value.split(","))


def _fractions(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    try:
        return None if value is None else tuple(float(word) for word in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"expected fractions such as 0,0.5,1, found {value!r}") from error


@click.command()
@click.argument("what", metavar="NAME|FILE.toml|DIR")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the study.")
@click.option(
    "--protocol",
    type=click.Choice(["final", "paper"]),
    help="final: the last score counts; paper: the best of all rounds, at the published sizes.",
)
@click.option("--envs", callback=_words, metavar="LIST", help="Such as Reacher-v5,InvertedPendulum-v5.")
@click.option("--random-frac", callback=_fractions, metavar="LIST", help="Such as 0,0.25,0.5,0.75,1.")
@click.option("--algos", callback=_words, metavar="LIST", help="Such as bco,d3g.")
@click.option("--seeds", callback=parse_seeds, metavar="LIST", help="Members of each cell, such as 0-9.")
@click.option("--transitions", type=_COUNT, help="Rows of each data set.  [final: 200000, paper: 1000000]")
@click.option("--datasets", type=_COUNT, help="Data sets that share the seeds.  [final: 3, paper: 1]")
@click.option("--steps", type=_COUNT, help="Offline gradient steps.  [final: 50000, paper: 1000000]")
@click.option("--rounds", type=_COUNT, help="Rounds of interaction.  [final: 10, paper: 100]")
@click.option("--interactions", type=_COUNT, help="Environment steps a round and member.  [1000]")
@click.option("--grad-steps", type=_COUNT, help="Gradient steps a round.  [final: 2000, paper: 10000]")
@click.option("--episodes-per-round", type=_COUNT, help="Episodes to evaluate after a round.  [10]")
@click.option("--final-episodes", type=_COUNT, help="Episodes of the final evaluation.  [100]")
@click.option("--hidden", type=_COUNT, help="Units in each hidden layer.  [256]")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), help="Of hidden layers' products.  [fp32]")
@click.option("--paper", is_flag=True, help="The published algorithms, without this project's changes.")
@click.option(
    "--set",
    "settings",
    callback=parse_settings,
    multiple=True,
    metavar="[PART.]KEY=VALUE",
    help="A setting of d3g, or of the part named: d3g, bco, inverse; repeatable.",
)
@click.option("--jobs", type=_COUNT, help="Processes at a time.  [default: cores]")
@option("device")
@click.option("--status", is_flag=True, help="Show where the study in DIR stands, and do nothing.")
@click.option("--report", is_flag=True, help="Write the report of what is finished, and do nothing else.")
def command(
    what: str,
    output: Path | None,
    settings: dict[str, Any],
    jobs: int | None,
    device: str,
    status: bool,
    report: bool,
    **options: Any,
) -> None:
    """Run a whole table: collect data, train, interact, evaluate, report; again, it does what is missing.

    A study is a name that ships (table1), or a TOML file of the fields that the options have. Its folder holds
    data, runs, results.csv and the report. Explicit options override the file's fields, and those the protocol's.

    \b
    d3g-lfo study table1 -o table1
    d3g-lfo study table1 -o small --envs InvertedPendulum-v5 --random-frac 0,1 --seeds 0-4 --jobs 2
    d3g-lfo study mine.toml -o mine
    d3g-lfo study table1 --status        # from another terminal: DIR's cells, progress, time left
    d3g-lfo study DIR                    # go on with the study in DIR
    """
    folder = output or Path(what)
    if status or report:
        _look(folder, report)
        return
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    study = _study(what, output, {**given, **_parts(settings)})
    from lfo.errors import LfoError
    from lfo.study.scheduler import run

    live = _Live()
    with resumable(f"d3g-lfo study {shlex.quote(str(folder))}"):
        try:
            failed = run(study, folder, jobs=jobs, device=device, on_change=live.show)
        finally:
            live.end()
    click.echo(f"{folder}: report.html, report.md, results.csv")
    if failed:
        for name, reason in failed.items():
            click.echo(f"failed: {name}: {reason}", err=True)
        raise LfoError(
            f"{folder}: {len(failed)} failed ({', '.join(failed)}), the rest is done; try them again with "
            f"`d3g-lfo study {shlex.quote(str(folder))}`"
        )


def _look(folder: Path, report: bool) -> None:
    """Show the table of a study, or write its report."""
    from lfo.study.spec import overview

    if not report:
        click.echo("\n".join(table(overview(folder))))
        return
    from lfo.study.report import write_report

    overview(folder)
    for path in write_report(folder):
        click.echo(path)


def _parts(settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """``{"gamma": 0.98, "bco.hidden": 64}`` is {"d3g": {"gamma": 0.98}, "bco": {"hidden": 64}}."""
    parts: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        part, _, name = key.rpartition(".")
        if part not in ("", "d3g", "bco", "inverse"):
            raise click.UsageError(f"--set: expected d3g.KEY, bco.KEY or inverse.KEY, found {key!r}.")
        parts.setdefault(part or "d3g", {})[name] = value
    return parts


def _study(what: str, output: Path | None, options: dict[str, Any]) -> Study:
    """The study asked for: a new one with ``-o``, else the one that is in the folder."""
    from lfo.errors import LfoError
    from lfo.study.spec import load_study, shipped

    if output is not None:
        path = Path(what) / "study.toml" if Path(what).is_dir() and what not in shipped() else what
        return load_study(path, options)
    file = Path(what) / "study.toml"
    if not file.is_file():
        raise LfoError(
            f"{what}: expected the folder of a study (study.toml), found none; "
            f"start one with `d3g-lfo study {shlex.quote(what)} -o DIR`"
        )
    return load_study(file, options)


class _Live:
    """The table on stderr: redrawn on a terminal, else a line for each cell that changes its state."""

    def __init__(self) -> None:
        self.redraws = sys.stderr.isatty()
        self.height = 0
        self.states: dict[str, str] = {}

    def show(self, found: Overview) -> None:
        """Tell where the study stands now."""
        if self.redraws:
            size = shutil.get_terminal_size()
            lines = [line[: size.columns - 1] for line in table(found, size.lines - 2)]
            up = f"\x1b[{self.height}F\x1b[J" if self.height else ""
            self.height = len(lines)
            click.echo(up + "\n".join(lines), err=True)
            return
        told = f"{found.count('done')} of {len(found.rows)} cells done{_left(found)}"
        if not self.states:
            click.echo(told, err=True)
            self.states = {row.cell.name: row.status.state for row in found.rows}
        for row in found.rows:
            name, state = row.cell.name, row.status.state
            if self.states[name] != state:
                reason = f": {row.status.error}" if row.status.error else ""
                click.echo(f"{name}: {state}{reason} ({told})", err=True)
            self.states[name] = state

    def end(self) -> None:
        """Nothing more is redrawn."""
        self.height = 0


def table(found: Overview, height: int = 10_000) -> list[str]:
    """One line a cell and one for all; of more than ``height``, the lines of the least interest are left out."""
    width = max((len(row.cell.name) for row in found.rows), default=0)
    interest = ["training", "interacting", "evaluating", "collecting", "failed", "stopped", "waiting", "done"]
    kept = sorted(found.rows, key=lambda row: interest.index(row.status.state))[: max(1, height - 2)]
    lines = [_line(row, width) for row in found.rows if row in kept]
    left_out = len(found.rows) - len(lines)
    if left_out:
        lines.append(f"… and {left_out} more")
    counts = [
        (found.count("done"), "done"),
        (found.count("failed"), "failed"),
        (found.count("stopped"), "stopped"),
    ]
    told = ", ".join(f"{count} {name}" for count, name in counts if count or name == "done")
    idle = "" if found.running or found.count("done") == len(found.rows) else "; nothing is at work on it"
    lines.append(f"{told} of {len(found.rows)} cells{_left(found)}{idle}")
    return lines


def _line(row: Row, width: int) -> str:
    status = row.status
    share = status.done / status.total if status.total else 0.0
    bar = "█" * int(_BAR * share) + "·" * (_BAR - int(_BAR * share))
    spent = duration(status.seconds) if status.seconds else ""
    left = ""
    if status.state == "collecting":
        left = "{} of {} data sets".format(*row.data)
    elif row.seconds_left and status.state not in ("done", "failed"):
        left = f"{duration(row.seconds_left)} left"
    return f"{row.cell.name:{width}}  {status.state:11}  {bar} {share:4.0%}  {spent:>7}  {status.error or left}".rstrip()


def _left(found: Overview) -> str:
    if not found.seconds_left:
        return ""
    return f"; about {duration(found.seconds_left)} left"
