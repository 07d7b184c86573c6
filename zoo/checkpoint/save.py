"""Tensors and metadata -> a safetensors file, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.checkpoint.checkpoint import FORMAT, META, NAMES, Checkpoint
from zoo.checkpoint.state_dict import to_json
from zoo.errors import CorruptCheckpoint
from zoo.system.atomic_write import atomic_path

if TYPE_CHECKING:
    from torch import Tensor


def save(checkpoint: Checkpoint, target: Path) -> None:
    """Write a checkpoint as safetensors. Raises CorruptCheckpoint for tensors that the format cannot hold."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    texts = {
        "format": "pt",
        FORMAT: checkpoint.format,
        NAMES: json.dumps(list(checkpoint.state_dict)),
        META: json.dumps(to_json(checkpoint.meta)),
    }
    try:
        with atomic_path(target, parents=True) as temporary:
            save_file(separate(checkpoint.state_dict), temporary, texts)
    except (KeyError, RuntimeError, ValueError, SafetensorError) as error:
        raise CorruptCheckpoint(f"{checkpoint.path} cannot be written as safetensors: {error}.") from None


def separate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors that share no memory, as safetensors wants them."""
    seen: set[int] = set()
    result = {}
    for name, tensor in state.items():
        address = tensor.untyped_storage().data_ptr()
        result[name] = tensor.clone().contiguous() if address in seen else tensor.contiguous()
        seen.add(address)
    return result
