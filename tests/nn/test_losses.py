"""Targets and losses against numbers worked by hand."""

from __future__ import annotations

import pytest
import torch

from lfo.nn.losses import expectile_loss, pessimistic, q_target, value_range


def test_q_target_by_hand() -> None:
    rewards, continues = torch.tensor([1.0, 2.0, -1.0]), torch.tensor([1.0, 0.0, 1.0])
    q1, q2 = torch.tensor([10.0, 10.0, -4.0]), torch.tensor([20.0, 5.0, -2.0])
    # 1 + 0.5·10; 2 (terminated); −1 + 0.5·(−4)
    torch.testing.assert_close(q_target(rewards, continues, q1, q2, 0.5), torch.tensor([6.0, 2.0, -3.0]))


def test_pessimistic_by_hand() -> None:
    q1 = torch.tensor([[5.0, 9.0, 1.0, 7.0], [5.0, 9.0, 1.0, 7.0]])[:, :, None]
    q2 = torch.tensor([[4.0, 8.0, 2.0, 9.0], [4.0, 8.0, 2.0, 9.0]])[:, :, None]
    # The first member knows rows 0 and 3, worth 4 and 7: 5.5 − 1.5; the second knows none.
    unknown = torch.tensor([[False, True, True, False], [True, True, True, True]])[:, :, None]
    found1, found2 = pessimistic(q1, q2, unknown)
    assert found1[..., 0].tolist() == [[5.0, 4.0, 1.0, 7.0], [5.0, 9.0, 1.0, 7.0]]
    assert found2[..., 0].tolist() == [[4.0, 4.0, 2.0, 9.0], [4.0, 8.0, 2.0, 9.0]]


def test_pessimism_does_not_feed_on_itself() -> None:
    """A known state that leads to the unknown only: v = −1 + γ bound(v), where nine other states are worth 0."""
    q = torch.zeros(1, 11, 1)
    unknown = torch.arange(11)[None, :, None] == 10
    for _ in range(200):
        bounded, _ = pessimistic(q, q, unknown)
        q[0, 0] = -1 + 0.99 * bounded[0, 10]
    # μ − σ = −|v|/10 − 3|v|/10, so that |v| = 1 / (1 − 0.99 · 0.4); the least known value would lead to −1/(1 − γ)
    assert q[0, 0].item() == pytest.approx(-1 / (1 - 0.99 * 0.4), rel=1e-5)


def test_expectile_loss_by_hand() -> None:
    found = expectile_loss(torch.tensor([2.0, -2.0, 0.0]), 0.9)
    torch.testing.assert_close(found, torch.tensor([3.6, 0.4, 0.0]))


@pytest.mark.parametrize(
    ("lowest", "highest", "expected"),
    [
        (0.0, 1.0, (0.0, 100.0)),
        (1.0, 1.0, (1.0, 100.0)),
        (-2.0, -1.0, (-200.0, -1.0)),
        (-1.0, 3.0, (-100.0, 300.0)),
    ],
)
def test_value_range_by_hand(lowest: float, highest: float, expected: tuple[float, float]) -> None:
    assert value_range(lowest, highest, 0.99) == pytest.approx(expected)
