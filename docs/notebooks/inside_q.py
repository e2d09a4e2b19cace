# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Look inside Q(s, s')
#
# What has D3G learned before it ever acted? On Pendulum-v1 the state is an angle and its speed, so Q(s, s') and the aim
# τ(s) can be drawn.

# %%
import matplotlib.pyplot as plt
import numpy as np

from lfo import D3G, load_policy
from lfo.datasets.collect import collect

# %%
data, _ = collect("Pendulum-v1", policy="random", steps=40_000)
agent = D3G.fit(data, steps=10_000, hidden=128)
agent.save("pendulum-run")
policy = load_policy("pendulum-run")

# %% [markdown]
# ## The value of aiming well
#
# Q(s, τ(s)) for every angle and speed: high where the pendulum is upright (angle 0) and slow. The arrows are τ(s) − s, in
# angle and speed.

# %%
angles, speeds = np.meshgrid(np.linspace(-np.pi, np.pi, 41), np.linspace(-8, 8, 41))


def states(angle, speed):
    return np.stack([np.cos(angle), np.sin(angle), speed], axis=-1).reshape(-1, 3).astype(np.float32)


here = states(angles, speeds)
aims = policy.aim(here)
values = policy.value(here, aims).reshape(angles.shape)
turn = np.arctan2(aims[:, 1], aims[:, 0]).reshape(angles.shape) - angles
turn = (turn + np.pi) % (2 * np.pi) - np.pi
change = aims[:, 2].reshape(angles.shape) - speeds

figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
figure.colorbar(axis.pcolormesh(angles, speeds, values), label="Q(s, τ(s))")
few = (slice(None, None, 4), slice(None, None, 4))
axis.quiver(angles[few], speeds[few], turn[few], change[few], color="white", angles="xy")
axis.set_xlabel("angle, 0 is upright")
axis.set_ylabel("speed")

# %% [markdown]
# ## Which of the next states?
#
# From one state, hanging and at rest, the value of next states with other speeds. The next states that exist lie in a
# narrow band: the torque is at most 2. Outside of it Q extrapolates, which is why D3G pulls its aim back to what the
# forward model can reach.

# %%
start = states(np.array([np.pi]), np.array([0.0]))
near = data.states[:, 0] < -0.98
reached = (data.next_states[near, 2] - data.states[near, 2]).astype(float)
steps = np.linspace(-3, 3, 61)
there = states(np.full(61, np.pi) + 0.05 * steps, steps)
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
axis.plot(steps, policy.value(np.repeat(start, 61, 0), there))
axis.axvspan(reached.min(), reached.max(), alpha=0.15, label="seen in the data")
axis.axvline(policy.aim(start)[0, 2], color="k", linestyle="--", label="τ(s)")
axis.set_xlabel("speed of s'")
axis.set_ylabel("Q(s, s')")
axis.legend()
