"""``d3g-lfo study``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lfo.algorithms import registry
from lfo.cli._common import COUNT, duration, option, parse_settings, resumable
from lfo.errors import LfoError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from lfo.cli._progress import Pace
    from lfo.study.spec import Study
    from lfo.study.status import Overview, Row

_BAR = 10
_STYLES = {
    "training": "cyan",
    "interacting": "cyan",
    "evaluating": "cyan",
    "collecting": "cyan",
    "failed": "red",
    "stopped": "yellow",
    "waiting": "dim",
    "done": "green",
}
"""Colours of the states. The first matter most, and are shown if not every cell fits on the screen."""


def _words(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """``a,b`` is ("a", "b")."""
    return None if value is None else tuple(word.strip() for word in value.split(","))


def _fractions(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    try:
        return None if value is None else tuple(float(word) for word in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"expected fractions such as 0,0.5,1, found {value!r}") from error


def _tables(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """``("gamma=0.98", "bco.hidden=64")`` is {"d3g": {"gamma": 0.98}, "bco": {"hidden": 64}}."""
    tables: dict[str, dict[str, Any]] = {}
    for key, value in parse_settings(ctx, param, values).items():
        part, _, name = key.rpartition(".")
        parts = (*registry.names(), "inverse")
        if part and part not in parts:
            raise click.BadParameter(
                f"expected KEY=VALUE or one of {', '.join(parts)} before .KEY, found {key!r}"
            )
        tables.setdefault(part or registry.DEFAULT, {})[name] = value
    return tables


@click.command()
@click.argument("what", metavar="NAME|FILE.toml|DIR")
@option("output", metavar="DIR", help="Folder of the study.")
@option(
    "protocol",
    type=click.Choice(["final", "paper"]),
    help="Which score counts: the last (final), or the best of all rounds at the published sizes (paper).",
    shown="final",
)
@option("envs", callback=_words, metavar="LIST", help="Environments, such as Reacher-v5,InvertedPendulum-v5.")
@option(
    "random-frac",
    callback=_fractions,
    metavar="LIST",
    help="Fractions of random actions in the data, such as 0,0.5,1.",
)
@option("data", callback=_words, metavar="LIST", help="Only these of the file's data sets, by name.")
@option(
    "algos",
    callback=_words,
    metavar="LIST",
    help="Algorithms, such as bco,d3g, and variants of the file.",
    shown="bco,d3g, or the variants",
)
@option("seeds", shown="0-9")
@option("transitions", type=COUNT, help="Rows of each data set.", shown="200000; paper: 1000000")
@option("datasets", type=COUNT, help="Data sets that share the seeds.", shown="3; paper: 1")
@option("steps", shown="50000; paper: 1000000")
@option("rounds", shown="10; paper: 100")
@option("interactions", shown=1000)
@option("grad-steps", shown="2000; paper: 10000")
@option("episodes", flag="--episodes-per-round", shown=10)
@option("final-episodes", type=COUNT, help="Episodes per member in the final evaluation.", shown=100)
@option("hidden", shown=256)
@option("precision", shown="fp32")
@option("paper")
@option("references", metavar="CSV", help="Numbers to show beside the study's.", shown="table1")
@option(
    "set",
    callback=_tables,
    metavar="[PART.]KEY=VALUE",
    help="Change one setting of d3g, or of the part named before the dot: an algorithm, or inverse. Repeatable.",
)
@option("jobs", shown="cores; with Ray as many as the cluster has room for")
@option("device")
@option(
    "executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where cells run: on this machine, or on a Ray cluster that shares DIR.",
)
@option("address", metavar="auto|HOST:PORT", help="The Ray cluster. Without it, Ray starts on this machine.")
@option("cores", type=COUNT, help="Ray: CPU cores of each cell.", shown="1")
@option(
    "gpus",
    type=click.FloatRange(0, min_open=True),
    help="Ray: a cell's share of a GPU, such as 0.25.",
    shown="0; with --device cuda 1",
)
@click.option("--status", is_flag=True, help="Only show where the study in DIR stands.")
@click.option("--report", is_flag=True, help="Only write the report of what is finished.")
@click.option(
    "--dry-run", is_flag=True, help="Only check the study, and list its cells with an estimate of the time."
)
def command(
    what: str,
    output: Path | None,
    settings: dict[str, dict[str, Any]],
    jobs: int | None,
    device: str,
    executor: str,
    address: str | None,
    cores: int | None,
    gpus: float | None,
    status: bool,
    report: bool,
    dry_run: bool,
    **options: Any,
) -> None:
    """Run a whole table: collect data, train, interact, evaluate and report.

    Start a study with -o from the name of one that ships (table1, ablation, locomotion) or from a TOML file. Continue
    it by naming its folder: finished parts are kept. Options override the file's fields, which override the protocol's
    defaults.

    \b
    d3g-lfo study table1 -o table1
    d3g-lfo study table1 -o small --envs InvertedPendulum-v5 --random-frac 0,1 --seeds 0-4 --jobs 2
    d3g-lfo study mine.toml -o mine
    d3g-lfo study DIR --status           # in another terminal: cells, progress, time left
    d3g-lfo study DIR                    # continue the study in DIR
    d3g-lfo study table1 -o DIR --executor ray --address auto
    """
    if executor == "local" and (address or cores or gpus):
        raise click.UsageError("--address, --cores and --gpus need --executor ray")
    if status or report:
        _look(output or Path(what), report)
        return
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    if dry_run:
        _list(what, output, {**given, **settings})
        return
    study, folder = _study(what, output, {**given, **settings}), output or Path(what)
    from lfo.study.scheduler import run

    again = f"d3g-lfo study {shlex.quote(str(folder))}"
    live = _Live()
    with resumable(again):
        try:
            failed = run(
                study,
                folder,
                jobs=jobs,
                device=device,
                executor=executor,
                address=address,
                cores=cores or 1,
                gpus=gpus,
                on_change=live.show,
                note=live.note,
            )
        finally:
            live.end()
    click.echo(f"{folder}: report.html, report.md, report.csv, results.csv")
    if failed:
        for name, reason in failed.items():
            click.echo(f"failed: {name}: {reason}", err=True)
        raise LfoError(
            f"{folder}: {len(failed)} failed ({', '.join(failed)}), the rest is done; try again with `{again}`"
        )


def _look(folder: Path, report: bool) -> None:
    """Show the table of a study, or write its report."""
    from lfo.study.status import overview

    found = overview(folder)
    if report:
        from lfo.study.report import write_report

        for path in write_report(folder):
            click.echo(path)
        return
    from rich.console import Console, Group

    console = Console()
    if console.is_terminal:
        console.print(Group(*table(found)))
    else:
        click.echo("\n".join(line.plain for line in table(found)))


def _list(what: str, output: Path | None, options: dict[str, Any]) -> None:
    """Print what a start would do: the data sets, the cells, and the time they take on one core."""
    from lfo.study.cell import work_units
    from lfo.study.spec import cells, load_study, require_ready

    stored = Path(what) / "study.toml"
    study = load_study(stored if stored.is_file() else what, options)
    require_ready(study, output or Path(what))
    width, total = max(len(cell.name) for cell in cells(study)), 0.0
    for cell in cells(study):
        train, round_, final = work_units(study, cell)
        seconds = (train + study.sized(cell.algo).rounds * round_ + final) / 100
        total += seconds
        click.echo(f"{cell.name:{width}}  about {duration(seconds)}")
    click.echo(
        f"{len(study.rows)} data sets × {len(study.algos)} columns = {len(cells(study))} cells of "
        f"{len(study.seeds)} seeds, about {duration(total)} on one core"
    )


def _study(what: str, output: Path | None, options: dict[str, Any]) -> Study:
    """The study asked for: a new one with ``-o``, else the one in the folder."""
    from lfo.study.spec import load_study, shipped

    path, ships = Path(what), what in shipped()
    stored = path / "study.toml"
    if output is not None:
        return load_study(stored if path.is_dir() and not ships else what, options)
    if stored.is_file():
        return load_study(stored, options)
    found = "a folder without study.toml" if path.is_dir() else "no such file or folder"
    remedy = "check the path"
    if ships or path.is_file():
        found = "the name of a study that ships" if ships else "a file"
        remedy = f"start the study with `d3g-lfo study {shlex.quote(what)} -o DIR`"
    raise LfoError(f"{what}: study: expected a study's folder, found {found}; {remedy}")


class _Live:
    """The table on stderr: redrawn on a terminal; elsewhere a line per change, and one a minute.

    Args:
        console: where to draw; None means stderr.
        pace: when to print a line; None means the usual.
    """

    def __init__(self, console: Console | None = None, pace: Pace | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        from lfo.cli._progress import Pace

        self.console = console or Console(stderr=True)
        self.live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal else None
        self.pace = pace or Pace()
        self.states: dict[str, str] = {}

    def show(self, found: Overview) -> None:
        """Show where the study stands now."""
        from rich.console import Group

        if self.live is None:
            self._tell(found)
            return
        self.live.start()
        self.live.update(Group(*table(found, self.console.height - 1)), refresh=True)

    def note(self, text: str) -> None:
        """Print a line, above the table."""
        if self.live is not None:
            self.console.print(text, markup=False, highlight=False)
        else:
            click.echo(f"note: {text}", err=True)

    def end(self) -> None:
        """Leave the last table as it is."""
        if self.live is not None:
            self.live.stop()

    def _tell(self, found: Overview) -> None:
        total = f"{found.count('done')} of {len(found.rows)} cells done{_left(found)}"
        if not self.states or self.pace.due():
            click.echo(total, err=True)
        for row in found.rows:
            name, state = row.cell.name, row.status.state
            if self.states.get(name, state) != state:
                reason = f": {row.status.error}" if row.status.error else ""
                click.echo(f"{name}: {state}{reason} ({total})", err=True)
            self.states[name] = state


def table(found: Overview, height: int = 10_000) -> list[Text]:
    """One line per cell and one for all of them; a line that is too long for the screen is cut.

    Args:
        found: where the study stands.
        height: lines there are room for; of more cells, the least interesting are left out.
    """
    from rich.text import Text

    order, width = list(_STYLES), max((len(row.cell.name) for row in found.rows), default=0)
    room = height - 1 if len(found.rows) < height else height - 2
    kept = sorted(found.rows, key=lambda row: order.index(row.status.state))[: max(1, room)]
    names = {row.cell for row in kept}
    shown = [_line(row, width) for row in found.rows if row.cell in names]
    if left_out := len(found.rows) - len(kept):
        shown.append(Text(f"… and {left_out} more"))
    counts = [(found.count(state), state) for state in ("done", "failed", "stopped")]
    told = ", ".join(f"{count} {state}" for count, state in counts if count or state == "done")
    idle = "" if found.running or found.count("done") == len(found.rows) else "; nothing is running"
    shown.append(Text(f"{told} of {len(found.rows)} cells{_left(found)}{idle}"))
    for line in shown:
        line.no_wrap, line.overflow = True, "ellipsis"
    return shown


def _line(row: Row, width: int) -> Text:
    from rich.text import Text

    status = row.status
    share = status.done / status.total if status.total else 0.0
    bar = "█" * int(_BAR * share) + "·" * (_BAR - int(_BAR * share))
    spent = duration(status.seconds) if status.seconds else ""
    left = status.error or ""
    if status.state == "collecting":
        left = "data {} of {}".format(*row.data)
    elif not left and row.seconds_left and status.state not in ("done", "failed"):
        left = f"{duration(row.seconds_left)} left"
    rest = f"  {bar} {share:4.0%}  {spent:>7}  {left}".rstrip()
    return Text.assemble(f"{row.cell.name:{width}}  ", (f"{status.state:11}", _STYLES[status.state]), rest)


def _left(found: Overview) -> str:
    return f"; about {duration(found.seconds_left)} left" if found.seconds_left else ""
