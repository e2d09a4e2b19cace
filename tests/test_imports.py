"""Imports go down the pipeline, and never in a circle."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = {"lfo": "lfo", "datasets": "lfo.datasets", "cli": "lfo.cli"}
LAYERS = (
    "errors",
    "atomic",
    "locks",
    "processes",
    "settings",
    "envs",
    "datasets",
    "nn",
    "algorithms",
    "runs",
    "training",
    "acting",
    "reporting",
    "study",
    "tabular",
    "cli",
    "__main__",
)
"""From the bottom up: a package imports those before it, and itself."""
UPWARDS = {
    ("lfo.algorithms.base", "lfo.acting.fitting"),
    ("lfo.datasets.transitions", "lfo.datasets.columns"),
}
"""Doors that are opened when they are called: ``D3G.fit``, ``save`` and ``load``; ``Transitions.from_arrays``."""


def modules() -> dict[str, Path]:
    found = {}
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return found


def imports(path: Path, known: set[str]) -> set[str]:
    """The project's modules that a file imports, inside functions too; what is for type checkers only is not."""
    found: set[str] = set()
    for node in _nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & known) or {node.module}
    return found & known


def _nodes(tree: ast.AST) -> list[ast.AST]:
    found: list[ast.AST] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        found += [node, *_nodes(node)]
    return found


def graph() -> dict[str, set[str]]:
    files = modules()
    edges = {name: imports(path, set(files)) - {name, "lfo"} for name, path in files.items() if name != "lfo"}
    for above, below in UPWARDS:
        edges[above].discard(below)
    return edges


def layer(module: str) -> int:
    return LAYERS.index(module.split(".")[1])


def test_imports_go_down() -> None:
    wrong = [f"{a} → {b}" for a, found in graph().items() for b in sorted(found) if layer(b) > layer(a)]
    assert not wrong


def test_there_is_no_circle() -> None:
    edges, done = graph(), set[str]()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join([*path, module])
        if module not in done:
            for below in sorted(edges[module]):
                visit(below, (*path, module))
            done.add(module)

    for module in sorted(edges):
        visit(module, ())
    assert len(done) > 60


def test_no_command_imports_another() -> None:
    commands = {name for name in modules() if name.startswith("lfo.cli.") and "._" not in name}
    for name in commands:
        others = imports(modules()[name], set(modules())) & commands - {name}
        assert not others, f"{name} imports {others}"


def test_no_module_outside_the_algorithms_names_one() -> None:
    """Outside ``lfo/algorithms``, an algorithm is a registered name: nobody imports one or asks which it is."""
    allowed = {"lfo.algorithms", "lfo"}
    for name, path in modules().items():
        if name in allowed or name.startswith("lfo.algorithms."):
            continue
        bad = imports(path, set(modules())) & {"lfo.algorithms.d3g", "lfo.algorithms.bco"}
        assert not bad, f"{name} imports {bad}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                texts = [c.value for c in ast.walk(node) if isinstance(c, ast.Constant)]
                assert not {"d3g", "bco"} & {t for t in texts if isinstance(t, str)}, f"{name}:{node.lineno}"
