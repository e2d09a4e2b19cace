"""``d3g-lfo completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print a script that lets SHELL complete commands and options with the Tab key.

    Save it where your shell looks for completions, then open a new terminal.

    \b
    bash:  d3g-lfo completion bash > ~/.local/share/bash-completion/completions/d3g-lfo
    zsh:   d3g-lfo completion zsh  > "${fpath[1]}/_d3g-lfo"
    fish:  d3g-lfo completion fish > ~/.config/fish/completions/d3g-lfo.fish
    """
    from lfo.cli import cli

    completion = get_completion_class(shell)
    assert completion is not None  # click ships all three
    click.echo(completion(cli, {}, "d3g-lfo", "_D3G_LFO_COMPLETE").source())
