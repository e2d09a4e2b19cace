"""What is installed: every module under its import name, one top-level name, no torch until it is needed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from try_wheel import SOURCES, commands, python_blocks

ROOT = Path(__file__).parents[1]
FOLDERS = {"lfo": "lfo", "datasets": "lfo/datasets", "cli": "lfo/cli"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        (source / name).symlink_to(ROOT / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, "-w", folder, source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_every_module_is_in_the_wheel_under_its_import_name(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".csv", ".safetensors", ".typed") or path.name == "py.typed":
                assert f"{package}/{path.relative_to(ROOT / folder).as_posix()}" in names


def test_the_only_top_level_name_is_lfo(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"lfo"}


@pytest.mark.parametrize("module", ["lfo", "lfo.datasets", "lfo.acting.evaluation", "lfo.datasets.collect"])
def test_importing_it_imports_no_torch(module: str, tmp_path: Path) -> None:
    code = f"import sys, {module}; assert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


def test_every_package_that_is_imported_is_declared() -> None:
    imported = set()
    for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    declared = {re.split(r"[^\w.-]", line)[0].lower() for line in metadata.requires("d3g-lfo") or ()}
    brought_by = metadata.packages_distributions()
    foreign = sorted(name for name in imported - sys.stdlib_module_names - {"lfo"} if name in brought_by)
    assert {"PIL", "h5py", "torch"} <= set(foreign)
    undeclared = [
        name
        for name in foreign
        if not declared & {found.lower().replace("_", "-") for found in brought_by[name]}
    ]
    assert not undeclared


def test_the_extra_that_films_draws_classic_control() -> None:
    video = [line for line in metadata.requires("d3g-lfo") or () if 'extra == "video"' in line]
    assert any(line.startswith("gymnasium[classic-control]") for line in video)


def test_public_names_are_found_when_they_are_used() -> None:
    import lfo

    for name in lfo.__all__:
        assert getattr(lfo, name) is not None
        assert name in dir(lfo)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lfo.nothing


def test_the_commands_of_the_readme_that_an_empty_environment_runs() -> None:
    """`make wheel-test` runs them; here, only that they are found."""
    assert [line.split()[1] for line in commands()] == ["inspect", "train", "interact", "eval"]


@pytest.mark.parametrize("where", ["clone", "elsewhere"])
def test_the_python_of_the_readme_works(where: str, dataset: Path, tmp_path: Path) -> None:
    """In the clone `lfo/` shadows the installed package; `lfo.datasets` must be found there too."""
    code = python_blocks()[0].replace('"mine.h5"', repr(str(dataset)))
    code += "import lfo; print(lfo.__file__)"
    folder = ROOT if where == "clone" else tmp_path
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    result, file = done.stdout.splitlines()
    assert "InvertedPendulum-v5" in result
    assert (Path(file) == ROOT / "lfo" / "__init__.py") == (where == "clone")
