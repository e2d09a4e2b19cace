"""QSI: Q(s, s') by way of the action, Q(s, I(s, s')).

D3G has to keep τ(s) where the dynamics can go. QSI lets the inverse dynamics do that: once I can tell which action led
from s to s', every transition of the data has an action, a = I(s, s'), and whatever is proposed in actions can be
reached. So QSI learns in the rounds of the inverse stage, always from the latest I, and the value of a transition is
Q_θ(s, I(s, s')). The interactions are transitions too: from them Q learns what follows where the policy leads, while the
policy stays near the demonstrations. Networks of two hidden layers each:

- ``critic1``, ``critic2``: Q_θ(s, a), the twins of TD3 (Fujimoto et al. 2018, arXiv 1802.09477);
- ``policy``: π_ψ(s), which goes up Q_θ1 from where the data is;
- ``clone``: κ_ξ(s), the mean action of the data; the spread σ of the data around it is the policy's yardstick;
- ``model``: f_φ(s, a) = s + h_φ(s, a), only to show where the policy goes: τ(s) = f(s, π(s)).

The pull to the data is TD3+BC's (Fujimoto & Gu 2021, arXiv 2106.06860), in units that fit any data: actions in the
data's σ, and the slope of Q in units of its mean size over one σ. Where Q is linear, π is the best action at most
``reach`` standard deviations from the data's: as far as the bounds if the data is random, close to the demonstrator if
it hardly varies. docs/qsi.md has the measurements.

Discrete actions have the same rule. π(s) and κ(s) are probabilities, Q_θ(s, ·) is one number for each value of an action,
and Q_θ(s, p) its mean under probabilities p. The pull is the divergence KL(π ‖ κ), and Q's slope its spread over the
actions, so that π ∝ κ exp(``reach`` · Q / slope): for a box, the same formula with a normal κ moves the mean by ``reach``
standard deviations.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from lfo.algorithms.base import Algorithm
from lfo.algorithms.inverse import Inverse
from lfo.algorithms.registry import Spec
from lfo.nn.batches import Batch, own_rows
from lfo.nn.heads import ActionHead
from lfo.nn.losses import q_target
from lfo.nn.networks import MLP, adam, descend, member_generators, passed_through
from lfo.nn.scaling import Units
from lfo.settings import Count, Discount, Fraction, NonNegative, Positive, Precision, Share

__all__ = ["QSI", "SPEC", "QSIConfig"]

LEVELS = 4
"""Policies from cloning to ``reach``."""
_REMEMBERED, _KNOWN = 0.5, 0.5
"""How much a return counts a round later; below how many returns a level is tried again."""
_MEASURED = 250
"""Steps over which the rewards' mean and size are measured; fixed from then on."""
_FOLLOW = 0.005
"""Share of a minibatch in the running means of σ and of Q's slope, after they have settled."""
_SAMPLED = 64
"""Rows of a minibatch that ``improves`` looks at."""
_LEAST_SIGMA = 0.02
"""σ is at least this share of the action's half range."""
_LEAST_SHARE = 0.001
"""κ gives a discrete action at least this probability."""


@dataclass(frozen=True)
class QSIConfig:
    """Settings of QSI.

    Networks and optimisation, as TD3's:
        hidden: units in each of the two hidden layers.
        batch_size: transitions a step and member.
        learning_rate: of Adam, for all networks.
        gamma: the discount γ.
        polyak: share of the weights of Q and π that enters their averages at each update of π.
        policy_every: steps between updates of π and of the averages.
        precision: of the hidden layers' products: ``bf16`` on processors that have it, ``tf32`` on GPUs.
        standardise: networks see states and differences in units of their standard deviation.

    Policy:
        reach: how many standard deviations of the data's actions to go up Q; 0 clones.
        replay: share of a minibatch that is the agent's own interactions, for Q only.
    """

    hidden: Count = 256
    batch_size: Count = 256
    learning_rate: Positive = 3e-4
    gamma: Discount = 0.99
    polyak: Fraction = 0.005
    policy_every: Count = 2
    precision: Precision = "fp32"
    standardise: bool = True
    reach: NonNegative = 2.0
    replay: Share = 0.25

    @classmethod
    def paper(cls) -> QSIConfig:
        """There is no paper: the default."""
        return cls()


class QSI(Algorithm):
    """M members of QSI. It learns in the rounds of the inverse stage, from the data's states and rewards.

        agent = QSI.fit(load("mine.h5"), "MyEnv-v0", seeds=range(5), rounds=5)

    Args:
        config: see :class:`QSIConfig`.
        units: the scales of each member's data.
        seeds: one a member; decides its initial weights.
    """

    name = "qsi"
    learns_offline = False
    starts_at_random = True
    config: QSIConfig
    reward_mean: Tensor
    reward_square: Tensor
    variance: Tensor
    slope: Tensor
    policy_metrics: Tensor
    level: Tensor
    trying: Tensor
    heard: Tensor
    heard_at: Tensor

    def __init__(self, config: QSIConfig, units: Units, seeds: Sequence[int]) -> None:
        super().__init__(config, units, seeds)
        self.to(units.device)

    def attach(self, inverse: Inverse) -> None:
        """Take the inverse dynamics that tells the data's actions; its action space decides the networks' sizes."""
        self.inverse, self.updates = inverse, 0
        config, members, size, actions = self.config, len(self.seeds), self.units.state_dim, self.head.size
        hidden, generators, bf16 = config.hidden, member_generators(self.seeds), config.precision == "bf16"
        inputs, outputs = (size + 1, actions) if self.head.discrete else (size + actions + 1, 1)
        self.critic1 = MLP(inputs, hidden, outputs, generators, bf16=bf16)
        self.critic2 = MLP(inputs, hidden, outputs, generators, bf16=bf16)
        self.policy = MLP(size + 1, hidden, actions, generators, bf16=bf16)
        self.clone = MLP(size, hidden, actions, generators, bf16=bf16)
        self.model = MLP(size + actions, hidden, size, generators, bf16=bf16)
        self.target_critic1, self.target_critic2 = deepcopy(self.critic1), deepcopy(self.critic2)
        self.target_policy = deepcopy(self.policy)
        for name, width in (
            ("reward_mean", 1),
            ("reward_square", 1),
            ("variance", inverse.space.size),
            ("slope", 1),
        ):
            self.register_buffer(name, torch.zeros(members, 1, width))
        for name in ("level", "trying", "heard_at"):
            self.register_buffer(name, torch.zeros(members, dtype=torch.long))
        self.register_buffer("heard", torch.zeros(members, 3, LEVELS, dtype=torch.float64))
        self.register_buffer("policy_metrics", torch.zeros(members, 3))
        self.to(self.units.device)

        followed = self.critic1, self.critic2, self.policy
        averages = self.target_critic1, self.target_critic2, self.target_policy
        self.online: list[Tensor] = [p for network in followed for p in network.parameters()]
        self.targets: list[Tensor] = [p for network in averages for p in network.parameters()]
        for parameter in self.targets:
            parameter.requires_grad_(False)
        critics = [*self.critic1.parameters(), *self.critic2.parameters()]
        policies = [p for network in (self.policy, self.clone, self.model) for p in network.parameters()]
        self.critic_optimiser = adam(critics, config.learning_rate)
        self.policy_optimiser = adam(policies, config.learning_rate)

    @property
    def head(self) -> ActionHead:
        """How a network's output becomes an action."""
        return self.require_inverse().head

    @property
    def period(self) -> int:
        """Steps from one update of π to the next."""
        return self.config.policy_every

    @property
    def replay(self) -> float:
        """As configured."""
        return self.config.replay

    @property
    def precision(self) -> str:
        """As configured."""
        return self.config.precision

    # --- one step ------------------------------------------------------------------------------------------------

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step of every member; metrics are [M], on the device.

        ``critic_loss``: Σ_i of the mean squared error of Q_θi, in units of the rewards' size. ``q_data``: the mean
        Q_θ1(s, a), in the units that it is learned in. At the policy's last step: ``clone_loss``, the mean square of
        κ(s) − a, in units of the action's half range, or −log κ(a | s); ``model_loss``, the mean square of
        f(s, a) − s', in units of the variance of s' − s; ``improves``, how often Q_θ2(s, π(s)) > Q_θ2(s, a), for the
        twin that π does not follow.
        """
        actions, levels = self.infer(batch.states, batch.deltas), self._all_levels(batch.states)
        critic_loss, q_data = self.critic_loss(batch, actions, levels, self.critic_target(batch, levels))
        descend(self.critic_optimiser, critic_loss)

        if self.updates % self.config.policy_every == 0:
            batch, actions, levels = self._demonstrations(batch, actions, levels)
            clone_loss, model_loss = self.clone_loss(batch, actions), self.model_loss(batch, actions)
            policy_loss, improves = self.policy_loss(batch, actions, levels)
            # None of these losses depends on another's parameters: one step for all is a step for each
            descend(self.policy_optimiser, policy_loss + clone_loss + model_loss)
            self.follow_targets()
            self.policy_metrics.copy_(
                torch.stack([clone_loss.detach(), model_loss.detach(), improves], dim=1)
            )

        self.updates += 1
        clone_error, model_error, improves = self.policy_metrics.unbind(dim=1)
        return {
            "critic_loss": critic_loss.detach(),
            "clone_loss": clone_error,
            "model_loss": model_error,
            "q_data": q_data,
            "improves": improves,
        }

    @torch.no_grad()
    def infer(self, states: Tensor, deltas: Tensor) -> Tensor:
        """a = I(s, s') [M, B, A] of transitions, as its code; see :class:`~lfo.nn.heads.ActionHead`."""
        return self.head.encode(self.require_inverse()(states, deltas))

    @torch.no_grad()
    def critic_target(self, batch: Batch, levels: Tensor) -> Tensor:
        """y = r + γ(1−d) min_i Q_θ'i(s', π_ψ'(s')) [M, B, 1], rewards centred and scaled."""
        states = batch.next_states
        actions = self.propose(self.target_policy, states, levels)
        q1 = self.value(self.target_critic1, states, actions, levels)
        q2 = self.value(self.target_critic2, states, actions, levels)
        return q_target(self._rewards(batch), 1 - batch.terminated, q1, q2, self.config.gamma)

    def critic_loss(
        self, batch: Batch, actions: Tensor, levels: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        """L_θ = Σ_i ‖Q_θi(s, a) − y‖² [M]; and the mean of Q_θ1(s, a) [M]."""
        q1 = self.value(self.critic1, batch.states, actions, levels)
        q2 = self.value(self.critic2, batch.states, actions, levels)
        return ((q1 - target).square() + (q2 - target).square()).mean((1, 2)), q1.detach().mean((1, 2))

    def clone_loss(self, batch: Batch, actions: Tensor) -> Tensor:
        """L_ξ = ‖κ_ξ(s) − a‖² or −log κ_ξ(a | s) [M]; σ² follows its mean in each dimension."""
        errors = self.head.errors(self.clone(batch.states), actions)
        self._follow(self.variance, errors.detach().mean(dim=1, keepdim=True))
        return errors.mean((1, 2))

    def model_loss(self, batch: Batch, actions: Tensor) -> Tensor:
        """L_φ = ‖h_φ(s, a) − (s' − s)‖² [M]."""
        return (self._step(batch.states, actions) - batch.deltas).square().mean((1, 2))

    def policy_loss(self, batch: Batch, actions: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        """L_ψ = ½‖(π_ψ(s) − a) / σ‖² − α Q_θ1(s, π_ψ(s)) / G [M] for G² = mean ‖σ ∂Q_θ1/∂a‖².

        With discrete actions KL(π_ψ ‖ κ) is the pull, and G² the mean variance of Q_θ1(s, ·). The gradient passes through
        Q into ψ only. Also how often Q_θ2 prefers π(s) to a [M].
        """
        proposed = self.propose(self.policy, batch.states, levels)
        tried = proposed.detach().requires_grad_()
        with passed_through(self.critic1):
            q = self.value(self.critic1, batch.states, tried, levels)
            (slope,) = torch.autograd.grad(q.sum(), tried)
        if self.head.discrete:
            variances = [part.var(dim=-1, keepdim=True, correction=0) for part in self.head.parts(slope)]
            spread = torch.stack(variances).sum(dim=0)
            pull = self._divergence(batch.states, proposed)
        else:
            sigma = self.variance.sqrt().clamp(min=_LEAST_SIGMA)
            spread = (slope * sigma).square().sum(-1, keepdim=True)
            pull = ((proposed - actions) / sigma).square().sum(-1) / 2
        self._follow(self.slope, spread.mean(dim=1, keepdim=True))
        alpha = self.config.reach * levels[..., 0].square()
        rise = (slope * proposed).sum(-1) / self.slope[..., 0].sqrt().clamp(
            min=1e-8
        )  # its gradient is that of Q / G
        return (pull - alpha * rise).mean(dim=1), self._improves(
            batch.states, tried.detach(), actions, levels
        )

    @torch.no_grad()
    def follow_targets(self) -> None:
        """θ' ← θ' + polyak · (θ − θ'), ψ' likewise."""
        torch._foreach_lerp_(self.targets, self.online, self.config.polyak)

    # --- its parts -----------------------------------------------------------------------------------------------

    def _demonstrations(self, batch: Batch, actions: Tensor, levels: Tensor) -> tuple[Batch, Tensor, Tensor]:
        """A minibatch without its interactions, which are its last rows."""
        count = actions.shape[1] - own_rows(actions.shape[1], self.config.replay)
        return Batch(*(column[:, :count] for column in batch)), actions[:, :count], levels[:, :count]

    def value(self, critic: MLP, states: Tensor, actions: Tensor, levels: Tensor) -> Tensor:
        """Q(s, a) [M, B, 1] for the codes of actions, if π of ``levels`` [M, B, 1] acts from then on."""
        if self.head.discrete:
            return (critic(torch.cat([states, levels], dim=-1)) * actions).sum(-1, keepdim=True)
        return critic(torch.cat([states, actions, levels], dim=-1))

    def propose(self, policy: MLP, states: Tensor, levels: Tensor) -> Tensor:
        """The code of π(s) [M, B, ·]."""
        return self.head.soft(policy(torch.cat([states, levels], dim=-1)))

    def _divergence(self, states: Tensor, proposed: Tensor) -> Tensor:
        """KL(π ‖ κ) [M, B] of probabilities, with a gradient for π."""
        with torch.no_grad():
            data = self.head.soft(self.clone(states)).clamp(min=_LEAST_SHARE).log()
        return (proposed * (proposed.clamp(min=1e-8).log() - data)).sum(-1)

    def _step(self, states: Tensor, actions: Tensor) -> Tensor:
        """h(s, a) = f(s, a) − s [M, B, S]."""
        return self.model(torch.cat([states, actions], dim=-1)) * self.units.moving

    def _rewards(self, batch: Batch) -> Tensor:
        """Rewards less their mean μ, at an end also less what would have followed at that rate; in units of their size.

        Q then starts from "as usual for ever", μ/(1 − γ), and what it has to learn is of order one. The end is still
        worth nothing: μ/(1 − γ) less than usual.
        """
        ahead = self.config.gamma / (1 - self.config.gamma)
        rate = 1 / (self.updates + 1) if self.updates < _MEASURED else 0.0
        self.reward_mean.lerp_(batch.rewards.mean(dim=1, keepdim=True), rate)
        rewards = batch.rewards - self.reward_mean * (1 + ahead * batch.terminated)
        self.reward_square.lerp_(rewards.square().mean(dim=1, keepdim=True), rate)
        return rewards / self._size()

    def _size(self) -> Tensor:
        """The unit of rewards and values [M, 1, 1]; 1 where rewards are all alike and nothing ends."""
        size = self.reward_square.sqrt()
        return torch.where(size > 1e-6, size, 1.0)

    @torch.no_grad()
    def _improves(self, states: Tensor, proposed: Tensor, actions: Tensor, levels: Tensor) -> Tensor:
        """How often Q_θ2 prefers one action to the other [M], over the first rows of the minibatch."""
        states, levels = states[:, :_SAMPLED], levels[:, :_SAMPLED]
        ours = self.value(self.critic2, states, proposed[:, :_SAMPLED], levels)
        return (ours > self.value(self.critic2, states, actions[:, :_SAMPLED], levels)).float().mean((1, 2))

    def _follow(self, running: Tensor, found: Tensor) -> None:
        """A plain mean over the policy's steps at first, then a running one."""
        running.lerp_(found, max(_FOLLOW, 1 / (self.updates // self.config.policy_every + 1)))

    # --- how far to go -------------------------------------------------------------------------------------------

    def episode_over(self, member: int, total: float) -> None:
        """Remember what the level that was tried returned, and choose the one to try next and the one to act with."""
        heard = self.heard[member]
        if self.heard_at[member] != self.updates:  # the policies have changed since
            heard *= _REMEMBERED
            self.heard_at[member] = self.updates
        heard[:, self.trying[member]] += heard.new_tensor([1.0, total, total**2])
        count, mean = heard[0], heard[1] / heard[0].clamp(min=1e-9)
        deviation = ((heard[2] - count * mean.square()).sum() / count.sum()).clamp(min=0).sqrt()
        error = deviation / count.sqrt()
        self.trying[member] = torch.where(count > _KNOWN, mean + error, torch.inf).argmax()
        # The best, or a higher level that is as good as far as anyone can tell
        best = torch.where(count > 0, mean - error / 2, -torch.inf).argmax()
        as_good = (count >= 2) & (mean >= mean[best] - (error.square() + error[best].square()).sqrt())
        as_good[best] = True
        self.level[member] = as_good.nonzero().max()

    def _all_levels(self, states: Tensor) -> Tensor:
        """Every level in turn, from 0 to 1 [M, B, 1]."""
        turn = torch.arange(states.shape[1], device=states.device) % LEVELS / (LEVELS - 1)
        return turn[None, :, None].expand(len(states), -1, -1)

    def _own_level(self, states: Tensor, level: Tensor) -> Tensor:
        """Each member's ``level`` [M], from 0 to 1 [M, B, 1]."""
        return (level / (LEVELS - 1))[:, None, None].expand(-1, states.shape[1], 1)

    # --- what it learned, in raw units ---------------------------------------------------------------------------

    def act(self, states: Tensor) -> Tensor:
        """π(s), from the averaged weights: raw states [M, B, S] to actions [M, B, A] inside the bounds."""
        return self._act(self.require_inverse(), states, self.level)

    def explore(self, states: Tensor) -> Tensor:
        """π(s) of the level that is being tried."""
        return self._act(self.require_inverse(), states, self.trying)

    @torch.no_grad()
    def _act(self, inverse: Inverse, states: Tensor, level: Tensor) -> Tensor:
        scaled = self.units.states(states)
        return inverse.head(self.target_policy(torch.cat([scaled, self._own_level(scaled, level)], dim=-1)))

    @torch.no_grad()
    def aim(self, states: Tensor) -> Tensor:
        """τ(s) = f(s, π(s)), where the policy leads: raw states [M, B, S] to raw states."""
        scaled = self.units.states(states)
        actions = self.propose(self.target_policy, scaled, self._own_level(scaled, self.level))
        return self.units.raw_after(states, self._step(scaled, actions))

    @torch.no_grad()
    def imagine(self, states: Tensor) -> Tensor:
        """f(s, κ(s)), where the data's policy goes on average: raw states [M, B, S] to raw states."""
        scaled = self.units.states(states)
        return self.units.raw_after(states, self._step(scaled, self.head.soft(self.clone(scaled))))

    @torch.no_grad()
    def values(self, states: Tensor, next_states: Tensor) -> Tensor:
        """Q(s, s') = min_i Q_θi(s, I(s, s')) [M, B] of raw states [M, B, S], in the rewards' units."""
        scaled = self.units.states(states)
        actions = self.infer(scaled, self.units.deltas(states, next_states))
        level = self._own_level(scaled, self.level)
        q1, q2 = (self.value(critic, scaled, actions, level) for critic in (self.critic1, self.critic2))
        return (torch.minimum(q1, q2) * self._size() + self.reward_mean / (1 - self.config.gamma))[..., 0]


SPEC = Spec(
    QSI,
    QSIConfig,
    label="QSI",
    colours=("#2e7d4f", "#6fbf8f", "#14452a"),
    marker="D",
    precisions=("fp32", "tf32", "bf16"),
    step_cost=3.5,
    act_cost=0.025,
    portrait=True,
)
