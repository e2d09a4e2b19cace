"""Video: a real film where this machine renders, one clear line where it does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lfo.acting.video
from lfo.acting.evaluation import evaluate_policy
from lfo.acting.video import headless_backend, record_video
from lfo.datasets import LfoError


def still(observation: np.ndarray) -> np.ndarray:
    return np.zeros(2, np.float32)


@pytest.fixture
def backend() -> str:
    try:
        return headless_backend()
    except LfoError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("backend")
def test_films_whole_episodes_from_the_starts_of_evaluation(tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / "film.mp4"
    returns = record_video(still, "Reacher-v5", path, seed=4, stream=6, episodes=2)
    frames, seconds = ffmpeg.count_frames_and_secs(str(path))
    assert frames == 2 * 51  # the start, then one a step
    assert seconds == pytest.approx(frames / 50, rel=0.05)
    zero = np.zeros((1, 2, 2), np.float32)
    same = evaluate_policy(lambda obs: zero[:, : obs.shape[1]], "Reacher-v5", episodes=2, seed=4, streams=[6])
    np.testing.assert_array_equal(returns, same.returns[0])
    with pytest.raises(LfoError, match="--overwrite"):
        record_video(still, "Reacher-v5", path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("backend")
def test_a_policy_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")

    def fails(observation: np.ndarray) -> np.ndarray:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        record_video(fails, "Reacher-v5", tmp_path / "film.mp4")
    assert list(tmp_path.iterdir()) == []


def test_no_backend_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(lfo.acting.video, "_PROBE", "raise SystemExit('no such library')")
    with pytest.raises(LfoError, match=r"neither EGL nor OSMesa.*libegl1.*libosmesa6"):
        headless_backend()


def test_a_backend_that_is_set_and_does_not_work_is_named(tmp_path: Path) -> None:
    """In a process of its own: with a wrong MUJOCO_GL, MuJoCo does not import."""
    pytest.importorskip("imageio_ffmpeg")
    code = (
        "import sys, os; os.environ['MUJOCO_GL'] = 'nonsense'\n"
        "from lfo.datasets import LfoError; from lfo.acting.video import record_video\n"
        "try: record_video(None, 'Reacher-v5', sys.argv[1])\n"
        "except LfoError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "f.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "MUJOCO_GL=nonsense, which is set, does not work" in done.stdout
    assert "unset MUJOCO_GL" in done.stdout


def test_without_ffmpeg_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(LfoError, match="pip install imageio-ffmpeg"):
        record_video(still, "Reacher-v5", tmp_path / "film.mp4")


def test_output_is_checked_first(tmp_path: Path) -> None:
    with pytest.raises(LfoError, match=r"ending in \.mp4"):
        record_video(still, "Reacher-v5", tmp_path / "film.gif")
    with pytest.raises(LfoError, match="no such folder"):
        record_video(still, "Reacher-v5", tmp_path / "none" / "film.mp4")
