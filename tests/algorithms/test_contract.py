"""The contract of every algorithm, one of somebody else's among them: members are independent, runs repeat, resume is
exact, divergence is contained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import plugin
import pytest
import torch

from lfo import BCO, D3G, RunFolder, evaluate, learn_inverse, load_agent
from lfo.acting.rounds import act
from lfo.algorithms import registry
from lfo.datasets import LfoError, Transitions, load, save
from lfo.runs.record import Member
from lfo.training.divergence import Divergence
from lfo.training.loop import run_steps, train
from lfo.training.progress import Progress
from lfo.training.seeding import seeded

ENV = "InvertedPendulum-v5"
ALGOS = (*registry.names(), "mean")
OFFLINE = [algo for algo in registry.names() if registry.spec(algo).learns_offline] + ["mean"]
TINY = {"hidden": 8, "batch_size": 16}
ROUND = {"rounds": 2, "interactions": 30, "grad_steps": 20, "episodes": 2, "hidden": 8, "batch_size": 16}


@pytest.fixture(scope="module", autouse=True)
def mean(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The algorithm of somebody else's, installed."""
    with plugin.installed(plugin.install(tmp_path_factory.mktemp("site"))):
        yield


def make_data(seed: int = 0, rows: int = 300, dim: int = 4) -> Transitions:
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(rows, dim))
    moved = states + 0.3 * rng.normal(size=(rows, dim))
    return Transitions(states, moved, rng.normal(size=rows), rng.random(rows) < 0.1, np.zeros(rows, bool))


def config_of(algo: str, **more: Any) -> Any:
    return registry.spec(algo).config(**{**TINY, **more})


def trained(algo: str, seeds: list[int], data: list[Transitions], which: list[int], steps: int = 40) -> Any:
    members = [Member(seed, index) for seed, index in zip(seeds, which, strict=True)]
    spec = registry.spec(algo)
    agent, table = train(
        data, algorithm=spec.cls, config=config_of(algo), members=members, steps=steps, device="cpu"
    )
    learn_inverse(agent, ENV, demonstrations=table, **ROUND)
    return agent


def member_state(agent: Any, member: int) -> dict[str, torch.Tensor]:
    return {name: tensor.detach()[member].clone() for name, tensor in agent.named_parameters()}


@pytest.mark.parametrize("algo", ALGOS)
def test_a_member_of_a_stack_learns_what_it_learns_alone(algo: str) -> None:
    data = [make_data(0), make_data(1, rows=200)]
    stack = trained(algo, [3, 4, 3], data, [0, 0, 1])
    alone = [trained(algo, [3], [data[0]], [0]), trained(algo, [4], [data[0]], [0])]
    alone.append(trained(algo, [3], [data[1]], [0]))
    for m, agent in enumerate(alone):
        for name, expected in member_state(agent, 0).items():
            torch.testing.assert_close(member_state(stack, m)[name], expected, rtol=1e-3, atol=2e-4, msg=name)
    different = member_state(stack, 0), member_state(stack, 2)
    assert any(not torch.equal(different[0][k], different[1][k]) for k in different[0])


@pytest.mark.parametrize("algo", ALGOS)
def test_same_seed_same_run(algo: str) -> None:
    first, second = (trained(algo, [1, 2], [make_data()], [0, 0]) for _ in range(2))
    for name, tensor in first.state_dict().items():
        if torch.is_tensor(tensor):
            assert torch.equal(tensor, second.state_dict()[name]), name


@pytest.mark.parametrize("algo", ALGOS)
def test_actions_in_the_file_change_nothing(algo: str, tmp_path: Path) -> None:
    data = make_data()
    agents = []
    for name, actions in (("without", None), ("with", np.random.default_rng(0).normal(size=(len(data), 2)))):
        path = tmp_path / f"{name}.h5"
        save(data, path, actions=actions)
        agents.append(trained(algo, [1], [load(path)], [0]))
    for name, tensor in member_state(agents[0], 0).items():
        assert torch.equal(tensor, member_state(agents[1], 0)[name]), name


@pytest.mark.parametrize("algo", ALGOS)
def test_acts_inside_the_bounds_and_survives_the_disk(algo: str, tmp_path: Path) -> None:
    data, out = [make_data()], RunFolder(tmp_path / "run")
    out.create(overwrite=False)
    members = [Member(5), Member(6)]
    agent, table = train(
        data,
        algorithm=registry.spec(algo).cls,
        config=config_of(algo),
        members=members,
        steps=20,
        out=out,
        device="cpu",
    )
    with pytest.raises(LfoError, match="inverse dynamics"):
        evaluate(agent, ENV, episodes=1)
    learn_inverse(agent, ENV, demonstrations=table, out=out, **ROUND)
    again = load_agent(out, "cpu")
    observations = np.random.default_rng(0).normal(size=(2, 7, 4)).astype(np.float32) * 3
    actions = act(agent, observations)
    assert actions.shape == (2, 7, 1)
    assert (np.abs(actions) <= 3.0).all()
    np.testing.assert_array_equal(actions, act(again, observations))


@pytest.mark.parametrize("algo", OFFLINE)
def test_train_in_two_parts_is_train_in_one(algo: str, tmp_path: Path) -> None:
    """Across a block of minibatches, a row of metrics and an odd step: bit for bit."""
    members, data = [Member(1), Member(2)], [make_data()]
    config = config_of(algo)
    whole = train(
        data, algorithm=registry.spec(algo).cls, config=config, members=members, steps=301, device="cpu"
    )[0]
    out = RunFolder(tmp_path / "run")
    out.create(overwrite=False)
    train(
        data,
        algorithm=registry.spec(algo).cls,
        config=config,
        members=members,
        steps=137,
        out=out,
        device="cpu",
    )
    parts = train(
        data,
        algorithm=registry.spec(algo).cls,
        config=config,
        members=members,
        steps=301,
        out=out,
        resume=True,
        device="cpu",
    )[0]
    _assert_same_state(whole.state_dict(), parts.state_dict())
    rows = out.rows("metrics.csv")
    assert [row["step"] for row in rows] == ["137", "137", "301", "301"]
    assert {row["seed"] for row in rows} == {"1", "2"}


@pytest.mark.parametrize("algo", ALGOS)
def test_interact_in_two_parts_is_interact_in_one(algo: str, tmp_path: Path) -> None:
    members, data = [Member(1), Member(2)], [make_data()]
    results = []
    for parts in ([3], [1, 3]):
        out = RunFolder(tmp_path / f"run{len(parts)}")
        out.create(overwrite=False)
        _, table = train(
            data,
            algorithm=registry.spec(algo).cls,
            config=config_of(algo),
            members=members,
            steps=20,
            out=out,
            device="cpu",
        )
        for part, rounds in enumerate(parts):
            agent = load_agent(out, "cpu")
            settings = {**ROUND, "rounds": rounds}
            learn_inverse(agent, ENV, demonstrations=table, out=out, resume=part > 0, **settings)
        results.append(
            (agent.state_dict(), out.rows("evaluations.csv"), out.interactions(), out.rows("metrics.csv"))
        )
        learned = agent.updates if agent.learns_offline else 60  # its steps are those of the rounds
        assert {int(row["step"]) for row in results[-1][3]} >= {learned}
    _assert_same_state(results[0][0], results[1][0])
    assert results[0][3] == results[1][3]
    assert results[0][1] == results[1][1]
    assert [row["interactions"] for row in results[0][1]] == ["30"] * 4 + ["60"] * 4 + ["90"] * 4
    for name, array in results[0][2].items():
        assert array.shape[:2] == (2, 90)
        np.testing.assert_array_equal(array, results[1][2][name])


def _assert_same_state(first: Any, second: Any) -> None:
    if torch.is_tensor(first):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            _assert_same_state(first[key], second[key])
    elif isinstance(first, list):
        for a, b in zip(first, second, strict=True):
            _assert_same_state(a, b)
    else:
        assert first == second


def test_resume_refuses_other_data_or_settings(tmp_path: Path) -> None:
    out = RunFolder(tmp_path / "run")
    out.create(overwrite=False)
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for seed, path in enumerate(paths):
        save(make_data(seed), path)
    train(
        [load(paths[0])],
        algorithm=D3G,
        config=config_of("d3g"),
        members=[Member(1)],
        steps=5,
        out=out,
        device="cpu",
    )
    again = {"members": [Member(1)], "steps": 9, "out": out, "resume": True, "device": "cpu"}
    with pytest.raises(LfoError, match=r"hidden 8 \(found 9\)"):
        train([load(paths[0])], algorithm=D3G, config=config_of("d3g", hidden=9), **again)
    with pytest.raises(LfoError, match="expected the file the run was started on"):
        train([load(paths[1])], algorithm=D3G, config=config_of("d3g"), **again)
    with pytest.raises(LfoError, match="members"):
        train([load(paths[0])], algorithm=D3G, config=config_of("d3g"), **{**again, "members": [Member(2)]})
    with pytest.raises(LfoError, match="algo"):
        train([load(paths[0])], algorithm=BCO, config=config_of("bco"), **again)


class _Notes(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize("algo", OFFLINE)
def test_a_member_that_diverges_is_stopped_and_the_others_are_not(
    algo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lfo.training.loop.LOG_EVERY", 10)
    config = config_of(algo)
    common = {"algorithm": registry.spec(algo).cls, "config": config, "device": "cpu"}
    data, members = [make_data()], [Member(1), Member(2)]
    healthy = train(data, members=members, steps=30, **common)[0]
    agent, table = train(data, members=members, steps=15, **common)
    divergence = Divergence(agent)
    before = member_state(agent, 0)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter[0] = math.inf
    told: list[int] = []
    run_steps(agent, table, 30, divergence=divergence, on_stopped=told.extend)
    assert told == [0]
    assert agent.stopped[0].endswith("not finite at step 16")
    for name, tensor in before.items():
        assert torch.equal(member_state(agent, 0)[name], tensor), name
    for name, tensor in member_state(healthy, 1).items():
        assert torch.equal(member_state(agent, 1)[name], tensor), name


@pytest.mark.parametrize("algo", ALGOS)
def test_a_member_alone_acts_as_it_does_in_the_stack(algo: str) -> None:
    agent = trained(algo, [3, 4], [make_data(0), make_data(1)], [0, 1])
    states = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    together = act(agent, states)
    for m in range(2):
        alone = agent.member(m)
        assert alone.seeds == (agent.seeds[m],)
        np.testing.assert_allclose(act(alone, states[m : m + 1])[0], together[m], rtol=1e-4, atol=1e-5)


def test_when_every_member_diverges_training_says_so(tmp_path: Path) -> None:
    data = make_data()
    rewards = np.full(len(data), 1e30)
    wild = Transitions(data.states, data.next_states, rewards, data.terminated, data.truncated)
    notes = _Notes()
    with pytest.raises(LfoError, match="every member has diverged: seed 4: critic_loss not finite at step"):
        train(
            [wild],
            algorithm=D3G,
            config=config_of("d3g"),
            members=[Member(4)],
            steps=200,
            device="cpu",
            progress=notes,
        )
    assert len(notes.notes) == 1
    assert "seed 4 stopped: critic_loss not finite at step" in notes.notes[0]


def test_draws_are_functions_of_the_seed_and_the_block() -> None:
    first, again, other = seeded(1, 0, 5), seeded(1, 0, 5), seeded(1, 0, 6)
    numbers = [torch.rand(4, generator=g) for g in (first, again, other)]
    assert torch.equal(numbers[0], numbers[1])
    assert not torch.equal(numbers[0], numbers[2])


def test_fit_is_the_three_line_interface() -> None:
    agent = registry.spec("d3g").cls.fit(make_data(), seeds=range(2), steps=10, device="cpu", **TINY)
    rounds = learn_inverse(agent, ENV, **ROUND)
    assert [r.interactions for r in rounds] == [30, 60]
    assert rounds[-1].evaluation.returns.shape == (2, 2)
    assert "2 × 3 episodes" in str(evaluate(agent, ENV, episodes=3))
    with pytest.raises(LfoError, match="Reacher"):
        evaluate(agent, "Reacher-v5", episodes=1)


def test_bco_needs_its_demonstrations() -> None:
    agent = trained("bco", [0], [make_data()], [0])
    with pytest.raises(LfoError, match="demonstrations"):
        learn_inverse(agent, ENV, **ROUND)
