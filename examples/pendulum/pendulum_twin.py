"""A simulated twin of a real pendulum whose motor is too weak to lift it directly: ``pendulum_twin:PendulumTwin-v0``."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box

MASS, LENGTH, INERTIA = 0.6755, 0.5, 0.139625  # kg, m, kg m²
GRAVITY = 9.81  # m/s²
VISCOUS, COULOMB = 0.1, 0.02  # N m s/rad, N m
TORQUE = 1.5  # N m, the most that the motor gives
STEP, SUBSTEPS = 0.02, 4  # s, and how many of the integrator's steps it takes


def reward(angle: float, velocity: float) -> float:
    """−(angle from upright)² − 0.005 velocity², where an angle of 0 is hanging."""
    upright = math.atan2(-math.sin(angle), -math.cos(angle))
    return -(upright**2) - 0.005 * velocity**2


def acceleration(angle: float, velocity: float, torque: float) -> float:
    """In rad/s². Coulomb friction is smoothed near standstill, where its sign would jump."""
    friction = VISCOUS * velocity + COULOMB * math.tanh(velocity / 0.05)
    return (torque - friction - MASS * GRAVITY * LENGTH * math.sin(angle)) / INERTIA


def advance(angle: float, velocity: float, torque: float) -> tuple[float, float]:
    """Angle and velocity after a torque was held for 20 ms, by Runge-Kutta of fourth order."""
    h = STEP / SUBSTEPS
    for _ in range(SUBSTEPS):
        q, v = angle, velocity
        a1 = acceleration(q, v, torque)
        a2 = acceleration(q + h / 2 * v, v + h / 2 * a1, torque)
        a3 = acceleration(q + h / 2 * (v + h / 2 * a1), v + h / 2 * a2, torque)
        a4 = acceleration(q + h * (v + h / 2 * a2), v + h * a3, torque)
        angle = q + h * v + h**2 / 6 * (a1 + a2 + a3)
        velocity = v + h / 6 * (a1 + 2 * a2 + 2 * a3 + a4)
    return angle, velocity


class PendulumTwin(gym.Env[Any, Any]):
    """States (cos angle, sin angle, velocity in rad/s); one action in [-1, 1], a share of the motor's torque.

    An episode starts near hanging and never terminates; it is registered with a limit of 500 steps of 20 ms.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012  # as Gymnasium declares it

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        high = np.array([1, 1, 100], np.float32)  # friction keeps it far below 100 rad/s
        self.observation_space = Box(-high, high, dtype=np.float32)
        self.action_space = Box(-1, 1, (1,), np.float32)
        self.angle = self.velocity = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Let it hang, up to 0.05 rad and rad/s off."""
        super().reset(seed=seed)
        self.angle, self.velocity = map(float, self.np_random.uniform(-0.05, 0.05, 2))
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Hold a torque for 20 ms. The reward is that of the state it leads to."""
        torque = TORQUE * float(np.clip(action, -1, 1)[0])
        self.angle, self.velocity = advance(self.angle, self.velocity, torque)
        return self._observation(), reward(self.angle, self.velocity), False, False, {}

    def render(self) -> Any:
        """A picture [240, 240, 3] of the rod."""
        from PIL import Image, ImageDraw

        picture = Image.new("RGB", (240, 240), "white")
        draw = ImageDraw.Draw(picture)
        x, y = 120 + 95 * math.sin(self.angle), 120 + 95 * math.cos(self.angle)
        draw.line((120, 120, x, y), fill="#1f5fa8", width=8)
        draw.ellipse((x - 14, y - 14, x + 14, y + 14), fill="#d9661f")
        draw.ellipse((114, 114, 126, 126), fill="#333333")
        return np.asarray(picture)

    def _observation(self) -> Any:
        return np.array([math.cos(self.angle), math.sin(self.angle), self.velocity], np.float32)


gym.register("PendulumTwin-v0", PendulumTwin, max_episode_steps=500)
