"""``d3g-lfo inspect``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from lfo.cli._common import note, option

_IN_TABLE = ("state_names", "state_units")
_DIMENSIONS = 40  # shown in the table; --json has all


@click.command()
@click.argument("dataset")
@option("json")
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Draw states over time, histograms of s'-s, and the return of each episode.",
)
@option("overwrite", help="Replace FILE.png if it exists.")
def command(dataset: str, as_json: bool, plot: Path | None, overwrite: bool) -> None:
    """Show what is in DATASET: episodes, returns, flags, ranges, warnings.

    DATASET is an HDF5 file in D4RL's layout, an .npz file, minari:ID for a data set in Minari's local store,
    d4rl:NAME for a file in D4RL's cache folder, lerobot:FOLDER for a LeRobot data set, or robomimic:FILE.

    \b
    d3g-lfo inspect d.h5
    d3g-lfo inspect minari:mujoco/hopper/medium-v0 --json
    d3g-lfo inspect d.h5 --plot d.png
    """
    from lfo.datasets import check_output, load, summarize

    if plot is not None:
        check_output(plot, overwrite=overwrite)
    data = load(dataset)
    summary = summarize(data)
    click.echo(json.dumps(summary) if as_json else _table(summary))
    if plot is not None:
        from lfo.reporting.dataset import plot_dataset

        note(f"wrote {plot_dataset(data, plot)}")


def _table(summary: dict[str, Any]) -> str:
    return "\n".join([*_facts(summary), "", *_ranges(summary), *_warnings(summary)])


def _facts(s: dict[str, Any]) -> list[str]:
    facts = {
        "data set": s["path"],
        "environment": s["env"] or "not recorded",
        "policy": s["behaviour"],
        "transitions": f"{s['transitions']:,} of {s['state_dim']}-dimensional states",
        "episodes": f"{s['episodes']:,}: {s['terminated']:,} terminated, {s['truncated']:,} truncated"
        + (", the last one open" if s["terminated"] + s["truncated"] < s["episodes"] else ""),
        "return": _spread(s, "return"),
        "length": _spread(s, "length"),
        "failures": f"{s['terminated']:,} of {s['episodes']:,} episodes end in a terminal: a failure, or a goal"
        if s["terminated"]
        else "none: no episode ends in a terminal",
        "next states": s["next_states_text"],
        "actions": "in the file, not read" if s["has_actions"] else "none",
    }
    if s["normalized_return"] is not None:
        facts["D4RL score"] = f"{s['normalized_return']:.1f} (0 random, 100 expert)"
    if s["dropped"]:
        facts["dropped"] = f"{s['dropped']:,} rows: {s['dropped_reason']}"
    facts |= {str(key): str(value) for key, value in s["attributes"].items() if key not in _IN_TABLE}
    width = max(map(len, facts))
    return [f"{key:<{width}} {value}" for key, value in facts.items()]


def _spread(s: dict[str, Any], name: str) -> str:
    mean, std, low, high = (s[f"{name}_{what}"] for what in ("mean", "std", "min", "max"))
    return f"{mean:.6g} ± {std:.4g} (min {low:.6g}, max {high:.6g})"


def _ranges(s: dict[str, Any]) -> list[str]:
    columns = ("min", "mean", "max", "std")
    shown = min(s["state_dim"], _DIMENSIONS)
    rows = [("reward", s["rewards"], "")]
    for label, name in (("s", "states"), ("s'-s", "steps")):
        rows += [
            (f"{label}[{i}]", {key: s[name][key][i] for key in columns}, _named(s, i)) for i in range(shown)
        ]
    lines = [f"{'':<12}" + "".join(f"{key:>12}" for key in columns)]
    lines += [
        f"{label:<12}" + "".join(f"{values[key]:>12.4g}" for key in columns) + named
        for label, values, named in rows
    ]
    if shown < s["state_dim"]:
        lines.append(f"... and {s['state_dim'] - shown} more dimensions; --json has all")
    return lines


def _named(s: dict[str, Any], i: int) -> str:
    """The name and unit of a state's dimension, where the data set has them."""
    names, units = s["state_names"], s["state_units"]
    unit = f" ({units[i]})" if i < len(units) and units[i] else ""
    return f"  {names[i]}{unit}" if i < len(names) else ""


def _warnings(s: dict[str, Any]) -> list[str]:
    return ["", *(f"Warning: {warning}" for warning in s["warnings"])] if s["warnings"] else []
