"""The look that all pictures share."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from lfo.algorithms import registry
from lfo.reporting import figures


@pytest.mark.parametrize("name", registry.names())
def test_an_algorithm_looks_as_its_spec_says(name: str) -> None:
    spec = registry.spec(name)
    assert figures.label(name) == spec.label
    assert figures.colours(name) == spec.colours
    assert figures.marker(name) == spec.marker


def test_one_blue_and_one_orange() -> None:
    assert (figures.colours("d3g"), figures.colours("bco")) == (figures.BLUES, figures.ORANGES)


def test_other_names_have_a_look_too() -> None:
    assert figures.label("pi_o") == "π_o"
    assert figures.label("a method of somebody's paper") == "a method of somebody's paper"
    for name in ("pi_o", "unknown"):
        assert all(colour[1:3] == colour[3:5] == colour[5:7] for colour in figures.colours(name))
        assert figures.marker(name) == "^"


def test_a_picture_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    figure = Figure(figsize=(1, 1))
    path = figures.save_figure(figure, tmp_path / "a.png", dpi=50)
    before = path.read_bytes()
    with Image.open(path) as image:
        assert image.size == (50, 50)
    with pytest.raises(ValueError, match="dpi"):
        figures.save_figure(figure, path, dpi=-1)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
