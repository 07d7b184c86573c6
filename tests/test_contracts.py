"""The promises of the design that code outside this repository relies on."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

import zoo
from benchmarks.results.record import Record
from zoo.structures import Detections, Sample

ROOT = Path(__file__).resolve().parent.parent


def modules(package: str) -> Iterator[tuple[str, set[str]]]:
    """(module name, names of the modules that it imports) below a package."""
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        imported = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported |= {f"{node.module}.{alias.name}" for alias in node.names}
        yield name, imported


def test_zoo_never_imports_benchmarks():
    assert [name for name, imports in modules("zoo") if any(i.startswith("benchmarks") for i in imports)] == []


def test_zoo_works_where_benchmarks_cannot_be_imported():
    code = (
        "import sys, pkgutil, importlib; sys.modules['benchmarks'] = None; import zoo\n"
        "for m in pkgutil.walk_packages(zoo.__path__, 'zoo.'): importlib.import_module(m.name)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=240)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("zoo.manifest.api", ("zoo.download", "zoo.checkpoint", "zoo.models", "zoo.loading")),
        ("zoo.download.fetch", ("zoo.checkpoint", "zoo.models", "zoo.loading")),
        ("zoo.download", ("zoo.checkpoint", "zoo.models", "zoo.loading")),
        ("zoo.checkpoint", ("zoo.models", "zoo.loading")),
        (
            "benchmarks.results.record",
            ("benchmarks.reports", "benchmarks.speed.inference", "benchmarks.speed.protocols"),
        ),
        (
            "benchmarks.results.store",
            ("benchmarks.reports", "benchmarks.speed.inference", "benchmarks.speed.protocols"),
        ),
        (
            "benchmarks.speed.protocols",
            ("benchmarks.speed.inference", "benchmarks.results.store", "benchmarks.reports"),
        ),
        ("benchmarks.speed.inference", ("benchmarks.reports",)),
        ("benchmarks.datasets", ("benchmarks.reports", "benchmarks.results.store")),
    ],
)
def test_nothing_imports_from_its_right(left, right):
    package = left.split(".")[0]
    for name, imports in modules(package):
        if name == left or name.startswith(left + "."):
            wrong = [i for i in imports if any(i == r or i.startswith(r + ".") for r in right)]
            assert wrong == [], f"{name} imports {wrong}"


@pytest.mark.parametrize("statement", ["import zoo", "import zoo.cli.main", "import zoo; zoo.list_models()"])
def test_looking_around_never_imports_torch(statement):
    code = f"import sys\n{statement}\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)


SIGNATURES = {
    "list_models": "(pattern='*', *, family=None, task=None",
    "get": "(name)",
    "fetch": "(name",
    "build": "(name_or_spec)",
    "load": "(name, device='cpu')",
    "load_file": "(path, name=None, device='cpu')",
    "preprocessor": "(name",
}


def plain_signature(function) -> str:
    """A signature without annotations."""
    signature = inspect.signature(function)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


@pytest.mark.parametrize("name", SIGNATURES)
def test_public_functions_have_the_promised_arguments(name):
    assert plain_signature(getattr(zoo, name)).startswith(SIGNATURES[name].removesuffix(")"))


def test_detectors_have_the_promised_methods():
    from zoo.models.detectors.base import Detector

    assert plain_signature(Detector.detect) == "(self, images, device=None)"
    assert plain_signature(Detector.forward) == "(self, images, sizes=None, proposals=None)"
    assert plain_signature(Detector.losses).startswith("(self, images, sizes, targets")


def test_value_types_have_the_promised_fields():
    assert [f.name for f in fields(Detections)][:5] == ["boxes", "scores", "labels", "masks", "panoptic"]
    assert {"image", "size", "scale", "original_size"} <= {f.name for f in fields(Sample)}


def test_an_entry_has_the_promised_fields():
    promised = "name aliases family architecture checkpoint log_url normalization preprocessing dataset tasks metrics"
    promised += " training speed paper notes"
    assert set(promised.split()) <= {f.name for f in fields(zoo.Entry)}


def test_a_measurement_is_a_record_of_what_how_on_what_and_how_it_ended():
    promised = "schema model checkpoint manifest kind protocol parameters metrics samples environment status reason"
    assert set(promised.split()) <= {f.name for f in fields(Record)}


def test_there_are_no_registries():
    for package in ("zoo", "benchmarks"):
        for path in (ROOT / package).rglob("*.py"):
            assert not re.search(r"@\w*\.?regist\w+|register_module\(", path.read_text()), path


def test_the_layout_is_the_promised_one():
    for name in ("zoo", "benchmarks", "tests", "setup.cfg", "README.md", "LICENSE", "CONTRIBUTING.md", ".ci/run"):
        assert (ROOT / name).exists(), name


def test_every_dependency_has_a_sentence():
    import configparser

    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    required = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    names = {re.split(r"[<>=!~\[; ]", line.strip())[0] for text in required for line in text.split("\n")} - {""}
    text = (ROOT / "docs" / "dependencies.md").read_text()
    assert sorted(name for name in names if name not in text) == []


def test_every_command_explains_itself():
    from benchmarks.cli.main import COMMANDS as BENCH
    from zoo.cli.main import COMMANDS as ZOO

    for commands, program in ((ZOO, "zoo.cli.main"), (BENCH, "benchmarks.cli.main")):
        for name, command in commands.items():
            assert command.help and (ROOT / (command.module.replace(".", "/") + ".py")).exists(), (program, name)
