"""Multilayer perceptrons for M members at once: one weight tensor [M, in, out] a layer, one batched product.

Members never mix: row m of every weight, activation and gradient belongs to member m alone, so a member
of a stack learns what it would learn by itself (up to the rounding of a batched product).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["MLP", "adam", "descend", "member_generators", "passed_through"]


def member_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One CPU generator a member, so that weights depend on the member's seed and on no device."""
    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]


class MLP(nn.Module):
    """M independent networks ``in → hidden → hidden → out`` with ReLU between.

    Weights and biases start uniform in ±1/√in, as ``torch.nn.Linear`` does and as the published code used.

    Args:
        in_dim: size of the input's last axis.
        hidden: units in each of the two hidden layers.
        out_dim: size of the output's last axis.
        generators: one a member; its draws decide that member's weights.
        bf16: multiply the two hidden layers in bfloat16, which keeps 8 bits of each factor; weights, sums,
            the first and the last layer stay in float32.
    """

    weight0: Tensor
    bias0: Tensor
    weight1: Tensor
    bias1: Tensor
    weight2: Tensor
    bias2: Tensor

    def __init__(
        self,
        in_dim: int,
        hidden: int,
        out_dim: int,
        generators: Sequence[torch.Generator],
        *,
        bf16: bool = False,
    ) -> None:
        super().__init__()
        self.bf16 = bf16
        sizes = [(in_dim, hidden), (hidden, hidden), (hidden, out_dim)]
        drawn = [[_linear(i, o, generator) for i, o in sizes] for generator in generators]
        for layer in range(len(sizes)):
            weight = torch.stack([member[layer][0] for member in drawn])
            bias = torch.stack([member[layer][1] for member in drawn])
            self.register_parameter(f"weight{layer}", nn.Parameter(weight))
            self.register_parameter(f"bias{layer}", nn.Parameter(bias))

    def __call__(self, inputs: Tensor) -> Tensor:
        """Map inputs [M, B, in] to outputs [M, B, out]."""
        outputs: Tensor = _Layers.apply(  # type: ignore[no-untyped-call]
            inputs, self.weight0, self.bias0, self.weight1, self.bias1, self.weight2, self.bias2, self.bf16
        )
        return outputs


class _Layers(torch.autograd.Function):
    """The three layers as one node of autograd.

    Cheaper than what autograd would do by itself (docs/performance.md): the gradient is masked in place, the
    thin last layer is multiplied in the orientation that is fast (columns of length B), and a network whose
    weights want no gradient computes none.
    """

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight0: Tensor,
        bias0: Tensor,
        weight1: Tensor,
        bias1: Tensor,
        weight2: Tensor,
        bias2: Tensor,
        bf16: bool,
    ) -> Tensor:
        first = torch.baddbmm(bias0, inputs, weight0).relu_()
        if bf16:
            first, weight1, bias1 = first.bfloat16(), weight1.bfloat16(), bias1.bfloat16()
        second = torch.baddbmm(bias1, first, weight1).to(inputs.dtype).relu_()
        ctx.save_for_backward(inputs, weight0, first, weight1, second, weight2)
        return torch.baddbmm(bias2.mT, weight2.mT, second.mT).mT

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight0, first, weight1, second, weight2 = ctx.saved_tensors
        fits = ctx.needs_input_grad[1]
        found: list[Tensor | None] = [None] * 6
        if fits:
            # laid out as the weights are: fused Adam reads a gradient as it lies in memory
            found[4] = torch.empty_like(weight2).copy_(torch.bmm(gradient.mT, second).mT)
            found[5] = gradient.sum(dim=1, keepdim=True)
        narrow = weight2.shape[-1] == 1
        gradient = gradient * weight2.mT if narrow else torch.bmm(gradient, weight2.mT)
        gradient = _mask(gradient, second)
        if fits:
            found[3] = gradient.sum(dim=1, keepdim=True)
        gradient = gradient.to(first.dtype)
        if fits:
            found[2] = torch.bmm(first.mT, gradient).to(inputs.dtype)
        gradient = _mask(torch.bmm(gradient, weight1.mT), first).to(inputs.dtype)
        if fits:
            found[:2] = torch.bmm(inputs.mT, gradient), gradient.sum(dim=1, keepdim=True)
        into = torch.bmm(weight0, gradient.mT).mT if ctx.needs_input_grad[0] else None
        return into, *found, None


def _mask(gradient: Tensor, activation: Tensor) -> Tensor:
    """The gradient through ReLU, in place: zero where the activation is."""
    torch.ops.aten.threshold_backward.grad_input(gradient, activation, 0, grad_input=gradient)
    return gradient


@contextmanager
def passed_through(*networks: nn.Module) -> Iterator[None]:
    """Within the block, gradients pass through ``networks`` to their inputs; their weights get none."""
    for network in networks:
        network.requires_grad_(False)
    try:
        yield
    finally:
        for network in networks:
            network.requires_grad_(True)


def adam(parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Adam:
    """Adam with its defaults, in one fused kernel; it works elementwise, so members stay apart."""
    return torch.optim.Adam(parameters, lr=learning_rate, fused=True)


def descend(optimiser: torch.optim.Optimizer, losses: Tensor) -> None:
    """One step down each member's loss, ``losses`` [M], on the optimiser's own parameters only.

    Summed over members, each member's gradient is what it would be alone. Networks that a loss only passes through get
    no weight gradients.
    """
    parameters = optimiser.param_groups[0]["params"]
    gradients = torch.autograd.grad(losses.sum(), parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimiser.step()


def _linear(in_dim: int, out_dim: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    bound = 1 / math.sqrt(in_dim)
    weight = torch.empty(in_dim, out_dim).uniform_(-bound, bound, generator=generator)
    bias = torch.empty(1, out_dim).uniform_(-bound, bound, generator=generator)
    return weight, bias
