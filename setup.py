"""Finds the packages. Everything else about the project is in pyproject.toml.

The folders `datasets/` and `cli/` are installed as `lfo.datasets` and `lfo.cli`: a top-level package called `datasets`
would shadow Hugging Face's.
"""

from setuptools import find_packages, setup

FOLDERS = {"lfo": "lfo", "lfo.datasets": "datasets", "lfo.cli": "cli"}

setup(
    packages=[
        name
        for package, folder in FOLDERS.items()
        for name in (package, *(f"{package}.{inner}" for inner in find_packages(folder)))
    ],
    package_dir=FOLDERS,
)
