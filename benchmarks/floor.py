"""The floor of a gradient step: the matrix products that its mathematics needs, and nothing else.

What is needed
--------------
A network is in → H → H → out. Each of its uses in a step, a *pass*, takes

- forward: x W for each of the three layers;
- if a loss is to fit the network: the weight gradients xᵀ g of the three layers, and the input gradients g Wᵀ of
  the last two, through which the gradient gets to the weights before;
- if a gradient has to get *through* the network, to what it was fed: g Wᵀ of all three layers; of the first, only
  the columns of the input that depend on what is fitted.

Every ``xxx_passes`` lists the passes of one update in the order of its algorithm box, from the equations and not
from the code. Biases, activations, losses, Adam, target networks and minibatches are no matrix products, nor is the outer
product of two vectors (g Wᵀ of a single output): they are what an update may cost above its floor.

How it is timed
---------------
Products of M members are batched as the learner's are. Results are written to memory that is there already. Each
product takes whichever form is fastest here, found by trying: one ``torch.bmm`` or M ``torch.mm``, of the factors
or of their transposes (Wᵀ xᵀ is the same product, and with few columns several times as fast).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lfo import BCOConfig, D3GConfig, D3GOnlineConfig, InverseConfig, QSIConfig

__all__ = [
    "Floor",
    "Pass",
    "Product",
    "bco_passes",
    "d3g_online_passes",
    "d3g_passes",
    "flops",
    "inverse_passes",
    "qsi_passes",
]


@dataclass(frozen=True)
class Pass:
    """One use of a network in an update."""

    network: str
    inputs: int
    outputs: int
    fit: bool = False
    """Whether a loss fits this network here."""
    through: int = 0
    """Columns of the input that a gradient has to get to."""
    delayed: bool = False
    """Whether it is done only every second step or so."""
    share: float = 1.0
    """Of the minibatch's rows."""


@dataclass(frozen=True)
class Product:
    """One matrix product, [rows, inner] [inner, columns]; ``kind`` is ``x W``, ``xᵀ g`` or ``g Wᵀ``."""

    kind: str
    rows: int
    inner: int
    columns: int

    def flops(self) -> int:
        """Multiplications and additions."""
        return 2 * self.rows * self.inner * self.columns


def d3g_passes(config: D3GConfig, state_dim: int) -> list[Pass]:
    """The passes of one update of D3G (the algorithm box in :meth:`lfo.D3G.update`)."""
    s = state_dim
    critic, predictor, model, baseline = (2 * s, 1), (s, s), (s + 1, s), (s, 1)
    # y = r + γ(1−d) min_i Q_θ'i(s', C'(s', τ_ψ'(s'))), C'(s', x) = f_φ(s', Q_θ'1(s', x)): no gradients
    target = [
        Pass("target_predictor", *predictor),
        Pass("target_critic1", *critic),
        Pass("model", *model),
        Pass("target_critic1", *critic),
        Pass("target_critic2", *critic),
    ]
    # L_θ = Σ_i ‖Q_θi(s, s') − y‖²;  L_φ = ‖h_φ(s, Q_θ'1(s, s')) − (s' − s)‖², the value detached
    fits = [
        Pass("critic1", *critic, fit=True),
        Pass("critic2", *critic, fit=True),
        Pass("target_critic1", *critic),
        Pass("model", *model, fit=True),
    ]
    # L_χ = |κ − 1(u<0)| u², u = Q_θ'1(s, s') − V_χ(s); f also takes V_χ(s') in the target
    if config.relative_value:
        target.append(Pass("baseline", *baseline))
        fits.append(Pass("baseline", *baseline, fit=True))
    # L_ψ = −Q_θ1(s, C(s, τ_ψ(s))) + β‖τ_ψ(s) − C(s, τ_ψ(s))‖²: through Q's s', through f's q, through Q's s'
    delayed = [
        Pass("predictor", *predictor, fit=True, delayed=True),
        Pass("critic1", *critic, through=s, delayed=True),
        Pass("model", *model, through=1, delayed=True),
        Pass("critic1", *critic, through=s, delayed=True),
    ]
    return [*target, *fits, *delayed]


def inverse_passes(config: InverseConfig, state_dim: int, action_dim: int) -> list[Pass]:
    """The pass of one update of the inverse dynamics: ‖I_ω(s, s') − a‖²."""
    return [Pass("inverse", 2 * state_dim, action_dim, fit=True)]


def bco_passes(config: BCOConfig, state_dim: int, action_dim: int) -> list[Pass]:
    """The passes of one update of BCO: ‖π_ζ(s) − I_ω(s, s')‖², I fixed."""
    return [Pass("inverse", 2 * state_dim, action_dim), Pass("policy", state_dim, action_dim, fit=True)]


def qsi_passes(config: QSIConfig, state_dim: int, action_dim: int) -> list[Pass]:
    """The passes of one update of QSI (:meth:`lfo.QSI.update`); every second one has the delayed part."""
    s, a = state_dim, action_dim
    critic, policy = (s + a + 1, 1), (s + 1, a)
    # a = I(s, s');  y = r + γ(1−d) min_i Q_θ'i(s', π_ψ'(s'));  L_θ = Σ_i ‖Q_θi(s, a) − y‖²
    every = [
        Pass("inverse", 2 * s, a),
        Pass("target_policy", *policy),
        Pass("target_critic1", *critic),
        Pass("target_critic2", *critic),
        Pass("critic1", *critic, fit=True),
        Pass("critic2", *critic, fit=True),
    ]
    given = 1 - config.replay  # the demonstrations alone
    # ‖κ_ξ(s) − a‖²;  ‖f_φ(s, a) − s'‖²;  L_ψ = ½‖(π_ψ(s) − a) / σ‖² − α Q_θ1(s, π_ψ(s)) / G
    delayed = [
        Pass("clone", s, a, fit=True, delayed=True, share=given),
        Pass("model", s + a, s, fit=True, delayed=True, share=given),
        Pass("policy", *policy, fit=True, delayed=True, share=given),
        Pass("critic1", *critic, through=a, delayed=True, share=given),
    ]
    return [*every, *delayed]


def d3g_online_passes(config: D3GOnlineConfig, state_dim: int, action_dim: int) -> list[Pass]:
    """The passes of one update of D3G with actions (:meth:`lfo.D3GOnline.update`)."""
    s, a = state_dim, action_dim
    critic, predictor, model, inverse = (2 * s, 1), (s, s), (s + a, s), (2 * s, a)
    # y = r + γ(1−d) min_i Q_θ'i(s', C(s', τ_ψ'(s'))), C(s', x) = f_φ(s', I_ω(s', x)): no gradients
    target = [
        Pass("target_predictor", *predictor),
        Pass("inverse", *inverse),
        Pass("model", *model),
        Pass("target_critic1", *critic),
        Pass("target_critic2", *critic),
    ]
    # L_θ = Σ_i ‖Q_θi(s, s') − y‖²;  L_φ = ‖h_φ(s, a) − (s' − s)‖²;  L_ω = ‖I_ω(s, s') − a‖²
    fits = [
        Pass("critic1", *critic, fit=True),
        Pass("critic2", *critic, fit=True),
        Pass("model", *model, fit=True),
        Pass("inverse", *inverse, fit=True),
    ]
    # L_ψ = −Q_θ1(s, C(s, τ_ψ(s))) + β‖τ_ψ(s) − C(s, τ_ψ(s))‖²: through Q's s', f's a and I's s'
    delayed = [
        Pass("predictor", *predictor, fit=True, delayed=True),
        Pass("inverse", *inverse, through=s, delayed=True),
        Pass("model", *model, through=a, delayed=True),
        Pass("critic1", *critic, through=s, delayed=True),
    ]
    return [*target, *fits, *delayed]


def products(one: Pass, batch: int, hidden: int) -> list[Product]:
    """The matrix products of a pass."""
    layers = [(one.inputs, hidden), (hidden, hidden), (hidden, one.outputs)]
    batch = round(one.share * batch)
    found = [Product("x W", batch, i, o) for i, o in layers]
    if one.fit:
        found += [Product("xᵀ g", i, batch, o) for i, o in layers]
    if one.fit or one.through:
        found += [Product("g Wᵀ", batch, o, i) for i, o in layers[1:]]
    if one.through:
        found.append(Product("g Wᵀ", batch, hidden, one.through))
    return [product for product in found if product.inner > 1]


def flops(passes: Sequence[Pass], batch: int, hidden: int, *, delayed: bool) -> int:
    """Multiplications and additions of one member's update, with or without the delayed part."""
    used = [one for one in passes if delayed or not one.delayed]
    return sum(product.flops() for one in used for product in products(one, batch, hidden))


class Floor:
    """The products of an update, ready to run: call it with whether the delayed part is due.

    Args:
        passes: from one of the functions above.
        members: M.
        batch: rows of a minibatch.
        hidden: units in a hidden layer.
        device: where to compute.
    """

    def __init__(
        self,
        passes: Sequence[Pass],
        members: int,
        batch: int,
        hidden: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self._fastest: dict[Product, int] = {}
        self._every: list[Callable[[], object]] = []
        self._delayed: list[Callable[[], object]] = []
        for one in passes:
            ready = [self._ready(product, members, device) for product in products(one, batch, hidden)]
            (self._delayed if one.delayed else self._every).extend(ready)

    def __call__(self, delayed: bool = False) -> None:
        for run in self._every:
            run()
        if delayed:
            for run in self._delayed:
                run()

    def steps(self, every: int) -> None:
        """``every`` updates, the delayed part in one of them."""
        for step in range(every):
            self(delayed=step == 0)

    def _ready(self, product: Product, members: int, device: torch.device | str) -> Callable[[], object]:
        forms = _forms(product, members, device)
        if product not in self._fastest:
            self._fastest[product] = 0 if str(device) != "cpu" else _fastest(forms)
        return forms[self._fastest[product]]


def _forms(product: Product, members: int, device: torch.device | str) -> list[Callable[[], object]]:
    """The ways to compute a product; the factors are laid out in memory as the learner's are."""
    rows, inner, columns = product.rows, product.inner, product.columns
    shape = {"x W": (rows, inner), "g Wᵀ": (rows, inner), "xᵀ g": (inner, rows)}[product.kind]
    left = torch.randn(members, *shape, device=device)
    left = left.mT if product.kind == "xᵀ g" else left
    shape = (columns, inner) if product.kind == "g Wᵀ" else (inner, columns)
    right = torch.randn(members, *shape, device=device) * 0.05
    right = right.mT if product.kind == "g Wᵀ" else right
    out = torch.empty(members, rows, columns, device=device)
    turned = torch.empty(members, columns, rows, device=device)
    return [
        partial(torch.bmm, left, right, out=out),
        partial(torch.bmm, right.mT, left.mT, out=turned),
        partial(_one_by_one, [*zip(left, right, out, strict=True)]),
        partial(_one_by_one, [*zip(right.mT, left.mT, turned, strict=True)]),
    ]


def _one_by_one(members: Sequence[tuple[Tensor, Tensor, Tensor]]) -> None:
    for left, right, out in members:
        torch.mm(left, right, out=out)


def _fastest(forms: Sequence[Callable[[], object]]) -> int:
    """The index of the fastest; the least of several times, as only disturbances add to it."""
    best = [float("inf")] * len(forms)
    for _ in range(7):
        for k, form in enumerate(forms):
            start = time.perf_counter()
            form()
            best[k] = min(best[k], time.perf_counter() - start)
    return best.index(min(best))
