"""Makes the helpers beside the tests importable, which --import-mode=importlib does not, and keeps torch to one
thread, here and in the processes that tests start: networks this small only wait for a second one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parent))
