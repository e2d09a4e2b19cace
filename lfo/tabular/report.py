"""What the experiments found: curves as CSV, figures, and a paragraph each whose words follow the numbers.

An average is a mean over trials; its interval is the 95% percentile interval of a bootstrap over trials, as in
the published figures. A difference between two curves is bootstrapped over pairs of trials of the same seed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lfo.atomic import write_csv, write_whole
from lfo.reporting.figures import save_figure
from lfo.reporting.numbers import number
from lfo.reporting.statistics import Array, Estimate, estimate, mean, stratified_interval
from lfo.tabular.experiments import (
    EPISODES,
    EXPERIMENTS,
    Curve,
    Experiment,
    Task,
    Trial,
    load_trial,
    trial_path,
)
from lfo.tabular.figures import Band, curves_figure, values_figure
from lfo.tabular.grid import CAP, Grid, best_return, make_grid
from lfo.tabular.learning import LEARNED, episodes_to_learn, report_points, window_means

ALIKE = 0.1
"""Two learners are alike, and one is not slowed down, if the episodes they need differ by less than this share."""
VERDICTS = {
    "agrees": "Agrees with the deck",
    "disagrees": "Does not agree with the deck",
    "undecided": "Undecided: the run was too short",
    "no claim": "Measured; the deck's text makes no claim",
}


@dataclass(frozen=True)
class Summary:
    """One curve in numbers; the arrays have an entry a trial."""

    name: str
    grid: Grid
    best: float
    """The best possible expected return, by dynamic programming."""
    learned_at: Array
    """Episodes until the policy counts as learned; inf if it never did."""
    final: Array
    """Exact expected return of the last greedy policy."""
    predicted: Array
    """The learned value of the start, discounted."""
    true: Array
    """The exact discounted value of the last greedy policy there."""
    episodes: int

    @property
    def score(self) -> Array:
        """Share of the gap between never arriving (0) and the optimum (1) that the last policy closes."""
        return (self.final - _floor(self.grid)) / (self.best - _floor(self.grid))

    @property
    def all_learned(self) -> bool:
        """Whether every trial learned."""
        return bool(np.isfinite(self.learned_at).all())

    def speed(self) -> str:
        """Episodes to learn, in words."""
        learned = np.isfinite(self.learned_at).sum()
        if learned == 0:
            return f"not within {self.episodes:,} episodes"
        if not self.all_learned:
            return f"in {learned} of {len(self.learned_at)} trials within {self.episodes:,} episodes"
        return f"after {estimate(self.learned_at)} episodes"


@dataclass(frozen=True)
class Finding:
    """What an experiment showed."""

    verdict: str
    """A key of :data:`VERDICTS`: whether it agrees with the slide deck."""
    criterion: str
    """What the verdict depends on."""
    text: str


def _floor(grid: Grid) -> float:
    """The return of an episode that never reaches the goal."""
    return CAP * float(grid.reward[grid.start])


def write_report(directory: Path, tasks: Sequence[Task]) -> str:
    """Write the curves (CSV), figures, ``results.json`` and ``findings.md`` of the trials in a directory.

    Args:
        directory: Where :func:`~lfo.tabular.experiments.run_experiments` stored them.
        tasks: What it returned.

    Returns:
        The text of ``findings.md``.

    Raises:
        LfoError: A stored trial is damaged.
    """
    paragraphs = ["# Tabular QSS: findings", ""]
    results: dict[str, Any] = {}
    for name in dict.fromkeys(task.experiment for task in tasks):
        experiment = EXPERIMENTS[name]
        mine = [task for task in tasks if task.experiment == name]
        trials = [
            [load_trial(trial_path(directory, task), task) for task in mine if task.curve == curve]
            for curve in range(len(experiment.curves))
        ]
        summaries = [_summary(*pair) for pair in zip(experiment.curves, trials, strict=True)]
        finding = FINDINGS[name](summaries)
        bands = [_band(curve) for curve in trials]
        bests = [summary.best for summary in summaries]
        rows = [row for curve, band in zip(summaries, bands, strict=True) for row in _csv_rows(curve, band)]
        write_csv(directory / f"{name}.csv", rows)
        save_figure(curves_figure(experiment, bands, len(trials[0]), bests), directory / f"{name}.png")
        first = [curve[0] for curve in trials]
        save_figure(values_figure(experiment, first), directory / f"{name}-values.png")
        results[name] = _numbers(summaries, finding)
        paragraphs += _paragraph(name, experiment, summaries, finding)
    text = "\n".join(paragraphs)
    write_whole(directory / "results.json", json.dumps(results, indent=1) + "\n")
    write_whole(directory / "findings.md", text)
    return text


def _summary(curve: Curve, trials: Sequence[Trial]) -> Summary:
    grid = make_grid(**curve.grid)
    best = best_return(grid)
    return Summary(
        name=curve.name,
        grid=grid,
        best=best,
        learned_at=np.array([episodes_to_learn(trial.returns, _floor(grid), best) for trial in trials]),
        final=np.array([trial.policy_return for trial in trials]),
        predicted=np.array([trial.start_value for trial in trials]),
        true=np.array([trial.true_start_value for trial in trials]),
        episodes=len(trials[0].returns) - 1,
    )


def _numbers(summaries: Sequence[Summary], finding: Finding) -> dict[str, Any]:
    curves = {
        summary.name: {
            "best_return": summary.best,
            "final_return": asdict(estimate(summary.final)),
            "episodes_to_learn": [None if np.isinf(at) else at for at in summary.learned_at],
            "start_value_predicted": asdict(estimate(summary.predicted)),
            "start_value_true": asdict(estimate(summary.true)),
        }
        for summary in summaries
    }
    return {**asdict(finding), "curves": curves}


def _paragraph(
    name: str, experiment: Experiment, summaries: Sequence[Summary], finding: Finding
) -> list[str]:
    trials, episodes = len(summaries[0].final), summaries[0].episodes
    lines = [f"## {name}: {experiment.title}", ""]
    if trials < experiment.trials or episodes < EPISODES:
        lines += [f"Smaller than published ({experiment.trials} trials of {EPISODES:,} episodes).", ""]
    lines += [
        f"{trials} {'trial' if trials == 1 else 'trials'} of {episodes:,} episodes; mean and 95% interval over trials. "
        f"**{VERDICTS[finding.verdict]}.** {finding.text}",
        "",
        f"*Criterion:* {finding.criterion}",
        "",
        "| curve | learned | last policy's return (best possible) | value of the start: learned | true |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {s.name} | {s.speed()} | {estimate(s.final)} ({number(s.best, '.1f')}) | {estimate(s.predicted)} "
        f"| {estimate(s.true)} |"
        for s in summaries
    ]
    return [*lines, "", f"![{experiment.title}]({name}.png)", "", f"![Values]({name}-values.png)", ""]


# ---------------------------------------------------------------------------------------------- findings


def _agrees(measured: bool) -> str:
    return "agrees" if measured else "disagrees"


def _relative_difference(a: Array, b: Array) -> Estimate:
    """(a − b) / mean(b), paired."""
    return estimate((a - b) / b.mean())


def _within(value: Estimate, tolerance: float) -> bool:
    return -tolerance <= value.low and value.high <= tolerance


def _equivalence(curves: Sequence[Summary]) -> Finding:
    qss, qsa = curves
    criterion = (
        "Every trial of both ends with the best return, and the interval of the paired difference in episodes to "
        f"learn lies within ±{ALIKE:.0%}."
    )
    text = f"QSS learned {qss.speed()}, QSA {qsa.speed()}"
    if not (qss.all_learned and qsa.all_learned):
        return Finding("undecided", criterion, f"{text}: too few episodes to compare.")
    difference = _relative_difference(qss.learned_at, qsa.learned_at)
    reached = bool(np.allclose(qss.final, qss.best) and np.allclose(qsa.final, qsa.best))
    alike = _within(difference, ALIKE)
    end = (
        f"In all trials both end with the best return, {number(qss.best, '.0f')}."
        if reached
        else "But not all trials end optimal."
    )
    said = "the two learn alike" if alike else "the two do not learn alike"
    return Finding(
        _agrees(alike and reached), criterion, f"{text}; QSS − QSA = {difference.to('+.1%')}: {said}. {end}"
    )


def _stochastic(curves: Sequence[Summary]) -> Finding:
    criterion = (
        "The deck shows curves but states no outcome. Here, QSS holds if its last policy closes at least "
        f"{LEARNED:.0%} of the gap between never arriving and the optimum, and breaks if it closes less."
    )
    sentences = []
    for qss, qsa in zip(curves[::2], curves[1::2], strict=True):
        slips = qss.name.split(", ")[1]
        score, difference = estimate(qss.score), estimate(qss.final - qsa.final)
        holds = "holds" if score.low >= LEARNED else "breaks" if score.high < LEARNED else "is on the edge"
        sentences.append(
            f"At {slips}, QSS {holds}: its last policy returns {estimate(qss.final)} "
            f"(best possible: {number(qss.best, '.1f')}), {_compared(difference)} ({difference}). "
            f"QSS learned {qss.speed()}, QSA {qsa.speed()}. {_optimism(qss, qsa)}"
        )
    return Finding("no claim", criterion, "\n\n".join(sentences))


def _compared(difference: Estimate) -> str:
    if difference.high < 0:
        return "less than QSA's"
    return "more than QSA's" if difference.low > 0 else "no different from QSA's"


def _optimism(qss: Summary, qsa: Summary) -> str:
    """Each learner's value of the start beside what its policy is worth, in words."""
    errors = estimate(qss.predicted - qss.true), estimate(qsa.predicted - qsa.true)
    said = "over-optimistic" if errors[0].low > max(errors[1].high, 0) else "no more optimistic than QSA"
    expects = [
        f"expects {number(s.predicted.mean(), '.2f')} from a policy worth {number(s.true.mean(), '.2f')}"
        for s in (qss, qsa)
    ]
    return f"QSS is {said} about the start: it {expects[0]}; QSA {expects[1]}."


def _cliff(curves: Sequence[Summary]) -> Finding:
    qss, qsa = curves
    criterion = (
        "Beyond the 95% intervals, QSS's last policy returns less than QSA's, and QSS overestimates the value of "
        "the start by more than QSA does."
    )
    if not qsa.all_learned:
        return Finding("undecided", criterion, f"QSA learned {qsa.speed()}: too few episodes to compare.")
    gap = estimate(qss.final - qsa.final)
    optimism = estimate(qss.predicted - qss.true)
    agrees = gap.high < 0 and optimism.low > 0 and optimism.low > estimate(qsa.predicted - qsa.true).high
    text = (
        f"The last QSS policy reaches the goal with probability {estimate(qss.final)}, QSA's with "
        f"{estimate(qsa.final)}; the best possible is {qsa.best:.2f}. {_optimism(qss, qsa)}"
    )
    return Finding(_agrees(agrees), criterion, text)


def _redundant(curves: Sequence[Summary]) -> Finding:
    qss, qsa = curves[:3], curves[3:]
    criterion = (
        f"QSS needs as many episodes with 40 and 400 actions as with 4: the intervals of the changes lie within "
        f"±{ALIKE:.0%}. QSA needs more episodes, or does not learn."
    )
    text = ". ".join(
        f"With 4 actions {name} learned {three[0].speed()}, with 40 {three[1].speed()}, "
        f"with 400 {three[2].speed()}"
        for name, three in (("QSS", qss), ("QSA", qsa))
    )
    if not (qss[0].all_learned and qsa[0].all_learned):
        return Finding("undecided", criterion, f"{text}: too few episodes to compare.")
    alike, said = _not_slowed(qss)
    slower = all(_slower(more, qsa[0]) for more in qsa[1:])
    qsa_said = "QSA slows down" if slower else "QSA does not slow down with every repetition"
    return Finding(_agrees(alike and slower), criterion, f"{text}. {said}; {qsa_said}.")


def _not_slowed(three: Sequence[Summary]) -> tuple[bool, str]:
    """Whether 40 and 400 actions need as many episodes as 4, and the changes in words."""
    if not all(summary.all_learned for summary in three):
        return False, "QSS slows down"
    changes = [_relative_difference(more.learned_at, three[0].learned_at) for more in three[1:]]
    alike = all(_within(change, ALIKE) for change in changes)
    said = f"{changes[0].to('+.1%')} with 40, {changes[1].to('+.1%')} with 400 actions"
    return alike, f"QSS {'does not slow down' if alike else 'changes its speed'}: {said}"


def _slower(more: Summary, few: Summary) -> bool:
    """Whether learning takes significantly more episodes; never learning counts as more than all."""
    difference = np.where(np.isfinite(more.learned_at), more.learned_at, more.episodes + 1) - few.learned_at
    return estimate(difference).low > 0


def _permuted(curves: Sequence[Summary]) -> Finding:
    transferred, frozen, scratch, qsa_transferred, qsa_scratch = curves
    criterion = (
        "With Q transferred and frozen, so that only I is learned, every trial ends with a learned policy. "
        "With Q transferred, QSS needs fewer episodes than from scratch, and fewer than transferred QSA."
    )
    text = (
        f"On the reversed actions, QSS learned {transferred.speed()} with Q transferred, {frozen.speed()} with Q "
        f"transferred and frozen, and {scratch.speed()} from scratch. QSA learned {qsa_transferred.speed()} with Q "
        f"transferred, and {qsa_scratch.speed()} from scratch."
    )
    if not scratch.all_learned:
        return Finding("undecided", criterion, f"{text} Too few episodes to compare.")
    only_inverse = frozen.all_learned and bool((frozen.score >= LEARNED).all())
    faster = transferred.all_learned and all(
        _slower(other, transferred) for other in (scratch, qsa_transferred)
    )
    said = "Only I has to be relearned." if only_inverse else "I alone does not suffice."
    return Finding(_agrees(only_inverse and faster), criterion, f"{text} {said}")


FINDINGS: dict[str, Callable[[Sequence[Summary]], Finding]] = {
    "equivalence": _equivalence,
    "stochastic": _stochastic,
    "cliff": _cliff,
    "redundant": _redundant,
    "permuted": _permuted,
}


# ----------------------------------------------------------------------------------------------- curves


def _band(trials: Sequence[Trial]) -> Band:
    """The mean return in windows of episodes, with its interval; a window stands at its last evaluation."""
    ends = report_points(len(trials[0].returns) - 1)
    means = window_means(np.stack([trial.returns for trial in trials]), ends)
    low, high = stratified_interval(means, statistic=mean)
    return ends.astype(np.float64), mean(means), low, high


def _csv_rows(curve: Summary, band: Band) -> Iterator[dict[str, Any]]:
    """The columns: curve, episodes learned before the window's last evaluation, evaluations in it, and so on."""
    widths = np.diff(band[0], prepend=0)
    for end, width, *numbers in zip(band[0], widths, *band[1:], strict=True):
        row = {"curve": curve.name, "episodes": int(end - 1), "evaluations": int(width)}
        rounded = (f"{value:.4f}" for value in numbers)
        yield row | {"trials": len(curve.final)} | dict(zip(("mean", "low", "high"), rounded, strict=True))
