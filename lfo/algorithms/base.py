"""What every algorithm shares: its state, its members, the inverse dynamics it acts with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from lfo.algorithms.inverse import Inverse
from lfo.algorithms.protocol import Source
from lfo.errors import LfoError
from lfo.nn.learner import Learner, copy_member
from lfo.nn.scaling import Units

__all__ = ["Algorithm"]

AlgorithmT = TypeVar("AlgorithmT", bound="Algorithm")


class Algorithm(Learner):
    """Base class of the algorithms: the parts of :class:`~lfo.algorithms.protocol.Agent` that are always the same.

    Args:
        config: the algorithm's settings.
        units: the scales of each member's data.
        seeds: one a member; decides its initial weights.
    """

    name: ClassVar[str]
    learns_offline: ClassVar[bool] = True
    inverse: Inverse | None

    def __init__(self, config: Any, units: Units, seeds: Sequence[int]) -> None:
        super().__init__()
        self.config, self.units, self.seeds, self.inverse = config, units, tuple(seeds), None
        self.stopped: dict[int, str] = {}

    @property
    def period(self) -> int:
        """Every step does the same."""
        return 1

    @property
    def precision(self) -> str:
        """Matrix products in float32."""
        return "fp32"

    def prepare(self, source: Source) -> None:
        """Nothing to know of the data."""

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
