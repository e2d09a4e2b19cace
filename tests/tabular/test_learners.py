"""The gridworld's dynamics and learners against exact solutions and numbers worked by hand."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

import lfo.tabular
from lfo.datasets import LfoError
from lfo.tabular import grid as world
from lfo.tabular import learners
from lfo.tabular.grid import make_grid
from lfo.tabular.learners import Settings

GAMMA = Settings().gamma
VARIATIONS = [
    {},
    {"slip": 0.25},
    {"windy_cliff": True},
    {"redundancy": 10},
    {"permutation": (3, 2, 1, 0)},
]


def generators(seed=0):
    return tuple(np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2))


def learned_qss(grid, chosen, episodes, seed=0, learn_inverse=False):
    inverse = learners.unknown_inverse(grid) if learn_inverse else learners.given_inverse(grid)
    table = learners.qss_table(grid, chosen, inverse)
    returns = learners.learn_qss(grid, table, chosen, episodes, *generators(seed), True, learn_inverse)
    return table, returns


def learned_qsa(grid, chosen, episodes, seed=0):
    table = learners.qsa_table(grid, chosen)
    return table, learners.learn_qsa(grid, table, chosen, episodes, *generators(seed))


# ------------------------------------------------------------------------------------------------ dynamics


def test_moves_clip_at_the_walls():
    grid = make_grid(3)
    assert grid.moves[0].tolist() == [0, 3, 0, 1]
    assert grid.moves[4].tolist() == [1, 7, 3, 5]
    assert grid.moves[8].tolist() == [5, 8, 7, 8]


def test_rewards_add_up_to_the_published_best_return():
    assert world.best_return(make_grid()) == -18


def test_the_cliff_is_below_and_down_always_falls():
    grid = make_grid(windy_cliff=True)
    rng = np.random.default_rng(0)
    assert grid.start == 110
    for _ in range(20):
        assert world.step(grid, grid.start, world.DOWN, rng) == (121, 0.0, True)
    falls = [world.step(grid, grid.start, world.UP, rng)[0] == 121 for _ in range(2000)]
    assert np.mean(falls) == pytest.approx(0.5, abs=0.05)
    # There is no wind off the bottom row: the goal is reached from above.
    assert world.step(grid, 9 * 11 + 10, world.DOWN, rng) == (120, 1.0, True)


def test_best_return_of_the_cliff_is_one_lucky_first_step():
    assert world.best_return(make_grid(windy_cliff=True)) == pytest.approx(0.5)


@pytest.mark.parametrize("variation", VARIATIONS)
def test_transition_probabilities_are_what_step_draws(variation):
    grid = make_grid(3, **variation)
    p = world.transition_probabilities(grid)
    np.testing.assert_allclose(p.sum(axis=-1), 1)
    rng = np.random.default_rng(0)
    for state in (0, 4, 6):
        for action in (0, 3):
            drawn = [world.step(grid, state, action, rng)[0] for _ in range(2000)]
            frequency = np.bincount(drawn, minlength=len(p)) / 2000
            np.testing.assert_allclose(frequency, p[state, grid.direction[action]], atol=0.05)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"size": 1}, "size"),
        ({"slip": 1.5}, "slip"),
        ({"slip": float("nan")}, "slip"),
        ({"redundancy": 0}, "redundancy"),
        ({"permutation": (0, 1, 2, 2)}, "permutation"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(wrong, field):
    with pytest.raises(LfoError, match=field):
        make_grid(**wrong)


# ------------------------------------------------------------------------------------------------ environment


@pytest.mark.parametrize("variation", VARIATIONS)
def test_environment_passes_gymnasium_checks(variation):
    env = gymnasium.make("lfo.tabular:lfo/GridWorld-v0", **variation)
    check_env(env.unwrapped, skip_render_check=True)
    assert env.spec.id == lfo.tabular.ENV_ID
    assert env.spec.max_episode_steps == 500


def test_environment_walks_to_the_goal():
    env = gymnasium.make("lfo/GridWorld-v0")
    observation, _ = env.reset(seed=0)
    assert observation.tolist() == [0, 0]
    rewards = []
    for action in [1] * 10 + [3] * 10:
        observation, reward, terminated, truncated, _ = env.step(action)
        rewards.append(reward)
    assert observation.tolist() == [10, 10]
    assert (sum(rewards), terminated, truncated) == (-18, True, False)


def test_environment_is_cut_off_after_500_steps_without_termination():
    env = gymnasium.make("lfo/GridWorld-v0")
    env.reset(seed=0)
    flags = [env.step(0)[2:4] for _ in range(500)]
    assert flags[-1] == (False, True)
    assert not any(terminated or truncated for terminated, truncated in flags[:-1])


def test_registering_twice_is_harmless():
    lfo.tabular.register()
    assert lfo.tabular.ENV_ID in gymnasium.registry


# ------------------------------------------------------------------------------------------------ updates


def test_one_qss_update_by_hand():
    """2×2 grid, states 0 1 / 2 3: Q(0,1) with N(1) = {1, 3, 0}, Q(1,1) = −2, Q(1,3) = 0.5, Q(1,0) = −1."""
    grid = make_grid(2)
    q = np.full((4, 4), 7.0)  # entries that are no neighbours must not be read
    q[0, 1], q[1, 1], q[1, 3], q[1, 0] = -1.0, -2.0, 0.5, -1.0
    learners.update_qss(q, grid.moves, (0, 1, -1.0, False), 0.9, 0.1)
    # −1 + 0.1·(−1 + 0.9·0.5 − (−1)) = −0.955
    assert q[0, 1] == pytest.approx(-0.955)
    learners.update_qss(q, grid.moves, (1, 3, 1.0, True), 0.9, 0.1)
    # a termination does not bootstrap: 0.5 + 0.1·(1 − 0.5) = 0.55
    assert q[1, 3] == pytest.approx(0.55)


def test_one_qsa_update_by_hand():
    table = learners.QsaTable(np.array([[0.0, -1.0], [0.5, -2.0]]), np.array([0, 0]))
    learners.update_qsa(table, 0, (0, 1, -1.0, False), 0.9, 0.1)
    # 0 + 0.1·(−1 + 0.9·0.5 − 0) = −0.055
    assert table.q[0, 0] == pytest.approx(-0.055)
    learners.update_qsa(table, 0, (1, 0, 1.0, True), 0.9, 0.1)
    assert table.q[1, 0] == pytest.approx(0.55)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([-1.0, 0.0, 1.0])), max_size=60))
def test_the_greedy_action_is_the_first_argmax_at_all_times(visits):
    table = learners.QsaTable(np.zeros((1, 5)), np.zeros(1, dtype=np.int64))
    for action, reward in visits:
        learners.update_qsa(table, action, (0, 0, reward, True), 0.9, 1.0)
        assert table.greedy[0] == table.q[0].argmax()


def test_the_first_of_equal_neighbours_is_chosen():
    grid = make_grid(3)
    q = np.zeros((9, 9))
    assert learners.best_neighbour(q, grid.moves, 4) == 0
    q[4, 3] = q[4, 5] = 1
    assert learners.best_neighbour(q, grid.moves, 4) == 2


def test_epsilon_falls_linearly_and_stays():
    chosen = Settings()
    assert [learners.epsilon_at(n, chosen) for n in (0, 50_000, 100_000, 10**6)] == pytest.approx(
        [1.0, 0.55, 0.1, 0.1]
    )


# ------------------------------------------------------------------------------------------------ inverse


def test_the_given_inverse_knows_all_actions_that_lead_there():
    grid = make_grid(3, redundancy=2)
    inverse = learners.given_inverse(grid)
    # the top left corner reaches itself by up and left and their copies; both fill its first place in N
    assert sorted(inverse.actions[0, 0, : inverse.known[0, 0]]) == [0, 2, 4, 6]
    assert inverse.known[0].tolist() == [4, 2, 0, 2]


def test_an_unseen_transition_gets_a_uniform_action_and_a_seen_one_the_seen():
    grid = make_grid(3, redundancy=10)
    inverse = learners.unknown_inverse(grid)
    rng = np.random.default_rng(0)
    assert {learners.inverse_action(inverse, 4, 3, rng) for _ in range(2000)} == set(range(40))
    for action in (3, 7, 3):
        learners.observe(inverse, grid.moves, 4, action, 5)
    drawn = [learners.inverse_action(inverse, 4, 3, rng) for _ in range(2000)]
    assert np.bincount(drawn)[[3, 7]] == pytest.approx([1000, 1000], abs=150)


def test_a_learned_inverse_is_never_wrong_where_nothing_slips():
    grid = make_grid(5, redundancy=3)
    table, _ = learned_qss(grid, Settings(epsilon_end=1.0), 200, learn_inverse=True)
    given = learners.given_inverse(grid)
    assert (table.inverse.seen <= given.seen).all()
    assert table.inverse.known[:-1].sum() == given.known[:-1].sum()  # all but the goal's, where none acts


# ------------------------------------------------------------------------------------------------ exactness

RANDOM_WALK = Settings(alpha=0.5, epsilon_end=1.0)


@pytest.fixture(scope="module")
def converged():
    grid = make_grid()
    return grid, learned_qss(grid, RANDOM_WALK, 2000)[0], learned_qsa(grid, RANDOM_WALK, 2000)[0]


def test_qsa_converges_to_value_iteration(converged):
    grid, _, qsa = converged
    exact = world.value_iteration(grid, GAMMA)[~grid.terminal]
    np.testing.assert_allclose(qsa.q[~grid.terminal], exact, atol=1e-9)


def test_qss_converges_to_value_iteration(converged):
    grid, qss, _ = converged
    exact = world.value_iteration(grid, GAMMA)
    for state in np.flatnonzero(~grid.terminal):
        np.testing.assert_allclose(qss.q[state, grid.moves[state]], exact[state], atol=1e-9)


def test_qss_is_the_best_qsa_of_the_actions_that_lead_there(converged):
    grid, qss, qsa = converged
    for state in np.flatnonzero(~grid.terminal):
        for neighbour in set(grid.moves[state]):
            leading = grid.moves[state, grid.direction] == neighbour
            assert qss.q[state, neighbour] == pytest.approx(qsa.q[state, leading].max(), abs=1e-9)


def test_both_learn_the_best_return(converged):
    grid, qss, qsa = converged
    assert world.policy_return(grid, learners.qss_policy(grid, qss)) == pytest.approx(-18)
    assert world.policy_return(grid, learners.qsa_policy(grid, qsa)) == pytest.approx(-18)


def test_the_published_settings_end_with_the_best_return():
    grid = make_grid()
    assert (learned_qss(grid, Settings(), 50_000)[1][-5000:] == -18).all()
    assert (learned_qsa(grid, Settings(), 50_000)[1][-5000:] == -18).all()


def test_qss_is_optimistic_at_the_cliff_by_its_definition():
    """Q(s,s') is the value of a transition that happened: from the start along the edge, 10 steps, γ⁹."""
    grid = make_grid(windy_cliff=True)
    optimistic = world.value_iteration(grid, GAMMA, optimistic=True)[grid.start].max()
    assert optimistic == pytest.approx(GAMMA**9)
    chosen = Settings(alpha=0.5, epsilon_end=1.0)
    small = make_grid(4, windy_cliff=True)
    table, _ = learned_qss(small, chosen, 20_000)
    exact = world.value_iteration(small, GAMMA, optimistic=True)
    for state in np.flatnonzero(~small.terminal):
        np.testing.assert_allclose(table.q[state, small.moves[state]], exact[state], atol=1e-6)
    assert world.policy_return(small, learners.qss_policy(small, table)) == pytest.approx(0.5**3)


# ------------------------------------------------------------------------------------------------ evaluation


def plain_rollout(grid, action_of, cap, rng):
    """The definition: no circle is cut."""
    total, state = 0.0, grid.start
    for _ in range(cap):
        state, reward, terminated = world.step(grid, state, action_of(state), rng)
        total += reward
        if terminated:
            break
    return total


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(VARIATIONS), st.booleans())
def test_cutting_circles_changes_no_return(seed, variation, structured):
    grid = make_grid(4, **variation)
    rng = np.random.default_rng(seed)
    exact = world.value_iteration(grid, GAMMA)
    noise = rng.normal(size=(len(grid.moves), len(grid.direction)))
    q = 3 * structured * exact[:, grid.direction] + noise
    qsa = learners.QsaTable(q, q.argmax(axis=1))
    one, other = np.random.default_rng(seed), np.random.default_rng(seed)
    fast = learners.rollout_qsa(grid, qsa, 60, grid.random, one)
    assert fast == plain_rollout(grid, lambda state: qsa.greedy[state], 60, other)

    table = learners.qss_table(grid, Settings(), learners.given_inverse(grid))
    for state in range(len(grid.moves)):
        table.q[state, grid.moves[state]] = q[state, :4]

    def act(state):
        best = learners.best_neighbour(table.q, grid.moves, state)
        return learners.inverse_action(table.inverse, state, best, other)

    one, other = np.random.default_rng(seed), np.random.default_rng(seed)
    assert learners.rollout_qss(grid, table, 60, grid.random, one) == plain_rollout(grid, act, 60, other)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_cutting_circles_waits_for_what_an_unknown_inverse_draws(seed):
    """With I half known, a state may be left by a random action: only circles without one are cut."""
    grid = make_grid(3)
    rng = np.random.default_rng(seed)
    table = learners.qss_table(grid, Settings(), learners.unknown_inverse(grid))
    table.q[:] = rng.normal(size=table.q.shape)
    for state in range(8):
        if rng.random() < 0.5:
            for action in range(4):
                learners.observe(table.inverse, grid.moves, state, action, grid.moves[state, action])

    def act(state):
        best = learners.best_neighbour(table.q, grid.moves, state)
        return learners.inverse_action(table.inverse, state, best, other)

    one, other = np.random.default_rng(seed), np.random.default_rng(seed)
    assert learners.rollout_qss(grid, table, 40, False, one) == plain_rollout(grid, act, 40, other)


@pytest.mark.parametrize("variation", VARIATIONS)
def test_compiled_and_plain_python_learn_the_same(variation):
    """The uncompiled loops draw the same numbers and end in the same tables, bit for bit."""
    grid = make_grid(4, **variation)
    chosen = Settings(epsilon_steps=100, cap=30, rollouts=2)
    compiled, returns = learned_qss(grid, chosen, 10, learn_inverse=True)
    plain = learners.qss_table(grid, chosen, learners.unknown_inverse(grid))
    again = learners.learn_qss.py_func(grid, plain, chosen, 10, *generators(), True, True)
    np.testing.assert_array_equal(returns, again)
    np.testing.assert_array_equal(compiled.q, plain.q)
    np.testing.assert_array_equal(compiled.inverse.actions, plain.inverse.actions)

    compiled_qsa, returns = learned_qsa(grid, chosen, 10)
    plain_qsa = learners.qsa_table(grid, chosen)
    again = learners.learn_qsa.py_func(grid, plain_qsa, chosen, 10, *generators())
    np.testing.assert_array_equal(returns, again)
    np.testing.assert_array_equal(compiled_qsa.q, plain_qsa.q)


def test_policy_value_and_return_are_exact():
    """Always right along the cliff of a 3×3 grid: both steps must survive, p = ¼; γ once."""
    grid = make_grid(3, windy_cliff=True)
    right = np.tile([0.0, 0.0, 0.0, 1.0], (len(grid.moves), 1))
    assert world.policy_return(grid, right) == pytest.approx(0.25)
    assert world.policy_value(grid, right, 0.9)[grid.start] == pytest.approx(0.25 * 0.9)


def test_random_walk_is_the_environments():
    grid = make_grid(4)
    walk = learners.random_walk(grid, 1000, 50, np.random.default_rng(0))
    states, next_states, rewards, terminated, truncated = walk
    ends = terminated | truncated
    assert states[0] == grid.start
    np.testing.assert_array_equal(states[1:][~ends[:-1]], next_states[:-1][~ends[:-1]])
    assert (states[1:][ends[:-1]] == grid.start).all()
    np.testing.assert_array_equal(terminated, next_states == 15)
    np.testing.assert_array_equal(rewards, np.where(next_states == 15, 1.0, -1.0))
    assert np.diff(np.flatnonzero(np.r_[True, ends])).max() <= 50
    assert ends[-1]


@pytest.mark.parametrize(
    ("wrong", "remedy", "right"),
    [
        ({"size": 1}, "pass 2 or more", {"size": 2}),
        ({"slip": 1.5}, "pass a number from 0 to 1", {"slip": 1}),
        ({"redundancy": 0}, "pass 1 for 4 actions", {"redundancy": 1}),
        ({"permutation": (0, 0, 1, 2)}, r"pass \(0, 1, 2, 3\)", {"permutation": (0, 1, 2, 3)}),
    ],
)
def test_the_remedy_for_a_wrong_grid_works(wrong, remedy, right):
    with pytest.raises(LfoError, match=f"expected .*, found .*; {remedy}"):
        make_grid(**wrong)
    make_grid(**right)
