"""D3G's pieces against numbers worked by hand, and a task small enough to learn in seconds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lfo import D3G, D3GConfig
from lfo.datasets import Transitions
from lfo.runs.record import Member
from lfo.training.loop import build


def line(rows: int = 4000) -> Transitions:
    """A point on a line: s' = s + a with a in ±0.3, rewarded for being near 0. A second dimension never moves."""
    rng = np.random.default_rng(0)
    s = rng.uniform(-1, 1, rows)
    after = s + rng.uniform(-0.3, 0.3, rows)
    still = np.full(rows, 7.0)
    none = np.zeros(rows, bool)
    return Transitions(np.stack([s, still], 1), np.stack([after, still], 1), -np.abs(after), none, none)


def test_unknown_is_what_lies_far_off_in_a_dimension_that_moves() -> None:
    agent, _ = build(D3G, D3GConfig(hidden=4), [line(50)], [Member(0)], "cpu")
    states = torch.tensor(
        [[[2.9, 0.0], [-3.1, 0.0], [0.0, 99.0]]]
    )  # in standard deviations; the second is still
    assert agent._unknown(states).flatten().tolist() == [False, True, False]


def test_time_limits_bootstrap_and_terminations_do_not() -> None:
    """With values of 100 everywhere, a target is its reward or some 99 more."""
    data = line(10)
    ends = np.arange(10) == 4
    for name, config, expected in [
        ("truncated", D3GConfig(), [False] * 10),
        ("terminated", D3GConfig(), ends.tolist()),
        ("truncated", D3GConfig.paper(), ends.tolist()),
    ]:
        flags = {"terminated": np.zeros(10, bool), "truncated": np.zeros(10, bool), name: ends}
        marked = Transitions(data.states, data.next_states, data.rewards, **flags)
        config = replace(config, hidden=4, clip_targets=False, known_within=0.0)
        agent, table = build(D3G, config, [marked], [Member(0)], "cpu")
        for critic in (agent.target_critic1, agent.target_critic2):
            for parameter in critic.parameters():
                parameter.zero_()
            critic.bias2.fill_(100.0)
        batch = table.batch(torch.arange(10)[None], agent.units)
        stops = torch.isclose(agent.critic_target(batch), batch.rewards)
        assert stops.flatten().tolist() == expected


SMALL = {"hidden": 32, "batch_size": 64, "gamma": 0.9, "polyak": 0.02, "device": "cpu", "progress": False}


def test_learns_where_to_go_and_stays_within_reach() -> None:
    agent = D3G.fit(line(), seeds=[0, 1], steps=3000, **SMALL)
    places = torch.tensor([-0.9, -0.5, 0.5, 0.9])
    states = torch.stack([places, torch.full_like(places, 7.0)], dim=1).expand(2, -1, -1)
    aims = agent.aim(states)
    moves = (aims - states)[:, :, 0]
    assert (moves * -places.sign() > 0.05).all(), moves
    assert (moves.abs() <= 0.3 * 1.01).all(), moves
    assert torch.equal(aims[:, :, 1], states[:, :, 1])


def test_the_aim_is_the_proposal_or_where_the_model_brings_it_back() -> None:
    agent = D3G.fit(line(), seeds=[0, 1], steps=50, hidden=8, batch_size=16, device="cpu")
    states = torch.randn(2, 5, 2) * torch.tensor([0.5, 0.0]) + torch.tensor([0.0, 7.0])
    scaled = agent.units.states(states)
    with torch.no_grad():
        proposed = agent.predict(agent.predictor, scaled)
        reached = agent.cycle(agent.critic1, scaled, proposed)
    for on_cycle, expected in ((True, reached), (False, proposed)):
        agent.config = replace(agent.config, act_on_cycle=on_cycle)
        torch.testing.assert_close(agent.aim(states), agent.units.raw_after(states, expected))
    assert not torch.allclose(reached, proposed)


def test_bf16_learns_the_same_within_its_precision() -> None:
    states = torch.tensor([[[-0.8, 7.0], [-0.4, 7.0], [0.4, 7.0], [0.8, 7.0]]])
    exact, rough = (
        D3G.fit(line(), steps=300, precision=precision, **SMALL).aim(states) for precision in ("fp32", "bf16")
    )
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(exact, rough, atol=0.01, rtol=0)
