"""How pictures are written: whole or not at all, and small."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from lfo.run import atomic_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["save_figure"]


def save_figure(figure: Figure, path: Path, *, dpi: int = 130) -> Path:
    """Write a PNG of at most 256 colours, which appears when it is complete and replaces what is there."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    buffer.seek(0)
    with atomic_file(path) as file, Image.open(buffer) as image:
        image.convert("RGB").quantize(256).save(file, format="png", optimize=True)
    return path
