"""``d3g-lfo compare``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lfo.cli._common import note


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Also write report.md, report.csv and report.png into this folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
@click.option("--overwrite", is_flag=True, help="Replace a report that is there.")
def command(runs: tuple[Path, ...], output: Path | None, as_json: bool, overwrite: bool) -> None:
    """Put the algorithms of RUNs and the data's own policy π_o side by side.

    Runs are grouped by environment, data and algorithm; the seeds of runs with the same settings are pooled.
    The final score comes first. The best of rounds beside it is a maximum over noisy measurements, and
    therefore optimistic. The plot shows return against interactions: the mean over seeds with a band of one
    standard deviation, the seeds as thin lines, π_o dashed.

    \b
    d3g-lfo compare run bco
    d3g-lfo compare run bco -o report
    """
    from lfo.reporting import comparison as report
    from lfo.runs.folder import RunFolder

    if output is not None:
        report.check_free(output, overwrite=overwrite)
    comparisons = report.compare([RunFolder(path) for path in runs])
    click.echo(json.dumps(report.to_json(comparisons)) if as_json else report.table(comparisons))
    if output is not None:
        for path in report.write(comparisons, output, overwrite=overwrite):
            note(f"wrote {path}")
