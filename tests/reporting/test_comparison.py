"""compare: the arithmetic against numbers worked by hand, what is pooled and what is not, and the command."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from record import DATA, record
from shell import d3g, error, must

from lfo import RunFolder
from lfo.datasets import LfoError
from lfo.reporting import comparison as report


def made(
    path: Path,
    scores: Mapping[int, Sequence[Sequence[float]]],
    *,
    algo: str = "d3g",
    data: Sequence[Mapping[str, Any]] = (DATA,),
    **info: Any,
) -> RunFolder:
    """A run folder whose seeds have these returns, a list of episodes a round; 100 steps a round."""
    out = RunFolder(path)
    out.create(overwrite=False)
    members = [{"seed": seed, "dataset": d} for d in range(len(data)) for seed in scores]
    out.write_info(record(algo=algo, datasets=data, **{"members": members, **info}))
    rows = [
        {
            **member,
            "member": m,
            "round": r + 1,
            "interactions": 100 * (r + 1),
            "episode": e,
            "return": value,
            "length": 1,
        }
        for m, member in enumerate(members)
        for r, episodes in enumerate(scores[member["seed"]])
        for e, value in enumerate(episodes)
    ]
    out.write_rows("evaluations.csv", rows)
    return out


def test_scores_by_hand(tmp_path: Path) -> None:
    run = made(tmp_path / "a", {0: [[1, 3], [8, 12], [4, 6]], 7: [[0, 0], [1, 1], [9, 9]]})
    (one,) = report.compare([run])
    assert (one.env, one.random_frac, one.title) == ("E-v0", 0.5, "E-v0, expert, random_frac 0.5")
    (curve,) = one.curves
    assert (curve.label, curve.seeds) == ("D3G", (0, 7))
    np.testing.assert_array_equal(curve.scores, [[2, 10, 5], [0, 1, 9]])
    np.testing.assert_array_equal(curve.interactions, [[100, 200, 300]] * 2)
    np.testing.assert_array_equal(curve.final, [5, 9])
    np.testing.assert_array_equal(curve.best, [10, 9])
    np.testing.assert_array_equal(curve.spent, [300, 300])
    cells = report.table([one]).splitlines()[4].split()
    # final (5 + 9) / 2 ± 2 stands before best (10 + 9) / 2 ± 0.5
    assert cells == ["D3G", "2", "300", "7.00", "±", "2.00", "9.50", "±", "0.50"]
    found = report.to_json([one])["comparisons"][0]["policies"][0]
    assert (found["final_mean"], found["final_std"]) == (7, 2)
    assert (found["best_of_rounds_mean"], found["best_of_rounds_std"]) == (9.5, 0.5)
    assert found["members"][1] == {
        "seed": 7,
        "final": 9.0,
        "best_of_rounds": 9.0,
        "interactions": [100, 200, 300],
        "returns": [0, 1, 9],
    }


def test_the_best_is_said_to_be_optimistic(tmp_path: Path) -> None:
    comparisons = report.compare([made(tmp_path / "a", {0: [[1]]})])
    for text in (report.table(comparisons), report.to_markdown(comparisons)):
        head = next(line for line in text.splitlines() if "final" in line)
        assert head.index("final") < head.index("best of rounds")
        assert "a maximum over rounds and therefore optimistic" in " ".join(text.split())


def test_behaviour_counts_every_data_set_once(tmp_path: Path) -> None:
    """10 episodes of 4 ± 1 and 30 of 8 ± 0: mean 7, variance 10/40 · (1 + 9) + 30/40 · 1 = 3.25."""
    other = {**DATA, "sha256": "bb", "episodes": 30, "return_mean": 8.0, "return_std": 0.0}
    runs = [
        made(tmp_path / "a", {0: [[1]]}, data=(DATA, other)),
        made(tmp_path / "b", {0: [[1]]}, algo="bco"),
    ]
    (one,) = report.compare(runs)
    assert one.pi_o.episodes == 40
    assert one.pi_o.mean == 7
    assert one.pi_o.std == pytest.approx(3.25**0.5)


def test_the_same_settings_are_pooled_over_seeds(tmp_path: Path) -> None:
    runs = [made(tmp_path / "a", {0: [[1], [2]]}), made(tmp_path / "b", {1: [[3], [4]]})]
    (one,) = report.compare([*runs, RunFolder(tmp_path / "b" / ".." / "a")])  # a run counts once
    (curve,) = one.curves
    assert (curve.seeds, curve.final.tolist()) == ((0, 1), [2, 4])
    assert curve.runs == (str(tmp_path / "a"), str(tmp_path / "b"))


@pytest.mark.parametrize(
    ("seed", "info"),
    [(0, {}), (1, {"steps": 6}), (1, {"config": {"hidden": 8}}), (1, {"interact": {"rounds": 3}})],
)
def test_other_settings_and_seeds_twice_stay_apart(tmp_path: Path, seed: int, info: dict[str, Any]) -> None:
    runs = [made(tmp_path / "a", {0: [[1]]}), made(tmp_path / "b", {seed: [[3]]}, **info)]
    (one,) = report.compare(runs)
    assert [curve.label for curve in one.curves] == ["D3G (a)", "D3G (b)"]


def test_noise_levels_environments_and_files_are_compared_apart(tmp_path: Path) -> None:
    other = {**DATA, "sha256": "bb", "random_frac": 1.0}
    unknown = [{**DATA, "random_frac": None, "policy": None, "source": f"{n}.h5", "sha256": n} for n in "pq"]
    runs = [
        made(tmp_path / "a", {0: [[1]], 1: [[2]]}, data=(DATA, other, *unknown)),
        made(tmp_path / "b", {0: [[5]]}, algo="bco", data=(other,)),
        made(tmp_path / "c", {0: [[6]]}, env="F-v0"),
    ]
    found = {one.title: [curve.label for curve in one.curves] for one in report.compare(runs)}
    assert found == {
        "E-v0, expert, random_frac 0.5": ["D3G"],
        "E-v0, random_frac 1": ["D3G", "BCO"],
        "E-v0, p.h5": ["D3G"],
        "E-v0, q.h5": ["D3G"],
        "F-v0, expert, random_frac 0.5": ["D3G"],
    }


def test_members_with_fewer_rounds(tmp_path: Path) -> None:
    """An interrupted run beside a finished one: the range of interactions is told, the last score is its own."""
    runs = [made(tmp_path / "a", {0: [[1], [2], [3]]}), made(tmp_path / "b", {1: [[7]]})]
    (one,) = report.compare(runs)
    (curve,) = one.curves
    assert (curve.final.tolist(), curve.spent.tolist()) == ([3, 7], [300, 100])
    assert "100 to 300" in report.table([one])
    report.plot([one], tmp_path / "p.png")


def test_csv_and_markdown_hold_the_table(tmp_path: Path) -> None:
    runs = [made(tmp_path / "a", {0: [[1], [2]]}), made(tmp_path / "b", {0: [[0], [0]]}, algo="bco")]
    comparisons = report.compare(runs)
    rows = list(csv.DictReader(io.StringIO(report.to_csv(comparisons))))
    assert [row["policy"] for row in rows] == ["D3G", "BCO", "pi_o"]
    assert [float(row["final_mean"]) for row in rows] == [2, 0, 4]
    assert [row["interactions"] for row in rows] == ["200", "200", ""]
    assert "| D3G | 1 | 200 | 2.00 ± 0.00 | 2.00 ± 0.00 |" in report.to_markdown(comparisons).splitlines()


def test_the_plot_shows_every_line(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    runs = [
        made(tmp_path / "a", {0: [[1], [2]], 1: [[3], [6]]}),
        made(tmp_path / "b", {0: [[0], [0]]}, algo="bco"),
    ]
    (one,) = report.compare(runs)
    ax = Figure().subplots()
    report._panel(ax, one)
    thick = {str(line.get_label()): line for line in ax.lines if not str(line.get_label()).startswith("_")}
    assert list(thick)[:2] == ["D3G (2 seeds)", "BCO (1 seed)"]
    np.testing.assert_array_equal(thick["D3G (2 seeds)"].get_xydata(), [[100, 2], [200, 4]])
    assert len(ax.lines) == 3 + 2 + 1  # seeds, means, π_o
    behaviour = ax.lines[-1]
    assert list(behaviour.get_ydata()) == [4, 4]
    assert behaviour.get_linestyle() == "--"


@pytest.mark.parametrize("number", [1, 2, 4])
def test_the_plot_is_a_png(tmp_path: Path, number: int) -> None:
    data = [{**DATA, "random_frac": n / 8, "sha256": str(n)} for n in range(number)]
    path = report.plot(report.compare([made(tmp_path / "a", {0: [[1], [2]]}, data=data)]), tmp_path / "p.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_stopped_members_are_named_and_not_counted(tmp_path: Path) -> None:
    reason = "critic_loss not finite at step 1234"
    runs = [
        made(tmp_path / "a", {0: [[1], [2]], 3: [[900], [900]], 5: [[3], [4]]}, stopped={"1": reason}),
        made(tmp_path / "b", {3: [[1], [1]]}, algo="bco", stopped={"0": reason}),
    ]
    comparisons = report.compare(runs)
    curve, lost = comparisons[0].curves
    assert (curve.seeds, curve.final.tolist(), curve.stopped) == ((0, 5), [2, 4], ((3, reason),))
    assert len(lost) == 0
    told = f"D3G: seed 3 stopped ({reason}): not counted."
    for text in (report.table(comparisons), report.to_markdown(comparisons)):
        assert told in " ".join(text.split())
        assert "900" not in text
    first, second = report.to_json(comparisons)["comparisons"][0]["policies"]
    assert first["stopped"] == [{"seed": 3, "reason": reason}]
    assert [member["seed"] for member in first["members"]] == [0, 5]
    assert (first["final_mean"], second["final_mean"], second["members"]) == (3, None, [])
    rows = list(csv.DictReader(io.StringIO(report.to_csv(comparisons))))
    assert [(row["seeds"], row["stopped"], row["final_mean"]) for row in rows[:2]] == [
        ("2", "1", "3.0"),
        ("0", "1", ""),
    ]
    report.plot(comparisons, tmp_path / "p.png")


def test_the_table_fits_80_columns_and_has_one_minus_sign(tmp_path: Path) -> None:
    comparisons = report.compare([made(tmp_path / "[a]", {s: [[-1234.5], [-2]] for s in range(10)})])
    text = report.table(comparisons)
    assert max(map(len, text.splitlines())) <= 80
    assert "-2.00 ± 0.00" in text
    assert "−" not in text
    assert "−2.00 ± 0.00" in report.to_markdown(comparisons)
    again = [
        made(tmp_path / name, {0: [[1]]}, steps=number) for number, name in enumerate(("[red]x", "[b]y"))
    ]
    assert "D3G ([red]x)" in report.table(report.compare(again))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_there_is_no_empty_panel(count: int) -> None:
    from matplotlib.figure import Figure

    from lfo.reporting.figures import panels

    figure = Figure()
    axes = panels(figure, count, 4, 3)
    assert len(axes) == len(figure.axes) == count
    last = [ax.get_position() for ax in axes if ax.get_position().y0 == axes[-1].get_position().y0]
    assert (last[0].x0 + last[-1].x1) / 2 == pytest.approx((axes[0].get_position().x0 + 0.9) / 2, abs=0.02)


def test_of_equal_curves_both_are_seen(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    scores = {0: [[5], [5]]}
    runs = [made(tmp_path / "a", scores), made(tmp_path / "b", scores, algo="bco")]
    ax = Figure().subplots()
    report._panel(ax, report.compare(runs)[0])
    below, above = (line for line in ax.lines if line.get_marker() in ("o", "s"))
    assert below.get_label() == "D3G (1 seed)"
    assert below.get_linewidth() > 1.5 * above.get_linewidth()
    assert below.get_markersize() > 1.25 * above.get_markersize()


def test_damaged_evaluations(tmp_path: Path) -> None:
    run = made(tmp_path / "a", {0: [[1]]})
    (run.path / "evaluations.csv").write_text("member,round\n0,1\n")
    with pytest.raises(LfoError, match=r"evaluations.csv: line 2, seed: expected a whole number"):
        report.compare([run])


# --- the command -------------------------------------------------------------------------------------------------


def test_compare_prints_and_writes(interacted: Path, bco: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "report"
    done = d3g("compare", interacted, bco, "-o", out)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "InvertedPendulum-v5, random_frac 1"
    assert [line.split()[0] for line in lines[4:7]] == ["D3G", "BCO", "π_o"]
    assert sorted(path.name for path in out.iterdir()) == sorted(report.FILES)
    assert done.err.splitlines() == [f"note: wrote {out / name}" for name in report.FILES]
    assert "--overwrite" in error("compare", interacted, bco, "-o", out)
    must("compare", interacted, "-o", out, "--overwrite")
    assert "BCO" not in (out / "report.md").read_text()


def test_compare_prints_json(interacted: Path, bco: Path) -> None:
    (one,) = json.loads(must("compare", interacted, bco, "--json"))["comparisons"]
    rows = RunFolder(interacted).rows("evaluations.csv")
    last = np.mean([float(row["return"]) for row in rows if row["round"] == "2"])
    assert one["policies"][0]["final_mean"] == pytest.approx(last)
    assert [policy["algo"] for policy in one["policies"]] == ["d3g", "bco"]
    assert one["pi_o"]["return_mean"] == RunFolder(bco).info()["datasets"][0]["return_mean"]


def test_compare_refuses(trained: Path, interacted: Path, tmp_path: Path) -> None:
    assert f"run `d3g-lfo interact {trained}` first" in error("compare", interacted, trained)
    (tmp_path / "file").write_text("")
    assert "found a file" in error("compare", interacted, "-o", tmp_path / "file")


def test_compare_needs_a_place_that_can_be_written(interacted: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = d3g("compare", interacted, "-o", tmp_path / "file" / "report")
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    assert "cannot write to this folder" in done.err


def test_what_came_from_outside_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    data = {**DATA, "env": "=1+1|<b>$\\bad$", "policy": "a|b <i>"}
    one = report.compare([made(tmp_path / "a|`b", {0: [[1]]}, data=[data], env=data["env"])])
    report.plot(one, tmp_path / "p.png")
    text = report.to_markdown(one)
    assert "<b>" not in text
    assert "<i>" not in text
    assert {line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("|")} == {6}
    (row, _) = csv.DictReader(io.StringIO(report.to_csv(one)))
    assert row["env"] == "'" + str(data["env"])
