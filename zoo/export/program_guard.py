"""Programs of torch.export (.pt2) read without running anything that the file says.

`torch.export.load` unpickles parts of an archive, loads compiled libraries from it, finds functions by any dotted name
and evaluates expressions that the file holds. So an archive is read once, and only passes if it has tensors as raw
bytes, operators of PyTorch and torchvision, and expressions of sizes; the guards that it holds as Python text are not
used.
"""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from zoo.errors import UnsafeCheckpoint
from zoo.export.extras import reason

# What may be in an archive, below its one folder.
MEMBERS = re.compile(
    r"data/weights/(model_weights_config\.json|weight_\d+)|data/constants/(model_constants_config\.json|tensor_\d+)"
    r"|data/sample_inputs/model\.pt|models/model\.json|archive_format|archive_version|byteorder|version|\.\w+"
    r"|\.data/\w+"
)
PAYLOADS = re.compile(r"(weight|tensor)_\d+")
OPERATORS = re.compile(
    r"torch\.ops\.(aten|torchvision|higher_order)\.\w+(\.\w+)?|_operator\.[a-z]+|math\.\w+|torch\.sym_\w+"
)
EXPRESSION = re.compile(
    r"(?:Symbol\('\w+'(?:, \w+=(?:True|False))*\)|Integer\(-?\d+\)|Rational\(-?\d+, \d+\)"
    r"|Float\('[-\d.e]+', precision=\d+\)"
    r"|Add|Mul|Pow|Max|Min|Mod|FloorDiv|CleanDiv|CeilDiv|PythonMod|IntTrueDiv|ToFloat|TruncToInt|FloorToInt|CeilToInt"
    r"|Equality|Unequality|LessThan|StrictLessThan|GreaterThan|StrictGreaterThan|Ne|Eq|And|Or|Not|Where|Piecewise"
    r"|ExprCondPair|true|false|[(), ])+"
)


def load(path: Path) -> torch.export.ExportedProgram:
    """A program of torch.export. Raises UnsafeCheckpoint for a file that could run something else than a network."""
    content = path.read_bytes()
    try:
        check(content)
    except (zipfile.BadZipFile, pickle.UnpicklingError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = reason(error)
        raise UnsafeCheckpoint(
            f"{path} is not read: it is not a program of torch.export as this project writes it: {said}"
        ) from None
    return torch.export.load(BytesIO(content))


def check(content: bytes) -> None:
    """Raise ValueError, or whatever a broken archive raises, for anything that is not known to be harmless."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        names = {name.partition("/")[2]: name for name in archive.namelist()}
        if len(names) != len(archive.namelist()):
            raise ValueError("it has a member twice")
        for name in names:
            allow(MEMBERS, name, "member")
        for kind in ("weights", "constants"):
            check_payloads(json.loads(archive.read(names[f"data/{kind}/model_{kind}_config.json"])))
        check_samples(archive.read(names["data/sample_inputs/model.pt"]))
        check_graph(json.loads(archive.read(names["models/model.json"])))


def check_samples(content: bytes) -> None:
    """Inputs of tensors and plain containers only, which PyTorch's restricted unpickler knows."""
    try:
        torch.load(BytesIO(content), weights_only=True)
    except pickle.UnpicklingError:  # its text advises to load the file without the restriction
        raise ValueError("its sample inputs hold more than tensors") from None


def check_payloads(config: dict[str, Any]) -> None:
    """Tensors as raw bytes only."""
    for name, payload in config["config"].items():
        allow(PAYLOADS, payload["path_name"], "tensor file")
        if payload["use_pickle"] is not False:
            raise ValueError(f"{name} is a pickle")


def check_graph(program: dict[str, Any]) -> None:
    """Known operators, and expressions of sizes."""
    if program["graph_module"].get("treespec_namedtuple_fields"):
        raise ValueError("it has types of its own")
    for key, value in texts(program):
        if key == "target":
            allow(OPERATORS, value, "operator")
        elif key == "expr_str":
            allow(EXPRESSION, value, "expression")


def texts(data: Any) -> Iterator[tuple[str, str]]:
    """Every text in nested data with its key, but those under `metadata` of nodes, which are only looked up."""
    if isinstance(data, dict):
        for key, value in data.items():
            if isinstance(value, str):
                yield key, value
            elif key != "metadata":
                yield from texts(value)
    elif isinstance(data, list):
        for value in data:
            yield from texts(value)


def allow(pattern: re.Pattern[str], text: str, what: str) -> None:
    """Raise ValueError for a text that is not wholly of a pattern."""
    if not pattern.fullmatch(text):
        raise ValueError(f"the {what} {text[:60]!r} is not allowed")
