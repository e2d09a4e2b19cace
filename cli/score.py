"""``d3g-lfo score``."""

from __future__ import annotations

from pathlib import Path

import click

from lfo.cli._common import note, option, require_trained


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.argument("dataset")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Table to write, ending in .csv or .parquet.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Draw one episode with its worst moments marked.",
)
@click.option(
    "--episode",
    type=click.IntRange(0),
    metavar="N",
    help="Episode to draw, from 0.  [default: the one with the worst moment]",
)
@option("device")
@option("overwrite", help="Replace the files if they exist.")
def command(
    run: Path,
    dataset: str,
    output: Path,
    plot: Path | None,
    episode: int | None,
    device: str,
    overwrite: bool,
) -> None:
    """Score every transition of DATASET with what RUN has learned. No environment is needed.

    DATASET is anything that `d3g-lfo inspect` takes, with the states that RUN was trained on. The table has a row for
    each transition: Q(s, s'); its advantage over the run's own aim, Q(s, s') - Q(s, tau(s)); and the distance of s'
    from tau(s), in standard deviations of a step. All are means over the members, each with its standard deviation.

    \b
    d3g-lfo score run d.h5 -o scores.csv
    d3g-lfo score run new.h5 -o scores.parquet --plot worst.png
    d3g-lfo score run new.h5 -o scores.csv --plot third.png --episode 2
    """
    if episode is not None and plot is None:
        raise click.UsageError("--episode says what to draw: add --plot FILE.png.")
    from lfo.datasets.tables import require_polars

    require_polars("writing scores")
    from lfo.datasets import check_output, load
    from lfo.reporting.scoring import check_suffix, plot_episode, score, worst, write_scores
    from lfo.runs.folder import RunFolder
    from lfo.runs.loading import load_agent

    check_suffix(output)
    for path in filter(None, (output, plot)):
        check_output(path, overwrite=overwrite)
    out = RunFolder(run)
    agent = load_agent(out, device)
    require_trained(out, agent)
    data = load(dataset)
    scores = score(agent, data, name=str(run))
    moments = worst(scores, 5)
    if plot is not None:
        shown = int(scores["episode"][moments[0]]) if episode is None else episode
        plot_episode(scores, data, shown, plot)
        note(f"wrote {plot}: episode {shown}")
    write_scores(scores, output)
    better = float((scores["advantage"] > 0).mean())
    click.echo(
        f"{output}: {len(data):,} transitions, {better:.0%} of them better than the run's own aim; "
        f"distance of s' from it {scores['distance'].mean():.3g} on average"
    )
    dt = data.metadata.attributes.get("dt")
    click.echo("worst moments:")
    for row in moments:
        step = int(scores["step"][row])
        when = f"step {step:,}" + (f" (time {step * float(dt):.4g})" if dt is not None else "")
        click.echo(
            f"  episode {scores['episode'][row]}, {when}: advantage {scores['advantage'][row]:.4g} "
            f"± {scores['advantage_std'][row]:.2g}, distance {scores['distance'][row]:.3g}"
        )
