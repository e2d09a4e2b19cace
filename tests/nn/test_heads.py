"""From a network's output to an action, against numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lfo.envs.spaces import ActionSpace, DiscreteSpace
from lfo.nn.heads import ActionHead

BOX = ActionSpace(np.array([-1.0, 0.0], np.float32), np.array([3.0, 1.0], np.float32))
CHOICES = DiscreteSpace.counting([5, 0], [2, 3], (2,))
LOGITS = torch.log(torch.tensor([[[0.25, 0.75, 0.5, 0.2, 0.3]]]))
"""[1, 1, 5]: the probabilities of 5 and 6, and of 0, 1 and 2."""


def test_continuous_by_hand() -> None:
    head = ActionHead(BOX)
    outputs, actions = torch.zeros(1, 1, 2), torch.tensor([[[3.0, 0.0]]])
    assert head.size == 2
    assert head(outputs).tolist() == [[[1.0, 0.5]]]
    assert head.encode(actions).tolist() == [[[1.0, -1.0]]]
    assert head.loss(outputs, actions).item() == (2**2 + 0.5**2) / 2


def test_discrete_by_hand() -> None:
    head = ActionHead(CHOICES)
    actions = torch.tensor([[[5.0, 2.0]]])
    assert head.size == 5
    assert head(LOGITS).tolist() == [[[6.0, 0.0]]]
    assert head.to_env(head(LOGITS)[0]).tolist() == [[6, 0]]
    assert head.encode(actions).tolist() == [[[1, 0, 0, 0, 1]]]
    torch.testing.assert_close(head.soft(LOGITS), LOGITS.exp())
    assert head.loss(LOGITS, actions).item() == pytest.approx(-(np.log(0.25) + np.log(0.3)) / 2)


def test_the_published_loss_by_hand() -> None:
    head = ActionHead(CHOICES, squared=True)
    errors = np.array([0.25 - 1, 0.75, 0.5, 0.2, 0.3 - 1])
    found = head.loss(LOGITS, torch.tensor([[[5.0, 2.0]]]))
    assert found.item() == pytest.approx(np.square(errors).mean())
