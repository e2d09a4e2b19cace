"""The gridworld's figures: the project's look, and nothing cut off or too small to read."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from lfo.reporting.figures import BLUES, ORANGES
from lfo.tabular import EXPERIMENTS, make_grid
from lfo.tabular.experiments import Experiment, Trial
from lfo.tabular.figures import curves_figure, values_figure

PHONE = 400
"""Pixels: the width of a picture on a small screen."""


def curves(experiment: Experiment) -> Figure:
    ends = np.geomspace(1, 50_001, 40)
    bands = [(ends, level := np.linspace(-500, -18, 40), level - 9, level + 9) for _ in experiment.curves]
    return curves_figure(experiment, bands, 50, [-18.0] * len(bands))


def values(experiment: Experiment) -> Figure:
    trials = []
    for curve in experiment.curves:
        states = len(make_grid(**curve.grid).moves)
        policy = np.tile([0.0, 0, 0, 1], (states, 1))
        trials.append(Trial(np.zeros(2), np.linspace(-50, 1, states), policy, -16.56, -51.97, -78.0))
    return values_figure(experiment, trials)


@pytest.mark.parametrize("draw", [curves, values])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_no_text_is_cut_off_or_too_small_for_a_phone(name: str, draw: object) -> None:
    figure = draw(EXPERIMENTS[name])  # type: ignore[operator]
    FigureCanvasAgg(figure).draw()
    width, height = figure.get_size_inches()
    whole = figure.get_tightbbox()
    assert min(whole.x0, whole.y0) >= 0
    assert whole.x1 <= width
    assert whole.y1 <= height
    sizes = {text.get_fontsize() for text in figure.findobj(Text) if text.get_text()}
    assert min(sizes) / 72 * PHONE / width >= 7.5


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_panel_titles_do_not_run_into_each_other(name: str) -> None:
    figure = values(EXPERIMENTS[name])
    FigureCanvasAgg(figure).draw()
    titles = [ax.title.get_window_extent() for ax in figure.axes if ax.get_title()]
    assert len(titles) == len(EXPERIMENTS[name].curves)
    assert not any(a.overlaps(b) for i, a in enumerate(titles) for b in titles[:i])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_curves_have_the_projects_colours_and_axes(name: str) -> None:
    experiment = EXPERIMENTS[name]
    figure = curves(experiment)
    panels = dict.fromkeys(curve.panel for curve in experiment.curves)
    assert len(figure.axes) == len(panels)  # and none of them empty
    for ax, panel in zip(figure.axes, panels, strict=True):
        mine = [curve for curve in experiment.curves if curve.panel == panel]
        for line, curve in zip(ax.lines, mine, strict=False):
            assert to_hex(line.get_color()) in (BLUES if curve.learner == "qss" else ORANGES)
        assert not ax.spines["top"].get_visible()
        assert ax.get_legend() is None  # it stands below the panels, over no curve
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(legend) == len(set(legend))
