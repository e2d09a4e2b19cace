"""Evaluation: one whole episode each, fixed starts, exact returns."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import lfo.acting.evaluation
from lfo.acting.evaluation import Evaluation, evaluate_policy, starts
from lfo.datasets import LfoError
from lfo.datasets.policies import load_policy
from lfo.envs.make import make_env, make_envs

PENDULUM, REACHER = "InvertedPendulum-v5", "Reacher-v5"


def push(strength: float, width: int = 1) -> lfo.acting.evaluation.Act:
    """Always the same action: the pendulum falls after a number of steps that depends on the start."""
    return lambda obs: np.full((*obs.shape[:2], width), strength, np.float32)


def one_by_one(env_id: str, seed: int, episodes: int, strength: float) -> list[tuple[float, int]]:
    env = gym.make(env_id)
    result = []
    for start in np.random.SeedSequence([seed, 0]).generate_state(episodes):
        env.reset(seed=int(start))
        total, steps, over = 0.0, 0, False
        while not over:
            _, reward, terminated, truncated, _ = env.step(
                np.full(env.action_space.shape, strength, np.float32)
            )
            total, steps, over = total + float(reward), steps + 1, terminated or truncated
        result.append((total, steps))
    return result


@pytest.mark.parametrize("env_id", [PENDULUM, REACHER])
def test_agrees_with_episodes_run_one_by_one(env_id: str) -> None:
    width = make_env(env_id).action_space.shape[0]  # type: ignore[index]
    result = evaluate_policy(push(0.1, width), env_id, episodes=6, seed=5)
    expected = one_by_one(env_id, 5, 6, 0.1)
    assert list(zip(result.returns[0].tolist(), result.lengths[0].tolist(), strict=True)) == expected


def test_every_episode_counts_once_however_short() -> None:
    """Starts differ, so lengths differ; short episodes must not fill the places of long ones."""
    result = evaluate_policy(push(0.1), PENDULUM, episodes=30, seed=0)
    assert result.returns.shape == result.lengths.shape == (1, 30)
    assert result.lengths.min() < result.lengths.max()
    np.testing.assert_array_equal(result.returns, result.lengths - 1)  # 1 a step, 0 for the last


def test_members_have_starts_and_actions_of_their_own() -> None:
    strengths = np.array([0.05, 0.05, -0.3], np.float32)
    seen: list[np.ndarray] = []

    def act(observations: np.ndarray) -> np.ndarray:
        seen.append(observations.copy())
        return np.broadcast_to(strengths[:, None, None], (*observations.shape[:2], 1))

    result = evaluate_policy(act, PENDULUM, members=3, episodes=4, seed=1, streams=(7, 8, 7))
    first = seen[0]
    assert first.shape == (3, 4, 4)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first[0], first[2])  # one stream
    assert len(np.unique(first[:2].reshape(8, 4), axis=0)) == 8
    for member, (strength, stream) in enumerate(zip(strengths, (7, 8, 7), strict=True)):
        alone = evaluate_policy(push(float(strength)), PENDULUM, episodes=4, seed=1, streams=(stream,))
        np.testing.assert_array_equal(result.returns[member], alone.returns[0])


def test_members_without_streams_share_no_start() -> None:
    result = evaluate_policy(push(0.1, 2), REACHER, members=3, episodes=5, seed=2)
    assert len(np.unique(result.returns)) == 15
    np.testing.assert_array_equal(starts(2, 1, 5)[:3], starts(2, 1, 3))  # more episodes go on with the same


def test_seed_chooses_the_starts() -> None:
    returns = [evaluate_policy(push(0.1), PENDULUM, episodes=10, seed=s).returns for s in (1, 1, 2)]
    np.testing.assert_array_equal(returns[0], returns[1])
    assert not np.array_equal(returns[0], returns[2])


def test_turns_and_given_environments_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluate_policy(push(0.1), PENDULUM, members=2, episodes=7, seed=3)
    monkeypatch.setattr(lfo.acting.evaluation, "MAX_ENVS", 4)
    told: list[int] = []
    turns = evaluate_policy(push(0.1), PENDULUM, members=2, episodes=7, seed=3, progress=told.append)
    envs = make_envs(PENDULUM, 5)
    given = [evaluate_policy(push(0.1), PENDULUM, members=2, episodes=7, seed=3, envs=envs) for _ in range(2)]
    for other in (turns, *given):
        np.testing.assert_array_equal(whole.returns, other.returns)
        np.testing.assert_array_equal(whole.lengths, other.lengths)
    assert sum(told) == 14


def test_finished_environments_are_stepped_no_more() -> None:
    class Counter(gym.Wrapper):  # type: ignore[type-arg]
        steps = 0

        def step(self, action: np.ndarray) -> tuple[object, float, bool, bool, dict[str, object]]:
            self.steps += 1
            return self.env.step(action)  # type: ignore[return-value]

    envs = [Counter(env) for env in make_envs(PENDULUM, 5)]
    result = evaluate_policy(push(0.1), PENDULUM, episodes=5, envs=envs)
    assert [env.steps for env in envs] == result.lengths[0].tolist()


def test_no_actions_are_computed_for_finished_episodes() -> None:
    """The batch has as many columns as some member has episodes running; members keep to their own rows."""
    strengths, widths = np.array([0.1, 0.3], np.float32), []

    def act(observations: np.ndarray) -> np.ndarray:
        widths.append(observations.shape[1])
        return np.broadcast_to(strengths[:, None, None], (*observations.shape[:2], 1))

    result = evaluate_policy(act, PENDULUM, members=2, episodes=8, seed=2)
    running = [(result.lengths >= t).sum(axis=1).max() for t in range(1, result.lengths.max() + 1)]
    assert widths == running
    assert widths[0] == 8 > widths[-1]
    for member, strength in enumerate(strengths):
        alone = evaluate_policy(push(float(strength)), PENDULUM, episodes=8, seed=2)
        np.testing.assert_array_equal(result.returns[member], alone.returns[0])


def test_max_steps_cuts_and_progress_counts_the_cut() -> None:
    told: list[int] = []
    result = evaluate_policy(push(0.0, 2), REACHER, episodes=3, max_steps=10, progress=told.append)
    assert result.lengths.tolist() == [[10, 10, 10]]
    assert sum(told) == 3


def test_actions_are_clipped_to_the_action_space() -> None:
    far, bound = (evaluate_policy(push(v, 2), REACHER, episodes=2) for v in (100.0, 1.0))
    np.testing.assert_array_equal(far.returns, bound.returns)


def test_statistics_by_hand() -> None:
    result = Evaluation("X-v0", np.array([[1.0, 3.0], [5.0, 7.0]]), np.ones((2, 2), np.int64), 5.0)
    assert result.mean == 4
    assert result.std == pytest.approx(np.sqrt(5))
    assert result.member_means.tolist() == [2, 6]
    assert result.member_stds.tolist() == [1, 1]
    assert result.success_rate == 0.5
    assert Evaluation("X-v0", result.returns, result.lengths).success_rate is None
    assert str(result) == "X-v0: 4.00 ± 2.24 (2 × 2 episodes, 50% ≥ 5)"


def test_expert_beside_random() -> None:
    env = make_env(PENDULUM)
    expert, random = load_policy("expert", env), load_policy("random", env)
    rng = np.random.default_rng(0)

    def act(observations: np.ndarray) -> np.ndarray:
        return np.stack([expert.act(observations[0], rng), random.act(observations[1], rng)])

    result = evaluate_policy(act, PENDULUM, members=2, episodes=5)
    assert result.threshold == 950
    assert result.returns[0].tolist() == [1000] * 5
    assert result.returns[1].max() < 100
    assert result.success_rate == 0.5


def test_observations_that_do_not_fit() -> None:
    with pytest.raises(LfoError, match=r"length 4, as the policy takes, found 11; use the environment"):
        evaluate_policy(push(0, 3), "Hopper-v5", state_dim=4)
    with pytest.raises(LfoError, match=r"Reacher-v5: .*length 11.*found 10; .*up to v4 and 10 in v5"):
        evaluate_policy(push(0, 2), REACHER, state_dim=11)
    with pytest.raises(LfoError, match="unknown environment"):
        evaluate_policy(push(0), "Nope-v0")


def test_a_member_that_diverged_is_named() -> None:
    def act(observations: np.ndarray) -> np.ndarray:
        actions = np.zeros((*observations.shape[:2], 2), np.float32)
        actions[1] = np.nan
        return actions

    with pytest.raises(LfoError, match=r"NaN or inf from member \[1\] at step 1"):
        evaluate_policy(act, REACHER, members=3, episodes=2)


def test_wrong_calls_are_programming_errors() -> None:
    with pytest.raises(ValueError, match=r"expected actions \(1, 10, 2\), found \(1, 10, 3\)"):
        evaluate_policy(push(0, 3), REACHER)
    with pytest.raises(ValueError, match="at least one member"):
        evaluate_policy(push(0, 2), REACHER, episodes=0)
    with pytest.raises(ValueError, match="expected at least 3 environments"):
        evaluate_policy(push(0, 2), REACHER, members=3, envs=make_envs(REACHER, 2))
