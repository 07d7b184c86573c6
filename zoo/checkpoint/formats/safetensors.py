"""safetensors: a JSON header and the tensors' bytes (https://github.com/huggingface/safetensors, "Format").

The header is read into the same structure as that of the other formats, and checked as the format demands: tensors
inside the file, without gaps or overlaps.
"""

from __future__ import annotations

import json
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import BinaryIO

from zoo.checkpoint.formats.contents import Contents, Span
from zoo.checkpoint.pickle_reader import limits
from zoo.checkpoint.pickle_reader.rebuild import check_shape
from zoo.checkpoint.pickle_reader.values import ITEM_SIZES, StorageRef, TensorRef
from zoo.errors import CorruptCheckpoint

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}


def open_safetensors(path: Path, file: BinaryIO, size: int) -> Contents:
    """Open a safetensors file; its text metadata is the entry `__metadata__` of the root. Raises CorruptCheckpoint."""
    header, start = read_header(file, size)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise CorruptCheckpoint("has a safetensors header whose metadata is not a table of texts")
    refs: dict[str, object] = {}
    spans: dict[str, Span] = {}
    for name, facts in header.items():
        refs[name], spans[name] = tensor(name, facts, start, size)
    check_coverage(spans, start, size)
    return Contents(path, "safetensors", {"state_dict": refs, "__metadata__": metadata}, spans)


def read_header(file: BinaryIO, size: int) -> tuple[dict[str, object], int]:
    """The parsed header and where the data begin."""
    length = int.from_bytes(file.read(8), "little")
    if length > min(limits.MAX_HEADER_BYTES, size - 8):
        raise CorruptCheckpoint("is truncated: its safetensors header reaches beyond its end")
    try:
        # From bytes, json would guess the encoding, and import what decodes it; the format is UTF-8.
        header = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=table)
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpoint(f"has a broken safetensors header ({type(error).__name__})") from None
    if not isinstance(header, dict):
        raise CorruptCheckpoint("has a safetensors header that is not a table")
    return header, 8 + length


def table(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object. Raises CorruptCheckpoint for a name that it has twice, of which readers see different ones."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise CorruptCheckpoint("has a safetensors header with the same name twice")
    return result


def tensor(name: str, facts: object, start: int, size: int) -> tuple[TensorRef, Span]:
    """One header entry: {"dtype": "F32", "shape": [...], "data_offsets": [begin, end]}."""
    try:
        dtype = DTYPES[facts["dtype"]]  # type: ignore[index]
        shape = check_shape(facts["shape"])  # type: ignore[index]
        begin, end = facts["data_offsets"]  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        raise CorruptCheckpoint(f"describes the tensor {name[:80]!r} in an unknown way") from None
    nbytes = prod(shape) * ITEM_SIZES[dtype]
    if type(begin) is not int or type(end) is not int or begin < 0 or end - begin != nbytes or start + end > size:
        raise CorruptCheckpoint(f"places the tensor {name[:80]!r} where it does not fit")
    storage = StorageRef(name, dtype, prod(shape))
    return TensorRef(storage, 0, shape, contiguous(shape), dtype), Span(start + begin, nbytes)


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a tensor in C order."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def check_coverage(spans: dict[str, Span], start: int, size: int) -> None:
    """The tensors fill the file without gaps or overlaps, as the format demands. Raises CorruptCheckpoint."""
    ordered = sorted(spans.values(), key=lambda span: (span.offset, span.nbytes))
    ends = [start, *(span.offset + span.nbytes for span in ordered)]
    begins = [*(span.offset for span in ordered), size]
    if ends != begins or any(second < first for first, second in pairwise(begins)):
        raise CorruptCheckpoint("holds tensors that overlap or leave gaps")
