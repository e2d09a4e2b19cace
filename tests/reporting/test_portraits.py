"""Portraits: measured numbers against the whole stack's own, geometry against the simulator, and the errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from record import WHOLE, record
from shell import TINY, TINY_ROUNDS, copy, must

from lfo import D3G, RunFolder, load_agent
from lfo.acting.evaluation import evaluate_policy
from lfo.acting.rounds import act
from lfo.datasets import LfoError
from lfo.envs.make import make_env
from lfo.reporting import portraits
from lfo.reporting.portraits.measure import EPISODES, SCENES, STEPS
from lfo.reporting.portraits.pieces import GRID, Arrays
from lfo.reporting.portraits.reacher import elbow_angles, fingertip, reacher_states

PENDULUM, REACHER = "InvertedPendulum-v5", "Reacher-v5"
MEMBER = 1
DPI = 40
"""Of pictures that nobody looks at."""


@pytest.fixture(scope="module")
def reacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run in Reacher."""
    folder = tmp_path_factory.mktemp("reacher")
    must("collect", REACHER, "--random-frac", "1", "--steps", "300", "-o", folder / "d.h5")
    must("train", folder / "d.h5", "-o", folder / "run", "--seeds", "0-1", *TINY)
    must("interact", folder / "run", *TINY_ROUNDS)
    return folder / "run"


@pytest.fixture(scope="module")
def pendulum(interacted: Path) -> Arrays:
    return portraits.portrait(RunFolder(interacted), PENDULUM, MEMBER)


@pytest.fixture(scope="module")
def arm(reacher: Path) -> Arrays:
    return portraits.portrait(RunFolder(reacher), REACHER, MEMBER)


@pytest.fixture
def agent(interacted: Path) -> D3G:
    found = load_agent(RunFolder(interacted), "cpu")
    assert isinstance(found, D3G)
    return found


def stacked(agent: D3G, states: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.float32(states))[None].expand(len(agent.seeds), -1, -1)


def test_shapes(pendulum: Arrays, arm: Arrays) -> None:
    for arrays, steps, size in ((pendulum, STEPS, 4), (arm, 50, 10)):
        shape = (EPISODES, steps + 1, size)
        assert [arrays[name].shape for name in ("real", "cycle", "aim")] == [shape] * 3
        assert arrays["plane_q"].shape == (GRID, GRID)
        np.testing.assert_array_equal(arrays["real"][:, 0], arrays["cycle"][:, 0])
        assert (int(arrays["member"]), int(arrays["seed"])) == (MEMBER, 1)
    assert (str(pendulum["env"]), str(arm["env"])) == (PENDULUM, REACHER)


def test_real_is_what_an_evaluation_sees(agent: D3G, pendulum: Arrays) -> None:
    """The same episodes as those of an evaluation from seed 0 and stream 0, of that member."""
    found = evaluate_policy(
        lambda observations: act(agent, observations),
        PENDULUM,
        members=len(agent.seeds),
        episodes=EPISODES,
        seed=0,
        streams=[0] * len(agent.seeds),
    )
    np.testing.assert_array_equal(found.lengths[MEMBER], pendulum["lengths"])
    np.testing.assert_allclose(found.returns[MEMBER], pendulum["returns"])
    steps = np.isfinite(pendulum["real"]).all(axis=2).sum(axis=1) - 1
    np.testing.assert_array_equal(steps, pendulum["lengths"])


def test_imagined_steps_are_the_stacks_own(agent: D3G, pendulum: Arrays) -> None:
    for before, after in ((0, 1), (1, 2), (100, 101)):
        states = stacked(agent, pendulum["cycle"][:, before])
        scaled = agent.units.states(states)
        with torch.no_grad():
            delta = agent.cycle(agent.critic1, scaled, agent.predict(agent.predictor, scaled))
        expected = agent.units.raw_after(states, delta)[MEMBER]
        np.testing.assert_allclose(pendulum["cycle"][:, after], expected, rtol=1e-4, atol=1e-5)
        expected = agent.aim(stacked(agent, pendulum["aim"][:, before]))[MEMBER]
        np.testing.assert_allclose(pendulum["aim"][:, after], expected, rtol=1e-4, atol=1e-5)


def test_the_plane_is_the_lesser_value_of_the_aim(agent: D3G, pendulum: Arrays) -> None:
    row, column = 20, 63
    state = [[0, pendulum["plane_x"][column], 0, pendulum["plane_y"][row]]]
    states = stacked(agent, np.array(state))
    scaled, deltas = agent.units.states(states), agent.units.deltas(states, agent.aim(states))
    with torch.no_grad():
        both = [float(agent.value(c, scaled, deltas)[MEMBER]) for c in (agent.critic1, agent.critic2)]
    assert pendulum["plane_q"][row, column] == pytest.approx(min(both), rel=1e-4)


def test_density_counts_the_data(dataset: Path, pendulum: Arrays) -> None:
    from lfo.datasets import load

    angle, speed = load(dataset).states[:, [1, 3]].T
    steps = [np.diff(pendulum[name])[0] for name in ("plane_x", "plane_y")]
    near = (np.abs(angle - pendulum["plane_x"][40]) < steps[0] / 2) & (
        np.abs(speed - pendulum["plane_y"][40]) < steps[1] / 2
    )
    assert near.any()
    assert pendulum["density"][40, 40] == near.sum()
    assert 0.8 * len(angle) < pendulum["density"].sum() <= len(angle)


def test_reacher_states_are_the_simulators() -> None:
    env = make_env(REACHER)
    env.reset(seed=0)
    raw = env.unwrapped
    for angles in np.random.default_rng(0).uniform(-2.9, 2.9, size=(20, 2)):
        target = np.array([0.05, -0.12])
        raw.set_state(np.concatenate([angles, target]), np.zeros(4))  # type: ignore[attr-defined]
        expected = raw._get_obs()  # type: ignore[attr-defined]
        np.testing.assert_allclose(reacher_states(angles, target), expected, atol=1e-6)
    env.close()


@given(st.floats(0.02, 0.209), st.floats(-np.pi, np.pi))
def test_both_elbows_reach_the_point(radius: float, direction: float) -> None:
    point = radius * np.array([np.cos(direction), np.sin(direction)])
    angles = elbow_angles(point)
    np.testing.assert_allclose(fingertip(angles), [point, point], atol=1e-9)
    assert angles[0, 1] == -angles[1, 1] > 0


def test_out_of_reach_there_is_no_arm(arm: Arrays) -> None:
    assert np.isnan(elbow_angles(np.array([[0.22, 0.0], [0.005, 0.0], [0.011, 0.0]]))).all()
    x, y = np.meshgrid(arm["plane_x"], arm["plane_y"])
    radius = np.hypot(x, y)
    assert np.isnan(arm["plane_q"][radius > 0.2101]).all()
    assert np.isfinite(arm["plane_q"][(radius > 0.02) & (radius < 0.2099)]).all()


def test_measured_twice_alike_and_read_without_pickle(
    interacted: Path, pendulum: Arrays, tmp_path: Path
) -> None:
    run = RunFolder(copy(interacted, tmp_path))
    archive, picture = portraits.save(run, PENDULUM, MEMBER)
    assert (archive.name, picture.name) == ("portrait.npz", "portrait.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    with np.load(archive, allow_pickle=False) as found:
        saved = dict(found)
    assert saved.keys() == pendulum.keys()
    for name, array in saved.items():
        np.testing.assert_array_equal(array, pendulum[name])


def test_the_typical_member_is_the_median_of_the_last_round(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    info = record(5)
    run.write_info(info)
    assert portraits.typical_member(run) == 0
    last = {0: 5.0, 1: 9.0, 2: 1.0, 3: 7.0, 4: 2.0}
    rows = [
        {**WHOLE, "member": m, "round": r, "interactions": 9 * r, "return": value if r == 2 else -value}
        for m, value in last.items()
        for r in (1, 2)
    ]
    run.write_rows("evaluations.csv", rows)
    assert portraits.typical_member(run) == 0
    run.write_rows("evaluations.csv", [row for row in rows if row["member"] != 0])
    assert portraits.typical_member(run) == 4  # of 1, 2, 7, 9 the lower of the middle two
    run.write_info({**info, "stopped": {"4": "critic_loss not finite"}})
    assert portraits.typical_member(run) == 3  # of 1, 7, 9


def test_without_its_data_there_is_no_density(interacted: Path, tmp_path: Path) -> None:
    run = RunFolder(copy(interacted, tmp_path))
    info = run.info()
    info["datasets"][0]["path"] = str(tmp_path / "gone.h5")
    run.write_info(info)
    arrays = portraits.portrait(run, PENDULUM)
    assert "density" not in arrays
    assert portraits.draw(arrays, tmp_path / "p.png", dpi=DPI).stat().st_size > 5_000


@pytest.mark.parametrize("name", ["pendulum", "arm"])
def test_no_legend_hides_what_is_drawn(name: str, request: pytest.FixtureRequest) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    arrays = request.getfixturevalue(name)
    figure = SCENES["InvertedPendulum" if name == "pendulum" else "Reacher"].draw(arrays)
    FigureCanvasAgg(figure).draw()
    legends = [ax.get_legend() for ax in figure.axes]
    shown = [legend.get_window_extent() for legend in (*legends, *figure.legends) if legend is not None]
    assert len(shown) == 2
    assert not any(box.overlaps(ax.get_window_extent()) for box in shown for ax in figure.axes)


def test_every_environment_has_a_picture(arm: Arrays, tmp_path: Path) -> None:
    """Reacher's own; another's, of three dimensions; one of two dimensions whose imagination has no limit."""
    reacher = portraits.draw(arm, tmp_path / "reacher.png", dpi=DPI).read_bytes()
    plain = {name: array for name, array in arm.items() if not name.startswith("plane")}
    three = {name: plain[name][..., :3] for name in ("real", "cycle", "aim")}
    other = portraits.draw(
        {**plain, **three, "env": np.array("Other-v0")}, tmp_path / "other.png", dpi=DPI
    ).read_bytes()
    two = {name: plain[name][..., :2].copy() for name in ("real", "cycle", "aim")}
    two["aim"][:, 10:] = np.nan
    two["cycle"] *= 1e30
    small = portraits.draw(
        {**plain, **two, "env": np.array("Two-v0")}, tmp_path / "two.png", dpi=DPI
    ).read_bytes()
    assert len({reacher, other, small}) == 3
    assert all(picture.startswith(b"\x89PNG") for picture in (reacher, other, small))


def test_what_is_refused(trained: Path, bco: Path, interacted: Path) -> None:
    with pytest.raises(LfoError, match="expected one with a portrait, found bco; pass a run of d3g"):
        portraits.portrait(RunFolder(bco), PENDULUM)
    with pytest.raises(LfoError, match="no inverse dynamics; run `d3g-lfo interact"):
        portraits.portrait(RunFolder(trained), PENDULUM)
    with pytest.raises(LfoError, match="member: expected 0 to 1, found 2"):
        portraits.portrait(RunFolder(interacted), PENDULUM, 2)
    with pytest.raises(LfoError, match="expected observations of length 4"):
        portraits.portrait(RunFolder(interacted), REACHER)
