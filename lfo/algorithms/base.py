"""What every algorithm shares: its state, its members, the inverse dynamics it acts with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from torch import Tensor

from lfo.algorithms.inverse import Inverse
from lfo.algorithms.protocol import Source
from lfo.datasets import Transitions
from lfo.envs.make import EnvLike
from lfo.errors import LfoError
from lfo.nn.learner import Learner, copy_member
from lfo.nn.scaling import Units

if TYPE_CHECKING:
    from lfo.training.progress import Progress

__all__ = ["Algorithm", "OnlineAlgorithm"]

AlgorithmT = TypeVar("AlgorithmT", bound="Algorithm")


_FOR_USERS = {"fit", "save", "load", "member", "act", "aim", "values", "update"}


class _Listed(type):
    """What ``help`` lists of an algorithm: what users call, without the hundred names of ``torch.nn.Module``."""

    def __dir__(cls) -> list[str]:
        return [name for name in super().__dir__() if name in _FOR_USERS]


class Algorithm(Learner, metaclass=_Listed):
    """Base class of the algorithms: the parts of :class:`~lfo.algorithms.protocol.Agent` that are always the same.

    Args:
        config: the algorithm's settings.
        units: the scales of each member's data.
        seeds: one a member; decides its initial weights.
    """

    name: ClassVar[str]
    learns_offline: ClassVar[bool] = True
    learns_online: ClassVar[bool] = False
    starts_at_random: ClassVar[bool] = False
    inverse: Inverse | None

    def __init__(self, config: Any, units: Units, seeds: Sequence[int]) -> None:
        super().__init__()
        self.config, self.units, self.seeds, self.inverse = config, units, tuple(seeds), None
        self.stopped: dict[int, str] = {}
        self.record: dict[str, Any] = {}
        self.history: dict[str, list[Any]] = {}
        self.evaluations: dict[str, list[Any]] = {}

    @classmethod
    def fit(
        cls: type[AlgorithmT],
        data: Transitions,
        env: EnvLike | None = None,
        *,
        env_kwargs: Mapping[str, Any] | None = None,
        seeds: Iterable[int] = (0,),
        steps: int = 50_000,
        device: str = "auto",
        progress: Progress | bool = True,
        out: str | Path | None = None,
        log: Sequence[str] = (),
        **settings: Any,
    ) -> AlgorithmT:
        """Train one member for each seed, all at once. :meth:`save` keeps the result.

        Afterwards ``history`` has the metrics and ``evaluations`` the episodes of each round, both as one list for each
        column, so that ``pandas.DataFrame(agent.history)`` is a table.

        Args:
            data: from :func:`lfo.datasets.load`.
            env: where to learn to act afterwards: an id, an environment, or a function that makes one. Without it, call
                :func:`lfo.learn_inverse`. BCO needs it, as it learns in rounds of interaction only.
            env_kwargs: arguments that the environment is made with, where ``env`` is an id or a function.
            seeds: one member each.
            steps: offline gradient steps.
            device: ``auto``, ``cpu`` or ``cuda``.
            progress: False for no progress bar.
            out: a new run folder to work in, as ``d3g-lfo train`` and ``interact`` do; then :meth:`save` is not needed.
            log: loggers that get losses and returns, such as ``tensorboard``; needs ``out``.
            **settings: fields of the algorithm's config, such as ``hidden=128``; with ``env`` also ``rounds``,
                ``interactions``, ``grad_steps``, ``episodes`` and ``noise`` of :class:`~lfo.InverseConfig`.

        Raises:
            LfoError: an unknown setting or a wrong value, an environment that does not fit the data, ``out`` exists, or
                every member has diverged.
        """
        from lfo.acting.fitting import fit  # the only import upwards; nothing else here knows the trainer

        agent: AlgorithmT = fit(
            cls,
            data,
            env,
            env_kwargs=env_kwargs,
            seeds=seeds,
            steps=steps,
            device=device,
            progress=progress,
            out=out,
            log=log,
            settings=settings,
        )
        return agent

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Keep the agent in a run folder, for :meth:`load` and for the command line (``eval``, ``interact``, …).

        Raises:
            LfoError: the folder exists and ``overwrite`` is off, or it cannot be written.
        """
        from lfo.acting.fitting import save

        agent: Any = self
        save(agent, folder, overwrite=overwrite)

    @classmethod
    def load(cls: type[AlgorithmT], folder: str | Path, *, device: str = "auto") -> AlgorithmT:
        """Read a run folder that :meth:`save` or ``d3g-lfo train`` made.

        Raises:
            LfoError: there is no run, it is damaged, or it is of another algorithm.
        """
        from lfo.acting.fitting import load

        agent: AlgorithmT = load(cls, folder, device)
        return agent

    def act(self, states: Tensor) -> Tensor:
        """Raw states [M, B, S] to actions [M, B, A] inside the bounds."""
        raise NotImplementedError

    @property
    def period(self) -> int:
        """Every step does the same."""
        return 1

    @property
    def replay(self) -> float:
        """Learn from the demonstrations only."""
        return 0.0

    @property
    def precision(self) -> str:
        """Matrix products in float32."""
        return "fp32"

    def prepare(self, source: Source) -> None:
        """Nothing to know of the data."""

    def explore(self, states: Tensor) -> Tensor:
        """Interact as it acts; noise is added by the inverse stage."""
        actions: Tensor = self.act(states)
        return actions

    def episode_over(self, member: int, total: float) -> None:
        """Nothing to learn from the return of an episode of interaction."""

    def attach(self, inverse: Inverse) -> None:
        """Take the inverse dynamics to act with."""
        self.inverse = inverse

    def member(self: AlgorithmT, m: int) -> AlgorithmT:
        """Member ``m`` alone, as a stack of one that acts. Its optimisers start anew."""
        one = type(self)(self.config, self.units.member(m), self.seeds[m : m + 1])
        if self.inverse is not None:
            one.attach(self.inverse.member(m, one.units))
        copy_member(self, m, one)
        return one

    def require_inverse(self) -> Inverse:
        """The inverse dynamics.

        Raises:
            LfoError: there are none yet.
        """
        if self.inverse is None:
            raise LfoError(
                f"{self.name} cannot act yet: it has no inverse dynamics; call learn_inverse, or run `d3g-lfo interact`"
            )
        return self.inverse


class OnlineAlgorithm(Algorithm):
    """Base class of the algorithms that learn with actions while they act."""

    learns_offline = False
    learns_online = True

    @classmethod
    def fit(  # type: ignore[override]
        cls: type[AlgorithmT],
        env: EnvLike,
        *,
        env_kwargs: Mapping[str, Any] | None = None,
        seeds: Iterable[int] = (0,),
        steps: int = 100_000,
        device: str = "auto",
        progress: Progress | bool = True,
        **settings: Any,
    ) -> AlgorithmT:
        """Train one member for each seed, all at once, each in an environment of its own. :meth:`save` keeps the result.

        Afterwards ``history`` has the metrics and ``evaluations`` the episodes, both as one list for each column.

        Args:
            env: an id, an environment, or a function that makes one.
            env_kwargs: arguments that the environment is made with, where ``env`` is an id or a function.
            seeds: one member each.
            steps: environment steps of each member, the random ones at the start included.
            device: ``auto``, ``cpu`` or ``cuda``.
            progress: False for no progress bar.
            **settings: fields of the algorithm's config, such as ``hidden=128``; also ``start``, ``eval_every``,
                ``episodes`` and ``noise`` of :class:`~lfo.OnlineConfig`.

        Raises:
            LfoError: an unknown setting or a wrong value, an environment that cannot be used, or every member has
                diverged.
        """
        from lfo.acting.fitting import fit_online

        agent: AlgorithmT = fit_online(
            cls,
            env,
            env_kwargs=env_kwargs,
            seeds=seeds,
            steps=steps,
            device=device,
            progress=progress,
            settings=settings,
        )
        return agent
