"""The command line, ``d3g-lfo``."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
