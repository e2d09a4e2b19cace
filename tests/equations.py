"""What the checks against the equations share: networks and Adam in float64, as plain matrix products."""

from __future__ import annotations

import torch
from torch import Tensor


def weights(net: torch.nn.Module, member: int) -> list[Tensor]:
    """Copies of one member's weights and biases, layer after layer."""
    return [p.detach()[member].double().clone() for p in net.parameters()]


def mlp(w: list[Tensor], x: Tensor) -> Tensor:
    """Two hidden layers with ReLU."""
    return torch.relu(torch.relu(x @ w[0] + w[1]) @ w[2] + w[3]) @ w[4] + w[5]


def adam_first_step(w: list[Tensor], loss: Tensor, lr: float = 3e-4) -> list[Tensor]:
    """The weights after Adam's first step: its bias-corrected moments are then g and g²."""
    grads = torch.autograd.grad(loss, w)
    return [(p - lr * g / (g.abs() + 1e-8)).detach() for p, g in zip(w, grads, strict=True)]
