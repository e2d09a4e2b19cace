"""How well does the twin follow the machine? Replays the recorded torques through it: python replay.py recordings/*.csv

From each start, a tenth of a second apart, the twin gets the recorded angle and velocity and then, for a second, the
recorded torques only. Counted are seconds in which the pendulum moves by 0.5 rad and stays in its lower half; near the
top, the smallest error grows a hundredfold in a second.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
from pendulum_twin import STEP, advance


def replay(path: str | Path, seconds: float = 1.0) -> list[tuple[float, float]]:
    """For each start that counts, the error of the twin's angle and the size of the motion, root mean squares in rad."""
    with open(path, encoding="utf-8") as file:
        names = [name.strip() for name in file.readline().split(",")]
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    time, position, torque = (table[:, names.index(name)] for name in ("time", "position", "torque"))
    found = []
    for start in np.arange(time[0] + 0.1, time[-1] - seconds - 0.1, 0.1):
        times = start + STEP * np.arange(round(seconds / STEP))
        recorded = np.interp(times, time, position)
        if np.cos(recorded).min() < 0 or np.ptp(recorded) < 0.5:
            continue
        around = np.abs(time - start) < 0.04  # the recorded velocity is noisy: fit a parabola instead
        _, velocity, angle = map(float, np.polyfit(time[around] - start, position[around], 2))
        replayed = []
        for now in times:
            replayed.append(angle)
            angle, velocity = advance(angle, velocity, float(np.interp(now + STEP / 2, time, torque)))
        found.append((math.sqrt(np.square(replayed - recorded).mean()), float(recorded.std())))
    return found


if __name__ == "__main__":
    print("recording                     starts  median error  90 % below  motion")
    for path in sys.argv[1:]:
        errors, motions = np.array(replay(path) or [(np.nan, np.nan)]).T
        print(
            f"{Path(path).name:<30}{np.isfinite(errors).sum():>6}{np.median(errors):>10.3f} rad"
            f"{np.percentile(errors, 90):>8.3f} rad{np.median(motions):>8.3f} rad"
        )
