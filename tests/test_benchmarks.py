"""The benchmarks run, and the floor that they measure against is one: it computes what an update needs, no less."""

from __future__ import annotations

import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import bench
import best_of
import gpu
import numpy as np
import pytest
import torch
from acting import step_bare
from converting import convert, read_and_write, write_logs
from floor import (
    Floor,
    Pass,
    Product,
    bco_passes,
    d3g_online_passes,
    d3g_passes,
    flops,
    inverse_passes,
    products,
    qsi_passes,
)
from reading import convert_by_rows, write_file
from rows import QUICK, TINY, Row, markdown, verdict
from timing import interleaved, ratio
from torch.utils.flop_counter import FlopCounterMode
from updates import make_data

from lfo import D3G, QSI, BCOConfig, D3GConfig, D3GOnline, D3GOnlineConfig, InverseConfig, QSIConfig
from lfo.datasets import load, save
from lfo.datasets.collect import collect
from lfo.envs.make import make_env
from lfo.envs.spaces import ActionSpace
from lfo.nn.scaling import Units
from lfo.runs.loading import attach_inverse
from lfo.runs.record import Member
from lfo.training.loop import build
from lfo.training.sources import ReplayBuffer


@pytest.mark.parametrize("name", bench.SUBJECTS)
def test_every_subject_makes_rows(name: str) -> None:
    apart = name == "memory"  # a process that is started counts what its parent held
    rows = [Row(**r) for r in bench.measure(name, "tiny")] if apart else bench.SUBJECTS[name].run(TINY)
    assert rows
    for row in rows:
        assert row.what
        assert row.against
        if name == "gpu" and not torch.cuda.is_available():
            assert verdict(row) == "open"
        else:
            assert 0 < row.low <= row.value <= row.high < float("inf")
    assert len({row.what for row in rows}) == len(rows)
    again = [Row(**json.loads(json.dumps(vars(row)))) for row in rows]
    assert again == rows


def test_a_gpus_rows_are_measured_on_any_device() -> None:
    many, whole = gpu.measure(TINY, "cpu", members=3)
    assert many.value is not None
    assert many.value > 0
    assert whole.unit == "min"
    assert verdict(whole) in ("met", "not met")


@pytest.mark.parametrize("config", [D3GConfig(), D3GConfig.paper()], ids=["default", "paper"])
@pytest.mark.parametrize("state_dim", [4, 11])
def test_an_update_computes_what_the_floor_lists_within_a_percent(config: D3GConfig, state_dim: int) -> None:
    """At full width, with the delayed part and without. A pass that only one of the two has would be 4% and more."""
    members = 2
    agent, table = build(D3G, config, [make_data(300, state_dim)], [Member(m) for m in range(members)], "cpu")
    batch = table.batch(torch.randint(300, (members, config.batch_size)), agent.units)
    passes = d3g_passes(config, state_dim)
    for step in range(config.predictor_every):
        with FlopCounterMode(display=False) as counter:
            agent.update(batch)
        listed = members * flops(passes, config.batch_size, config.hidden, delayed=step == 0)
        assert 1 <= counter.get_total_flops() / listed < 1.01
    least = min(flops([one], config.batch_size, config.hidden, delayed=True) for one in passes)
    assert members * least > 0.03 * listed


def test_an_update_of_qsi_computes_what_the_floor_lists_within_three_percent() -> None:
    """The three are the metric ``improves``."""
    config, one = QSIConfig(), np.ones(2, np.float32)
    agent, table = build(QSI, config, [make_data(300, 11)], [Member(0)], "cpu")
    attach_inverse(agent, InverseConfig(), ActionSpace(-one, one))
    batch = table.batch(torch.randint(300, (1, config.batch_size)), agent.units)
    for step in range(config.policy_every):
        with FlopCounterMode(display=False) as counter:
            agent.update(batch)
        listed = flops(qsi_passes(config, 11, 2), config.batch_size, config.hidden, delayed=step == 0)
        assert 1 <= counter.get_total_flops() / listed < 1.03


def test_an_update_of_d3g_online_computes_what_the_floor_lists_within_a_percent() -> None:
    config, one = D3GOnlineConfig(), np.ones(2, np.float32)
    units = Units.of([make_data(300, 11)], [0], standardise=True)
    agent, buffer = D3GOnline(config, units, [0]), ReplayBuffer(units, 2, 300)
    attach_inverse(agent, InverseConfig(), ActionSpace(-one, one))
    buffer.append(
        torch.randn(1, 300, 11), torch.randn(1, 300, 11), *torch.zeros(3, 1, 300), torch.zeros(1, 300, 2)
    )
    batch = buffer.batch(torch.randint(300, (1, config.batch_size)), units)
    for step in range(config.predictor_every):
        with FlopCounterMode(display=False) as counter:
            agent.update(batch)
        listed = flops(d3g_online_passes(config, 11, 2), config.batch_size, config.hidden, delayed=step == 0)
        assert 1 <= counter.get_total_flops() / listed < 1.01


def test_a_pass_is_counted_by_hand() -> None:
    """in 3, hidden 5, out 2, 7 rows."""
    forward = [Product("x W", 7, 3, 5), Product("x W", 7, 5, 5), Product("x W", 7, 5, 2)]
    weights = [Product("xᵀ g", 3, 7, 5), Product("xᵀ g", 5, 7, 5), Product("xᵀ g", 5, 7, 2)]
    inner = [Product("g Wᵀ", 7, 5, 5), Product("g Wᵀ", 7, 2, 5)]
    first = Product("g Wᵀ", 7, 5, 1)
    for one, wanted in [
        (Pass("f", 3, 2), forward),
        (Pass("f", 3, 2, fit=True), [*forward, *weights, *inner]),
        (Pass("f", 3, 2, through=1), [*forward, *inner, first]),
    ]:
        found = products(one, 7, 5)
        assert sorted(map(repr, found)) == sorted(map(repr, wanted))
    assert not any(product.inner == 1 for product in products(Pass("q", 3, 1, fit=True), 7, 5))
    assert forward[0].flops() == 2 * 7 * 3 * 5


def test_the_floor_executes_its_list() -> None:
    config = D3GConfig.paper()
    passes = d3g_passes(config, 4)
    floor = Floor(passes, members=2, batch=32, hidden=16)
    for delayed in (True, False):
        with FlopCounterMode(display=False) as counter:
            floor(delayed=delayed)
        assert counter.get_total_flops() == 2 * flops(passes, 32, 16, delayed=delayed)


def test_the_imitators_passes() -> None:
    (inverse,) = inverse_passes(InverseConfig(), 11, 2)
    assert (inverse.inputs, inverse.outputs, inverse.fit) == (22, 2, True)
    fixed, policy = bco_passes(BCOConfig(), 11, 2)
    assert (fixed.fit, policy.inputs, policy.fit) == (False, 11, True)


def test_works_are_timed_in_turns() -> None:
    calls: list[str] = []
    works = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    seconds = interleaved(works, replace(QUICK, rounds=4), once=True)
    assert calls == list("abbaabba")
    found = ratio(seconds, "a", "b")
    assert found["low"] <= found["value"] <= found["high"]


def test_the_rows_conversion_agrees_with_the_reader(tmp_path: Path) -> None:
    """Except for steps out of a terminal row, whose next state the reader extrapolates."""
    path = tmp_path / "d.h5"
    write_file(path, 5_000, next_observations=False)
    theirs, ours = convert_by_rows(path, 5_000), load(path)
    inside = ~theirs["terminals"]
    going_on = ~ours.terminated
    assert going_on.sum() == inside.sum()
    assert (theirs["next_observations"][inside] == ours.next_states[going_on]).all()
    assert (theirs["rewards"][inside] == ours.rewards[going_on]).all()


def test_converting_reads_the_logs_only(tmp_path: Path) -> None:
    """Not what polars wrote of them beside."""
    write_logs(tmp_path, 400, files=2)
    read_and_write(tmp_path)
    convert(tmp_path, resampled=False)
    assert len(load(tmp_path / "out.h5")) == 398


def test_converting_prints_its_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["converting.py", "--rows", "2000", "--rounds", "1"])
    runpy.run_path(str(Path(bench.__file__).parent / "converting.py"), run_name="__main__")
    assert (
        "| peak memory of converting 2,000 × 20 in 10 Parquet files, resampled |" in capsys.readouterr().out
    )


def test_bare_steps_are_those_of_the_record() -> None:
    env = make_env("Reacher-v5")
    data, actions = collect("Reacher-v5", random_frac=1.0, steps=120)
    taken: list[object] = []
    step = env.step
    env.step = lambda action: (taken.append(action), step(action))[1]  # type: ignore[method-assign]
    step_bare(env, data, actions)
    assert len(taken) == 120


def test_the_table_says_what_is_reached() -> None:
    rows = [
        Row("fast", "floor", 1.2, 1.1, 1.3, reach=1.35),
        Row("slow", "floor", 1.4, 1.4, 1.4, reach=1.35, note="noisy"),
        Row("speed-up", "float32", 1.7, 1.6, 1.8, reach=1.6, at_least=True),
        Row("gpu", "one", None, reach=6),
        Row("for comparison", "floor", 12.3),
    ]
    assert [verdict(row) for row in rows] == ["met", "not met", "met", "open", ""]
    table = markdown(rows).splitlines()
    assert table[2] == "| fast | floor | ≤ 1.35 × | **1.20 ×** (1.10–1.30) | met |"
    assert table[3] == "| slow; noisy | floor | ≤ 1.35 × | **1.40 ×** | not met |"
    assert table[5] == "| gpu | one | ≤ 6 × |  | open |"


def test_the_page_keeps_its_prose() -> None:
    text = bench.PAGE.read_text(encoding="utf-8")
    for name in ("machine", "table"):
        changed = bench.replace_between(text, name, "NEW\n")
        assert "NEW" in changed
        assert changed.startswith(text.split("<!--")[0])
        assert bench.replace_between(changed, name, "") != changed
    with pytest.raises(SystemExit):
        bench.replace_between("no markers", "table", "x")


def test_the_machine_is_described_without_names() -> None:
    import platform

    line = bench.machine()
    assert "PyTorch" in line
    assert "cores" in line
    assert platform.node() not in line or len(platform.node()) < 4
    assert str(Path.cwd()) not in line


def test_the_command_measures_in_a_process_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    bench.main(["--only", "gpu", "--effort", "tiny", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert {row["reach"] for row in rows} == {6, 30}
    with pytest.raises(SystemExit):
        bench.main(["--write", "--quick"])


def test_the_best_of_several_means_by_hand() -> None:
    """Of one mean of ten the mean is the returns' own; of many the best is near the greatest return there is."""
    rng = np.random.default_rng(0)
    returns = np.array([0.0, 1.0, 1.0, 1.0])
    once, often = best_of.best_of(returns, 1, rng), best_of.best_of(returns, 100, rng)
    assert once.mean() == pytest.approx(0.75, abs=0.02)
    assert once.std() == pytest.approx((0.75 * 0.25 / 10) ** 0.5, abs=0.02)
    assert often.mean() > 0.99  # each of the 100 means is 1 with probability 0.75¹⁰ = 0.056


def test_the_best_of_a_studys_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "study.toml").write_text(
        'envs = ["InvertedPendulum-v5"]\nrandom_frac = [1.0]\ndatasets = 1\n'
    )
    path = tmp_path / "data" / "InvertedPendulum-v5-100-0.h5"
    data, _ = collect("InvertedPendulum-v5", random_frac=1.0, steps=200)
    save(data, path)
    best_of.main([str(tmp_path)])
    cells = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].split("|")]
    returns = data.episode_returns()[:-1]
    assert cells[1:4] == [
        "InvertedPendulum-v5-100",
        "8.6 ± 0.3",
        f"{returns.mean():.2f}, {returns.std():.2f}",
    ]
