"""The structure of the two packages: no import cycles, imports only look down, few flat modules, thin `__init__` files.

Every import statement counts: at the top of a module, inside a function, and below `if TYPE_CHECKING`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLAT = {"zoo": 5, "benchmarks": 3}  # modules that may stand beside the packages, besides __init__ and __main__

# From the top to the bottom. A module belongs to the longest name that it starts with, and imports from its own floor
# and from those below it.
FLOORS = [
    ("benchmarks.__main__", "benchmarks"),
    ("benchmarks.perf",),  # programs of their own
    ("benchmarks.cli",),
    ("benchmarks.gpu_check",),
    ("benchmarks.reports", "benchmarks.sweep"),
    ("benchmarks.doctor",),
    ("benchmarks.accuracy", "benchmarks.parity"),
    ("benchmarks.speed",),
    ("benchmarks.datasets", "benchmarks.results"),
    ("benchmarks.system",),
    ("zoo.__main__",),
    ("zoo.cli",),
    ("zoo",),  # the public API
    ("zoo.training",),
    ("zoo.export", "zoo.loading"),
    ("zoo.models", "zoo.models.fuse", "zoo.models.rfnext", "zoo.models.unsupported"),
    ("zoo.models.detectors", "zoo.models.segmentation"),
    ("zoo.models.criteria",),
    ("zoo.models.dense_heads", "zoo.models.query_heads", "zoo.models.roi_heads"),
    ("zoo.models.backbones", "zoo.models.necks", "zoo.checkpoint", "zoo.download"),
    (
        "zoo.manifest",
        "zoo.models.assigners",
        "zoo.models.coders",
        "zoo.models.losses",
        "zoo.models.priors",
        "zoo.models.samplers",
        "zoo.models.transformer",
    ),
    # `build` is low although it makes detectors: `component_table` names classes as text, so components import it.
    (
        "zoo.models.argument_types",
        "zoo.models.box_ops",
        "zoo.models.build",
        "zoo.models.build_budget",
        "zoo.models.component_table",
        "zoo.models.layers",
        "zoo.models.targets",
        "zoo.models.views",
    ),
    ("zoo.coco_format", "zoo.preprocessing", "zoo.visualization"),
    ("zoo.system",),
    ("zoo.errors", "zoo.settings", "zoo.structures", "zoo.text"),
]
HEIGHT = {name: -index for index, names in enumerate(FLOORS) for name in names}


@cache
def modules() -> dict[str, Path]:
    """Every module of both packages by name."""
    paths = [path for package in FLAT for path in sorted((ROOT / package).rglob("*.py"))]
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in paths}


@cache
def imports() -> dict[str, set[str]]:
    """The modules of both packages that each one imports."""
    return {name: set(imported(name, path)) - {name} for name, path in modules().items()}


def imported(name: str, path: Path) -> Iterator[str]:
    """The modules that one file imports, with repetitions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules())
        elif isinstance(node, ast.ImportFrom):
            source = absolute(name, path, node)
            parts = {f"{source}.{alias.name}" for alias in node.names} & set(modules())
            yield from parts
            if source in modules() and len(parts) < len(node.names):
                yield source


def absolute(name: str, path: Path, node: ast.ImportFrom) -> str:
    """The module that a `from` names, with the dots of a relative one resolved."""
    if not node.level:
        return node.module or ""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    base = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def height(name: str) -> int | None:
    """The floor of a module, higher numbers above lower ones; None where `FLOORS` does not list it."""
    parts = name.split(".")
    prefixes = (".".join(parts[:n]) for n in range(len(parts), 1, -1)) if len(parts) > 1 else iter([name])
    return next((HEIGHT[prefix] for prefix in prefixes if prefix in HEIGHT), None)


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """One cycle of a graph, or nothing."""
    done: set[str] = set()
    trail: list[str] = []

    def visit(name: str) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name not in done:
            trail.append(name)
            for other in sorted(graph[name]):
                if result := visit(other):
                    return result
            done.add(trail.pop())
        return []

    return next((result for name in graph if (result := visit(name))), [])


def test_no_module_imports_itself_through_others() -> None:
    assert " -> ".join(cycle(imports())) == ""


def test_the_search_for_cycles_finds_one() -> None:
    assert cycle({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"b"}}) == ["b", "d", "b"]


def test_every_module_has_a_floor() -> None:
    assert [name for name in modules() if height(name) is None] == []  # add it to FLOORS


def test_no_module_imports_from_a_higher_floor() -> None:
    pairs = [(name, other) for name, others in imports().items() for other in sorted(others)]
    assert [f"{a} imports {b}" for a, b in pairs if (height(b) or 0) > (height(a) or 0)] == []


def test_the_zoo_does_not_import_the_benchmarks() -> None:
    result = [(name, other) for name, others in imports().items() for other in others]
    assert [pair for pair in result if pair[0].split(".")[0] == "zoo" and pair[1].split(".")[0] == "benchmarks"] == []


@pytest.mark.parametrize("package", FLAT)
def test_few_modules_stand_beside_the_packages(package: str) -> None:
    flat = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__", "__main__"}
    assert len(flat) <= FLAT[package], sorted(flat)


def test_the_init_of_a_package_only_hands_on_names() -> None:
    inits = [(name, path) for name, path in modules().items() if path.name == "__init__.py"]
    assert [f"{name}:{line}" for name, path in inits for line in logic(path)] == []


def logic(path: Path) -> Iterator[int]:
    """The lines of statements other than a docstring, imports, tables of names and a lazy `__getattr__`."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        lazy = isinstance(node, ast.FunctionDef) and node.name == "__getattr__"
        typing = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        if not (docstring or lazy or typing or isinstance(node, (ast.Import, ast.ImportFrom)) or is_table(node)):
            yield node.lineno


def is_table(node: ast.stmt) -> bool:
    """Whether a statement gives a name a constant, or a list or mapping of constants."""
    if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
        return False
    plain = (ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Load)
    return all(isinstance(part, plain) for part in ast.walk(node.value))


def test_only_the_settings_read_variables_of_this_project() -> None:
    paths = {name: path for name, path in modules().items() if name != "zoo.settings" and "perf" not in name.split(".")}
    sources = {name: path.read_text(encoding="utf-8") for name, path in paths.items()}
    assert [name for name, text in sources.items() if re.search(r"environ\S*[(\[]\W*ZOO_", text)] == []


def test_the_environment_holds_no_state() -> None:
    """Programs of `benchmarks.perf` prepare their own process and its children."""
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in modules().items()}
    written = {name for name, tree in trees.items() for node in ast.walk(tree) if writes_environment(node)}
    assert [name for name in written if not name.startswith("benchmarks.perf.")] == []


def writes_environment(node: ast.AST) -> bool:
    """Whether a node is `os.environ[...]` as a target, or a call of a method that changes it."""
    if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        return ast.unparse(node.value) == "os.environ"
    changing = (
        "os.putenv",
        "os.unsetenv",
        *(f"os.environ.{name}" for name in ("update", "setdefault", "pop", "clear")),
    )
    return isinstance(node, ast.Call) and ast.unparse(node.func) in changing
