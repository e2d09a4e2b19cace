"""Progress: bars that stay readable at 80 columns, and plain lines where stderr is not a terminal."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest

from lfo.cli._progress import Lines, bars
from lfo.training.progress import Bars


class Clock:
    """A time that tests set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_lines_come_after_ten_seconds_and_then_once_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = Lines(clock)
    lines.start("train", 2_000, done=200)
    for _ in range(180):  # three minutes at ten steps a second
        clock.now += 1
        lines.step(10)
    assert capsys.readouterr().err.splitlines() == [
        "train: 15% of 2,000 steps, 10/s, 2m50s left",
        "train: 45% of 2,000 steps, 10/s, 1m50s left",
        "train: 75% of 2,000 steps, 10/s, 50s left",
    ]
    assert lines.seconds == 180


def test_short_stages_share_the_minute(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = Lines(clock)
    for number in range(1, 13):  # a minute of rounds
        for stage in ("act", "fit I"):
            lines.start(stage, 5, round=number)
            for _ in range(5):
                clock.now += 0.5
                lines.step()
    assert capsys.readouterr().err.splitlines() == ["round 2: fit I: 100% of 5 steps, 2/s, 0s left"]
    lines.start("evaluate", 40)
    clock.now += 10
    lines.step(4)
    assert capsys.readouterr().err == "evaluate: 10% of 40 episodes, 0.4/s, 1m30s left\n"


@contextmanager
def terminal(columns: int) -> Iterator[None]:
    """A terminal of this width as stderr."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    try:
        with os.fdopen(theirs, "w", encoding="utf-8") as stderr, mock.patch.object(sys, "stderr", stderr):
            yield
    finally:
        os.close(ours)


@pytest.mark.parametrize(("stage", "number"), [("train", 0), ("fit I", 10)])
def test_a_bar_stays_readable_at_80_columns(stage: str, number: int) -> None:
    names = ["critic_loss", "model_loss", "predictor_loss", "value_loss", "cycle_error", "spread"]
    with terminal(80), bars() as progress:
        assert isinstance(progress, Bars)
        progress.start(stage, 50_000, round=number)
        progress.step(20_000)
        progress.show({"broken": float("nan")} | dict.fromkeys(names, 0.0123456))
        shown = str(progress._bar)
    assert len(shown) <= 80
    assert len(shown.split("|")[1]) >= 20
    assert " left, " in shown
    assert shown.endswith(", critic 0.012") == (number == 0)


def test_a_wide_terminal_shows_two_figures() -> None:
    with terminal(120), bars() as progress:
        assert isinstance(progress, Bars)
        progress.start("train", 50_000)
        progress.show({"critic_loss": 0.5, "model_loss": 1e-7, "predictor_loss": 3.0})
        assert str(progress._bar).endswith(", critic 0.5, model 1e-07")


def test_elsewhere_there_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with bars() as progress:
        assert isinstance(progress, Lines)
        progress.note("look")
    assert capsys.readouterr().err == "note: look\n"
