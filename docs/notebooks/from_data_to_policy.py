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
# # From data to policy
#
# An inverted pendulum, recorded under random actions that nobody wrote down. From that file to a policy that balances,
# step by step.

# %%
import matplotlib.pyplot as plt
import numpy as np

from lfo import D3G, evaluate, learn_inverse, load_policy
from lfo.datasets.collect import collect

# %% [markdown]
# ## The data
#
# `collect` records a policy; here 100,000 steps of random actions, and the actions are thrown away. Data of your own
# comes from `lfo.datasets.load("mine.h5")`.

# %%
data, _ = collect("InvertedPendulum-v5", random_frac=1.0, steps=100_000)
returns = data.episode_returns()
print(f"{len(data):,} transitions of {data.state_dim} numbers, {data.num_episodes:,} episodes")
print(f"an episode lasts {returns.mean():.1f} steps on average, the longest {returns.max():.0f}")

# %%
figure, axes = plt.subplots(1, data.state_dim, figsize=(12, 2.5), layout="constrained")
for i, axis in enumerate(axes):
    axis.hist(data.states[:, i], bins=60)
    axis.set_xlabel(f"state[{i}]")

# %% [markdown]
# ## Which next state is worth aiming for
#
# Offline, without actions, two seeds at once. `agent.history` has the losses.

# %%
agent = D3G.fit(data, seeds=range(2), steps=30_000, hidden=128, act_on_cycle=True)
history = {name: np.array(column) for name, column in agent.history.items()}
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
for member in range(2):
    mine = history["member"] == member
    axis.plot(history["step"][mine], history["q_data"][mine], label=f"seed {member}")
axis.set_xlabel("gradient steps")
axis.set_ylabel("mean Q(s, s') of the data")
axis.legend()

# %% [markdown]
# ## Which action leads there
#
# Five rounds of 1,000 environment steps each. The score after each round is the return over 10 episodes.

# %%
rounds = learn_inverse(agent, "InvertedPendulum-v5", rounds=5, interactions=1000)
for one in rounds:
    print(one.number, one.interactions, one.evaluation)

# %% [markdown]
# ## A policy to take away

# %%
print(evaluate(agent, "InvertedPendulum-v5", episodes=10))
agent.save("notebook-run")
policy = load_policy("notebook-run", member=0)
policy.save("policy.safetensors")
print(policy.predict([0.0, 0.1, 0.0, 0.0]))
