"""``d3g-lfo export``."""

from __future__ import annotations

from pathlib import Path

import click

from lfo.cli._common import option


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@option("member", default=0, show_default=True, help="Which member of the run: 0 is its first seed.")
@option("output", required=True, metavar="FILE", help="File to write, ending in .onnx, .pt2 or .safetensors.")
@option("overwrite", help="Replace the file if it exists.")
def command(run: Path, member: int, output: Path, overwrite: bool) -> None:
    """Write the policy of one member of RUN to a file.

    .onnx runs wherever ONNX does, without this package, and needs onnx, onnxscript and onnxruntime to write; .pt2 runs
    with torch alone; .safetensors is for lfo.load_policy and for collect --policy. All take observations as the
    environment gives them and return actions inside its bounds. The file is compared with the original on 1,000
    observations before it is kept.

    \b
    d3g-lfo export run -o policy.onnx
    d3g-lfo export run --member 2 -o policy.safetensors
    """
    from lfo.locks import output_lock
    from lfo.runs.export import check_export
    from lfo.runs.policy import OBSERVATIONS, load_policy

    check_export(output, overwrite=overwrite)
    with output_lock(output, "export"):
        policy = load_policy(run, member)
        difference = policy.export(output, overwrite=overwrite)
    click.echo(
        f"{output}: {policy.name}, {policy.state_dim} observations to {policy.space.size} actions; "
        f"largest difference {difference:.1e} on {OBSERVATIONS:,} observations"
    )
