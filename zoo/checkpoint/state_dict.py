"""Which part of a checkpoint is the state dict, and which is metadata.

Training code wraps its weights in different ways: MMDetection `{"state_dict", "meta"}`, Detectron2 and the DETR family
`{"model"}`, torchvision nothing at all. Everything else in the file (optimizers, schedulers) is not read.
"""

from __future__ import annotations

import json
from typing import cast

from zoo.checkpoint.pickle_reader.limits import MAX_HELD_BYTES, MAX_REPEATS, check_structure
from zoo.checkpoint.pickle_reader.values import ITEM_SIZES, ArrayData, Global, Inert, Slice, TensorRef
from zoo.errors import CorruptCheckpoint, UnsafeCheckpoint

WRAPPERS = ("state_dict", "model", "model_state", "model_state_dict", "ema_state_dict", "params", "blobs")
"""Keys under which files keep their weights, the most specific first."""

Ref = TensorRef | ArrayData


def select(root: object) -> tuple[dict[str, Ref], dict[str, object]]:
    """The tensors by name, and the metadata as plain data. Raises CorruptCheckpoint, UnsafeCheckpoint."""
    if not isinstance(root, dict):
        raise CorruptCheckpoint(f"holds a {describe(root)}, not a state dict")
    wrapper = next((key for key in WRAPPERS if has_tensors(root.get(key))), None)
    if wrapper is None and not has_tensors(root):
        names = ", ".join(str(key)[:40] for key in list(root)[:8])
        raise CorruptCheckpoint(f"holds no state dict; its entries are: {names or 'none'}")
    state = root if wrapper is None else root[wrapper]
    return check_state(state), {} if wrapper is None else metadata(root, wrapper)


def has_tensors(value: object) -> bool:
    """Whether this is a dictionary with at least one tensor, or an empty one that claims to be a state dict."""
    return isinstance(value, dict) and any(isinstance(item, (TensorRef, ArrayData)) for item in value.values())


def check_state(state: dict[object, object]) -> dict[str, Ref]:
    """Names must be text and values tensors. Raises CorruptCheckpoint, UnsafeCheckpoint."""
    result: dict[str, Ref] = {}
    for name, value in state.items():
        if isinstance(value, (Inert, Global)):
            raise UnsafeCheckpoint(f"holds an object of class {value.name} as the tensor '{name}'")
        if not isinstance(name, str) or not isinstance(value, (TensorRef, ArrayData)):
            raise CorruptCheckpoint(f"holds a {describe(value)} as the tensor '{str(name)[:80]}'")
        result[name] = value
    check_repeats(result)
    return result


def check_repeats(refs: dict[str, Ref]) -> None:
    """A million names for one array would become a million arrays. Raises CorruptCheckpoint."""
    distinct = {ref.storage.key: ref.storage.nbytes for ref in refs.values() if isinstance(ref, TensorRef)}
    arrays = {id(ref.data): len(ref.data) for ref in refs.values() if isinstance(ref, ArrayData)}
    total = sum(size_of(ref) for ref in refs.values())
    if total > MAX_REPEATS * (sum(distinct.values()) + sum(arrays.values())) + 2**20:
        raise CorruptCheckpoint("gives the same data to its tensors over and over")


def size_of(ref: Ref) -> int:
    """Bytes of one tensor."""
    return len(ref.data) if isinstance(ref, ArrayData) else ref.numel * ITEM_SIZES[ref.dtype]


def metadata(root: dict[object, object], wrapper: str) -> dict[str, object]:
    """The file's own `meta`, or whatever small values stand beside the weights."""
    meta = root.get("meta")
    if not isinstance(meta, dict):
        meta = parse_text(root.get("__metadata__")) or beside(root, wrapper)
    check_structure(meta)
    result = plain(meta, {})
    check_structure(result)  # once more, with small arrays as lists: as text nothing is shared
    return cast("dict[str, object]", result)


def beside(root: dict[object, object], wrapper: str) -> dict[object, object]:
    """Numbers and texts next to the weights, such as `epoch` or Detectron2's `__author__`."""
    return {key: value for key, value in root.items() if key != wrapper and isinstance(value, (str, int, float, bool))}


def parse_text(text: object) -> dict[object, object] | None:
    """Metadata of a safetensors file: what `writing.save` put there as JSON, else the texts as they are."""
    if not isinstance(text, dict):
        return None
    try:
        result = json.loads(text["zoo.meta"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return text
    check_structure(result)
    return restore(result) if isinstance(result, dict) else text  # type: ignore[return-value]


def plain(value: object, seen: dict[int, object]) -> object:
    """Metadata as JSON-like data: text keys, lists, numbers; `Inert` stays, filled with plain data.

    seen: id of a value -> what it became, so that what the file shares stays shared.
    """
    if isinstance(value, (str, int, float)) or value is None:
        return value
    if id(value) not in seen:
        seen[id(value)] = convert(value, seen)
    return seen[id(value)]


def convert(value: object, seen: dict[int, object]) -> object:
    """`plain` for a value that is new."""
    if isinstance(value, dict):
        return {str(key): plain(item, seen) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, seen) for item in value]
    if isinstance(value, Inert):
        items: dict[object, object] = {str(key): plain(item, seen) for key, item in value.items.items()}
        arguments = tuple(plain(item, seen) for item in value.arguments)
        elements = [plain(item, seen) for item in value.elements]
        return Inert(value.name, arguments, plain(value.state, seen), items, elements)
    if isinstance(value, (bytes, bytearray)):
        return value.decode("latin-1")
    if isinstance(value, (TensorRef, ArrayData)):
        return array(value)
    if isinstance(value, Slice):
        return Inert("bytes", (len(value),))
    return Inert(getattr(value, "name", type(value).__name__))


def array(value: Ref) -> object:
    """A small numpy array as nested lists, any other tensor as an inert note of its shape."""
    if isinstance(value, ArrayData) and isinstance(value.data, bytes) and len(value.data) <= MAX_HELD_BYTES:
        from zoo.checkpoint.tensors import to_numpy

        return to_numpy(value).tolist()
    return Inert("tensor", (value.dtype, list(value.shape)))


def describe(value: object) -> str:
    """What a value is, for an error message."""
    if isinstance(value, (Inert, Global)):
        return f"object of class {value.name}"
    return "tensor" if isinstance(value, (TensorRef, ArrayData)) else type(value).__name__


INERT = "__inert__"


def to_json(value: object) -> object:
    """Plain metadata with each `Inert` as a table, for `json.dumps`; `restore` is its inverse."""
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, Inert):
        parts = (value.arguments, value.state, value.items, value.elements)
        return {INERT: value.name, "parts": [to_json(part) for part in parts]}
    return value


def restore(value: object) -> object:
    """Inverse of `to_json`."""
    if isinstance(value, list):
        return [restore(item) for item in value]
    if not isinstance(value, dict):
        return value
    if INERT in value and isinstance(value.get("parts"), list) and len(value["parts"]) == 4:
        arguments, state, items, elements = (restore(part) for part in value["parts"])
        return Inert(str(value[INERT]), tuple(arguments), state, items, elements)  # type: ignore[arg-type]
    return {key: restore(item) for key, item in value.items()}
