"""The tabular QSS experiments: Q(s, s') against Q(s, a) on an 11×11 grid (Edwards et al. 2020).

Importing this package registers the environment ``lfo/GridWorld-v0``;
``gymnasium.make("lfo.tabular:lfo/GridWorld-v0")`` imports it for you. The learners need numba, which is imported
only when they run.
"""

from lfo.tabular.env import ENV_ID, GridWorldEnv, register
from lfo.tabular.experiments import EXPERIMENTS, Curve, Experiment, Trial, run_experiments, run_trial
from lfo.tabular.grid import Grid, best_return, make_grid, value_iteration
from lfo.tabular.report import write_report

__all__ = [
    "ENV_ID",
    "EXPERIMENTS",
    "Curve",
    "Experiment",
    "Grid",
    "GridWorldEnv",
    "Trial",
    "best_return",
    "make_grid",
    "register",
    "run_experiments",
    "run_trial",
    "value_iteration",
    "write_report",
]

register()
