"""What an exported file says about itself, so that it can be run and measured without the network it was made of.

An ONNX file has it in its metadata, any other file in FILE.json beside it. Nothing here imports torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from zoo.errors import UsageError, ZooError
from zoo.export.extras import extra, reason
from zoo.export.formats import existing, files_of
from zoo.system.atomic_write import atomic_write

KEY = "detection-zoo"
"""Of the metadata of ONNX files."""

SCHEMA = 1
CHUNK = 1 << 20


@dataclass(frozen=True)
class Facts:
    """What `zoo export` writes into an ONNX file, or beside another one.

    model: the name of the network, or of its checkpoint file. weights: "published", "random" or a file's name. source:
    the checkpoint's SHA-256. dataset, tasks: what a model of the zoo was published for. description: the architecture,
    with the thresholds of its post-processing in `test_cfg`. preprocessing: the recipe as plain data. outputs: names.
    precision: "fp32", "fp16" or "int8" of the weights. quantization: how int8 was made. parameters, flops: of the
    network, for an input of `flops_input` (h, w), a multiply-add counted as two. version: of this package. free_batch:
    whether the file takes any number of images at once and ends before the post-processing.
    """

    model: str
    weights: str
    source: str | None
    dataset: str | None
    tasks: list[str] | None
    description: dict[str, Any]
    preprocessing: dict[str, Any]
    classes: list[str] | None
    label_count: int | None
    outputs: list[str]
    precision: str
    quantization: dict[str, Any] | None
    parameters: int
    flops: int
    flops_input: list[int]
    version: str
    schema: int = SCHEMA
    free_batch: bool = False


@dataclass(frozen=True)
class Artifact:
    """An exported file: its content's SHA-256 and size, and what it says about itself.

    sha256, bytes: of the file; of an OpenVINO file with its weights behind it.
    """

    path: Path
    sha256: str
    bytes: int
    facts: Facts

    def to_record(self) -> dict[str, Any]:
        """What a result record says about the file."""
        name, precision = self.path.name, self.facts.precision
        shown = {"file": name, "sha256": self.sha256, "bytes": self.bytes, "precision": precision}
        shown |= {"free_batch": True} if self.facts.free_batch else {}
        return shown | ({"quantization": self.facts.quantization} if self.facts.quantization else {})


def read(path: Path) -> Artifact:
    """An exported file of this project. Raises ZooError for one that is not there or changed, UsageError for others."""
    digest, size = fingerprint(existing(path))
    data = metadata(path) if path.suffix.lower() == ".onnx" else beside(path, digest)
    return Artifact(path, digest, size, checked(path, data))


def fingerprint(path: Path) -> tuple[str, int]:
    """SHA-256 and size of what makes up an exported file."""
    digest, size = sha256(), 0
    for part in files_of(path):
        with part.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
    return digest.hexdigest(), size


def metadata(path: Path) -> Mapping[str, Any]:
    """What an ONNX file's metadata hold."""
    onnx = extra("onnx")
    try:
        graph = onnx.load(path, load_external_data=False)
    except Exception as error:  # of protobuf, whose errors have no base that could be named here
        raise UsageError(f"{path} cannot be read as an ONNX file: {reason(error)}") from error
    text = next((entry.value for entry in graph.metadata_props if entry.key == KEY), None)
    if text is None:
        raise UsageError(
            f"{path} does not say which network it was made of: its metadata have no '{KEY}' with preprocessing, "
            "classes and outputs; `zoo export` writes that"
        )
    return parsed(path, text)


def beside(path: Path, digest: str) -> Mapping[str, Any]:
    """What the JSON beside a file holds. Raises ZooError where it belongs to another file."""
    side = beside_path(path)
    if not side.is_file():
        raise UsageError(f"{path} does not say which network it was made of: there is no {side}, as zoo export writes")
    data = dict(parsed(side, side.read_text(encoding="utf-8", errors="replace")))
    if (told := data.pop("sha256", None)) != digest:
        raise ZooError(f"{path} has SHA-256 {digest[:12]}..., {side.name} is for {str(told)[:12]}...; export it anew.")
    return data


def beside_path(path: Path) -> Path:
    """Where the facts about a file lie that cannot hold them."""
    return path.with_name(path.name + ".json")


def parsed(path: Path, text: str) -> Mapping[str, Any]:
    """A JSON object."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{path}: what it says about its network is no JSON: {error}") from None
    if not isinstance(data, dict):
        raise UsageError(f"{path}: what it says about its network is no JSON object")
    return data


def checked(path: Path, data: Mapping[str, Any]) -> Facts:
    """Facts with every field. Raises UsageError naming what is missing."""
    if (schema := data.get("schema")) != SCHEMA:
        raise UsageError(f"{path} was exported in version {schema} of this format; this program reads {SCHEMA}")
    names = [field.name for field in fields(Facts) if field.name in data or field.name != "free_batch"]
    if missing := [name for name in names if name not in data]:
        raise UsageError(f"{path} does not say its network's {', '.join(missing)}; export it anew")
    facts = Facts(**{name: data[name] for name in names})
    sound = isinstance(facts.description, dict) and isinstance(facts.preprocessing, dict) and facts.model
    if not sound or not isinstance(facts.outputs, list) or not isinstance(facts.classes, list | None):
        raise UsageError(f"{path}: what it says about its network is not what `zoo export` writes")
    if not isinstance(facts.free_batch, bool):
        raise UsageError(f"{path}: its free_batch is {facts.free_batch!r}, not true or false")
    return facts


def to_text(facts: Facts) -> str:
    """Facts as JSON."""
    return json.dumps(asdict(facts))


def write_beside(path: Path, facts: Facts) -> None:
    """Write the JSON beside a file that is there already."""
    digest, _ = fingerprint(path)
    atomic_write(beside_path(path), json.dumps(asdict(facts) | {"sha256": digest}, indent=1) + "\n")
