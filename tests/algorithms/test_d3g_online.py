"""D3G with actions: a step against the equations in float64; members, resume and divergence in the simulator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from equations import adam_first_step, mlp, weights
from gymnasium.wrappers import RescaleAction
from shell import copy, d3g, error, must
from torch import Tensor

from lfo import RunFolder, evaluate, learn_inverse, load_agent, load_policy
from lfo.acting import online as stage
from lfo.acting.online import OnlineConfig, learn_online
from lfo.acting.rounds import Stage
from lfo.algorithms.d3g_online import D3GOnline, D3GOnlineConfig
from lfo.algorithms.inverse import Inverse, InverseConfig
from lfo.datasets import LfoError, Transitions, load
from lfo.envs.spaces import ActionSpace
from lfo.nn.batches import ActionBatch
from lfo.nn.scaling import Units
from lfo.training.sources import ReplayBuffer

ENV = "InvertedPendulum-v5"
B, S, M = 32, 3, 2
SMALL = D3GOnlineConfig(hidden=16, batch_size=B)
PAPER = replace(D3GOnlineConfig.paper(), hidden=16, batch_size=B)
TINY = D3GOnlineConfig(hidden=8, batch_size=16)
SHORT = OnlineConfig(steps=120, start=40, eval_every=40, episodes=2)
CONFIGS = {
    "default": SMALL,
    "paper": PAPER,
    "no cycle": replace(SMALL, cycle=False),
    "no cycle, target of τ fixed": replace(PAPER, cycle=False, follow_predictor=False),
}
SPACE = ActionSpace(np.array([-1.0, 0.0], np.float32), np.array([3.0, 0.5], np.float32))


def agent_of(config: D3GOnlineConfig, units: Units) -> D3GOnline:
    agent = D3GOnline(config, units, [7, 8])
    inverse = InverseConfig(hidden=config.hidden)
    agent.attach(Inverse(inverse, units, SPACE, [7, 8], standardised=config.standardise))
    return agent


def make_data(seed: int) -> Transitions:
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(B, S)) * [1.0, 5.0, 0.2] + [0.0, 3.0, 1.0]
    steps = rng.normal(size=(B, S)) * [0.1, 0.7, 0.0]  # the last dimension never changes
    terminated = rng.random(B) < 0.2
    truncated = (rng.random(B) < 0.2) & ~terminated
    return Transitions(states, states + steps, rng.normal(size=B), terminated, truncated)


def expected_step(
    agent: D3GOnline, m: int, data: Transitions, actions: np.ndarray
) -> tuple[dict[str, float], dict[str, list[Tensor]]]:
    """One member's step from the equations, in float64: the metrics, and the weights after it."""
    c, t = agent.config, torch.from_numpy
    s, s2 = data.states.astype(np.float64), data.next_states.astype(np.float64)
    one, zero = np.ones(S), np.zeros(S)
    moves, mean, std, dstd, mid, reach = one > 0, zero, one, one, np.zeros(2), np.ones(2)
    if c.standardise:
        moves = (s2 - s).std(0) > 1e-6
        mean, std, dstd = s.mean(0), s.std(0), np.where(moves, (s2 - s).std(0), 1.0)
        mid, reach = np.array([1.0, 0.25]), np.array([2.0, 0.25])
    x, x2, moving = t((s - mean) / std), t((s2 - mean) / std), t(moves.astype(float))
    delta, ratio = t((s2 - s) / dstd) * moving, t(dstd / std)
    a, r, goes_on = (
        t(actions.astype(np.float64)),
        t(data.rewards.astype(np.float64)),
        t(1.0 - data.terminated),
    )
    names = ("critic1", "critic2", "predictor", "model")
    networks = {name: getattr(agent, name) for name in names} | {"inverse": agent.require_inverse().network}
    w = {name: [p.requires_grad_() for p in weights(network, m)] for name, network in networks.items()}
    old = {name: weights(getattr(agent, f"target_{name}"), m) for name in names[:3]}

    def q(w: list[Tensor], x: Tensor, d: Tensor) -> Tensor:
        return mlp(w, torch.cat([x, x + d * ratio], -1))[:, 0]

    def infer(x: Tensor, d: Tensor) -> Tensor:
        out = mlp(w["inverse"], torch.cat([x, d if c.standardise else x + d], -1))
        return torch.tensor([1.0, 0.25]) + torch.tensor([2.0, 0.25]) * torch.tanh(out)

    def f(x: Tensor, a: Tensor) -> Tensor:
        return mlp(w["model"], torch.cat([x, (a - t(mid)) / t(reach)], -1)) * moving

    def cycle(x: Tensor, d: Tensor) -> Tensor:
        return f(x, infer(x, d)) if c.cycle else d

    def norm(e: Tensor) -> Tensor:
        return (e**2).sum(-1).mean() / moving.sum()

    with torch.no_grad():
        reached = cycle(x2, mlp(old["predictor"], x2) * moving)
        least = torch.minimum(q(old["critic1"], x2, reached), q(old["critic2"], x2, reached))
        y = r + c.gamma * goes_on * least
    values = q(w["critic1"], x, delta)
    critic_loss = ((values - y) ** 2).mean() + ((q(w["critic2"], x, delta) - y) ** 2).mean()
    model_loss, inverse_loss = norm(f(x, a) - delta), ((infer(x, delta) - a) ** 2).mean()
    critics = adam_first_step(w["critic1"] + w["critic2"], critic_loss)
    model, inverse = adam_first_step(w["model"], model_loss), adam_first_step(w["inverse"], inverse_loss)
    w |= {"critic1": critics[:6], "critic2": critics[6:], "model": model, "inverse": inverse}

    proposed = mlp(w["predictor"], x) * moving
    reached = cycle(x, proposed)
    error, value = norm(proposed - reached), q(w["critic1"], x, reached).mean()
    loss = (c.cycle_weight * error if c.cycle else 0.0) - value
    w["predictor"] = adam_first_step(w["predictor"], loss)
    for name in names[:3]:
        rate = c.polyak if name != "predictor" or c.follow_predictor else 0.0
        w[f"target_{name}"] = [was + rate * (now - was) for was, now in zip(old[name], w[name], strict=True)]
    losses = {"critic_loss": critic_loss, "model_loss": model_loss, "inverse_loss": inverse_loss}
    metrics = losses | {"cycle_error": error, "q_data": values.mean(), "q_predicted": value}
    return {name: float(v.detach()) for name, v in metrics.items()}, w


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_update_equals_the_equations(config: D3GOnlineConfig) -> None:
    data = [make_data(0), make_data(1)]
    units = Units.of(data, [0, 1], standardise=config.standardise)
    agent, buffer = agent_of(config, units), ReplayBuffer(units, 2, B)
    actions = np.random.default_rng(2).uniform(SPACE.low, SPACE.high, (2, B, 2)).astype(np.float32)
    names = ("states", "next_states", "rewards", "terminated", "truncated")
    columns = [torch.from_numpy(np.stack([getattr(d, name) for d in data])) for name in names]
    buffer.append(*columns, torch.from_numpy(actions))
    expected = [expected_step(agent, m, data[m], actions[m]) for m in range(M)]
    metrics = agent.update(buffer.batch(torch.arange(2 * B).view(2, B), units))
    for m, (numbers, after) in enumerate(expected):
        for name, number in numbers.items():
            torch.testing.assert_close(metrics[name][m].item(), number, rtol=3e-4, atol=3e-5, msg=name)
        for name, want in after.items():
            network = agent.require_inverse().network if name == "inverse" else getattr(agent, name)
            for found, one in zip(network.parameters(), want, strict=True):
                close = torch.isclose(found[m].double(), one.detach(), rtol=1e-4, atol=1e-6)
                assert close.double().mean() > 0.99, f"{name}: {(~close).sum()} of {close.numel()} differ"


def test_only_terminations_stop_bootstrapping() -> None:
    agent = agent_of(SMALL, Units(2, S))
    zeros, state = torch.zeros(2, 4, 1), torch.zeros(2, 4, S)
    terminated = torch.tensor([1.0, 0.0, 0.0, 1.0]).expand(2, 4)[..., None]
    truncated = torch.tensor([0.0, 1.0, 0.0, 1.0]).expand(2, 4)[..., None]
    batch = ActionBatch(state, state, zeros, terminated, truncated, state, torch.zeros(2, 4, 2))
    y = agent.critic_target(batch)[..., 0]
    assert (y[:, [0, 3]] == 0).all()
    assert torch.equal(y[:, 1], y[:, 2])
    assert (y[:, 1] != 0).all()


# --- in the simulator ----------------------------------------------------------------------------------------------


def learn(seeds: list[int], online: OnlineConfig = SHORT, **more: Any) -> Any:
    config = more.pop("config", TINY)
    return learn_online(
        ENV,
        algorithm=D3GOnline,
        config=config,
        online=online,
        seeds=seeds,
        device="cpu",
        progress=False,
        **more,
    )


def tensors(agent: Any) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in agent.named_parameters()}


@pytest.fixture(scope="module")
def pair() -> Any:
    """Two members after two rounds."""
    return learn([3, 4])


def test_a_member_of_a_stack_learns_what_it_learns_alone(pair: Any) -> None:
    for m, seed in enumerate(pair.seeds):
        alone = tensors(learn([seed]))
        for name, value in tensors(pair).items():
            torch.testing.assert_close(value[m], alone[name][0], rtol=1e-3, atol=2e-4, msg=name)


def test_a_run_that_dies_continues_to_the_same_weights(
    pair: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = RunFolder(tmp_path / "run")
    out.create(overwrite=False)
    act, calls = Stage._act, []

    def die(self: Stage, number: int, stop: Any) -> bool:
        calls.append(number)
        if number == 2 and len(calls) == 2:
            act(self, number, lambda: self.agent.updates >= 50)  # some of the round is done, and lost
            raise SystemExit
        return act(self, number, stop)

    monkeypatch.setattr(stage.Stage, "_act", die)
    with pytest.raises(SystemExit):
        learn([3, 4], out=out)
    assert load_agent(out, "cpu").updates == 40
    agent = learn([3, 4], out=out, resume=True)
    assert calls == [1, 2, 2]
    for name, value in tensors(pair).items():
        assert torch.equal(value, tensors(agent)[name]), name
    for name, value in tensors(load_agent(out, "cpu")).items():
        assert torch.equal(value, tensors(pair)[name]), name
    assert [int(row["interactions"]) for row in out.rows("evaluations.csv")[::4]] == [80, 120]
    with pytest.raises(LfoError, match=r"noise: expected 0.1 as the stage was started, found 0.3"):
        learn([3, 4], replace(SHORT, noise=0.3), out=out, resume=True)


def test_a_member_that_diverges_is_stopped_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    update = D3GOnline.update

    def poison(self: D3GOnline, batch: ActionBatch) -> dict[str, Tensor]:
        if self.updates == 25:
            with torch.no_grad():
                self.critic1.weight0[1] = torch.nan
                self.predictor.weight0[1] = torch.nan
        return update(self, batch)

    monkeypatch.setattr(D3GOnline, "update", poison)
    agent = learn([3, 4])
    assert list(agent.stopped) == [1]
    assert agent.stopped[1] == "critic_loss not finite at step 26"
    assert all(bool(value.isfinite().all()) for value in tensors(agent).values())
    assert np.isfinite(evaluate(agent, ENV, episodes=1).mean)


def test_only_the_inverse_dynamics_are_learned_anew_for_other_actions(finished: Path) -> None:
    agent: Any = load_agent(RunFolder(finished), "cpu")
    kept = {name: value.clone() for name, value in tensors(agent).items()}
    more = {"rounds": 1, "interactions": 30, "grad_steps": 20, "episodes": 1, "hidden": 8, "batch_size": 16}
    rounds = learn_inverse(
        agent, lambda: RescaleAction(gym.make(ENV), np.float32(-1), np.float32(2)), progress=False, **more
    )
    assert len(rounds) == 1
    assert agent.inverse.space.high.tolist() == [2.0]
    for name, value in tensors(agent).items():
        fresh = name.startswith(("inverse", "model"))
        assert torch.equal(value, kept[name]) != fresh, name


# --- the command ---------------------------------------------------------------------------------------------------

OPTIONS = ("--steps", 120, "--start", 40, "--eval-every", 40, "--episodes", 2, "--hidden", 8)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run by the command, its replay buffer beside it."""
    out = tmp_path_factory.mktemp("online") / "run"
    record = out.parent / "steps.h5"
    shown = must("online", ENV, "-o", out, "--seeds", "0-1", *OPTIONS, "--record", record, "--keep-actions")
    assert shown.count("interactions  return") == 2
    return out


def test_every_command_takes_the_run(finished: Path, tmp_path: Path) -> None:
    assert "d3g-online in InvertedPendulum-v5 after 120 interactions" in must("eval", finished)
    assert "D3G, online" in must("compare", finished)
    policy = tmp_path / "policy.safetensors"
    must("export", finished, "--member", "1", "-o", policy)
    np.testing.assert_array_equal(
        load_policy(policy).predict(np.ones(4)), load_policy(finished, 1).predict(np.ones(4))
    )
    assert np.isfinite(load_policy(finished).value(np.zeros((3, 4)), np.zeros((3, 4)))).all()


def test_the_replay_buffer_is_a_data_set(finished: Path) -> None:
    data = load(finished.parent / "steps.h5")
    assert len(data) == 2 * 120
    assert not data.warnings
    joined = (data.states[1:] == data.next_states[:-1]).all(axis=1)
    ends = (data.terminated | data.truncated)[:-1]
    np.testing.assert_array_equal(joined, ~ends)  # an episode goes on where no flag ends it, and nowhere else
    assert data.metadata.policy == "run"


def test_more_steps_continue_a_finished_run(finished: Path, tmp_path: Path) -> None:
    out = copy(finished, tmp_path)
    assert "round 3/3  160 interactions" in must("online", "-o", out, "--resume", "--steps", 160)
    assert RunFolder(out).info()["steps"] == 160


def test_the_environments_arguments_are_kept(tmp_path: Path) -> None:
    out = tmp_path / "run"
    must("online", ENV, "-o", out, *OPTIONS, "--env-kwargs", "frame_skip=4")
    assert RunFolder(out).info()["interact"]["env_kwargs"] == {"frame_skip": 4}
    assert "round 3/3" in must("online", "-o", out, "--resume", "--steps", 160)


def test_wrong_calls_are_one_line(finished: Path, trained: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    for words, expected in (
        ((ENV, "-o", finished), "run: already exists; pass --resume"),
        ((ENV, "-o", new, "--steps", 100), "steps: expected more than the 10,000 random steps"),
        (("-o", new), "Missing argument 'ENV'"),
        (("-o", new, "--resume"), "expected a run folder, found nothing there"),
        (("-o", trained, "--resume"), "expected a run of `d3g-lfo online`, found one of `d3g-lfo train`"),
        ((ENV, "-o", new, "--set", "beta=1"), "beta: expected a setting of D3GOnlineConfig"),
        (("Nope-v0", "-o", new), "unknown environment 'Nope-v0'"),
        ((ENV, "-o", new, "--keep-actions"), "--keep-actions goes with --record"),
        ((ENV, "-o", new, "--noise", "-1"), "noise: expected a number from 0 up"),
    ):
        done = d3g("online", *words)
        assert done.code in (1, 2), words
        assert expected in done.err, done.err
        assert not new.exists()
    for other in (("interact", finished, "--resume"), ("train", "-o", finished, "--resume")):
        assert f"d3g-lfo online -o {finished} --resume" in error(*other)
