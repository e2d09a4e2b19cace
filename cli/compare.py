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
@option("overwrite", help="Replace an existing report.")
def command(runs: tuple[Path, ...], output: Path | None, as_json: bool, overwrite: bool) -> None:
    """Show the scores of RUNs beside those of π_o, the policy that recorded the data.

    Runs are grouped by environment, data and algorithm. The seeds of runs with the same settings are pooled; seeds
    that diverged are named and not counted.

    The final score is that of the last round. The best of all rounds stands beside it because papers report it; as a
    maximum over noisy measurements it is optimistic. The plot shows return against interactions: the mean over seeds
    with a band of one standard deviation, the seeds as thin lines, π_o dashed.

    \b
    d3g-lfo compare run bco
    d3g-lfo compare run bco -o report
    """
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
