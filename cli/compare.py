"""``d3g-lfo compare``."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import click

from lfo.cli._common import note, option


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@option("output", metavar="DIR", help="Also write report.md, report.csv and report.png to this folder.")
@option("json")
@click.option(
    "--offline",
    is_flag=True,
    help="Rank the runs by what they learned offline, before the first interaction.",
)
@click.option(
    "--data",
    metavar="DATASET",
    help="With --offline: the data set to rank on, best one that no run has seen.  [default: the runs' own]",
)
@option("overwrite", help="Replace an existing report.")
def command(
    runs: tuple[Path, ...],
    output: Path | None,
    as_json: bool,
    offline: bool,
    data: str | None,
    overwrite: bool,
) -> None:
    """Show the scores of RUNs beside those of π_o, the policy that recorded the data.

    Runs are grouped by environment, data and algorithm. The seeds of runs with the same settings are pooled; seeds
    that diverged are named and not counted.

    The final score is that of the last round. The best of all rounds stands beside it because papers report it; as a
    maximum over noisy measurements it is optimistic. The plot shows return against interactions: the mean over seeds
    with a band of one standard deviation, the seeds as thin lines, π_o dashed.

    --offline needs no environment: it follows each run's τ(s) along the recorded transitions (fitted Q evaluation).

    \b
    d3g-lfo compare run bco
    d3g-lfo compare run bco -o report
    d3g-lfo compare run-* --offline --data held-out.h5
    """
    if data is not None and not offline:
        raise click.UsageError("--data goes with --offline.")
    if offline:
        if output is not None:
            raise click.UsageError("--offline prints a table or --json; leave --output out.")
        click.echo(_offline(runs, data, as_json))
        return
    from lfo.locks import output_lock
    from lfo.reporting import comparison as report
    from lfo.runs.folder import RunFolder

    if output is not None:
        report.check_free(output, overwrite=overwrite)
    comparisons = report.compare([RunFolder(path) for path in runs])
    click.echo(json.dumps(report.to_json(comparisons)) if as_json else report.table(comparisons))
    if output is not None:
        with ExitStack() as locks:
            for name in report.FILES:
                locks.enter_context(output_lock(output / name, "compare"))
            for path in report.write(comparisons, output, overwrite=overwrite):
                note(f"wrote {path}")


def _offline(runs: tuple[Path, ...], data: str | None, as_json: bool) -> str:
    from lfo.datasets import LfoError, load
    from lfo.reporting import offline as report
    from lfo.runs.folder import RunFolder
    from lfo.runs.loading import load_data

    folders = [RunFolder(path) for path in runs]
    if data is None:
        sources = {record["sha256"] for run in folders for record in run.info()["datasets"]}
        if len(sources) > 1:
            raise LfoError(
                f"--offline: expected runs of one data set, found {len(sources)}; pass one to rank them on with --data"
            )
        transitions = load_data(folders[0])[0]
        note("the runs have learned from this data; --data FILE ranks them on data that they have not seen")
    else:
        transitions = load(data)
    ranked, usual = report.rank(folders, transitions)
    source = transitions.metadata.source
    return (
        json.dumps(report.to_json(ranked, usual, source)) if as_json else report.table(ranked, usual, source)
    )
