"""A network as a folder that Hugging Face's transformers reads: `model.safetensors` and `config.json`.

DETR, Deformable DETR, Conditional DETR, DAB-DETR, MaskFormer and Mask2Former: `AutoModel....from_pretrained(folder)`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.checkpoint.convert.tables import table
from zoo.checkpoint.convert.to_dialect import to_dialect
from zoo.checkpoint.convert.transformers_config import configuration, kind_of, refines
from zoo.system.atomic_write import atomic_path, atomic_write

NO_OBJECT_WEIGHT = 0.1
"""Of the class "no object" in the losses of MaskFormer and Mask2Former, transformers' default."""


def write_transformers(
    state: Mapping[str, Tensor], folder: Path, classes: Sequence[str] = (), dilation: bool = False
) -> Path:
    """Write a state dict in the published names as such a folder. Raises MismatchedCheckpoint for other networks.

    dilation: whether the last stage of the backbone is dilated (DC5), which no tensor tells.
    """
    from safetensors.torch import save_file

    kind, theirs = kind_of(state), tensors(state)
    config = configuration(kind, state, theirs, classes) | ({"dilation": True} if dilation else {})
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "config.json", json.dumps(config, indent=2) + "\n")
    with atomic_path(folder / "model.safetensors") as temporary:
        save_file(
            {name: tensor.detach().clone().contiguous() for name, tensor in theirs.items()}, temporary, {"format": "pt"}
        )
    return folder


def tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every name of transformers' network, those that its decoder has a second time included."""
    kind = kind_of(state)
    theirs = to_dialect(state, table(kind))
    if kind == "transformers":
        return {**theirs, **of_decoder(state, theirs)}
    if kind == "transformers_dab_detr":
        return {**theirs, **again(theirs, "bbox_predictor.", "model.decoder.bbox_embed.")}
    if kind in ("transformers_maskformer", "transformers_mask2former"):
        return {**theirs, **unused(theirs, kind)}
    return theirs


def of_decoder(state: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The predictors that the decoder of Deformable DETR has too."""
    result = {}
    if refines(state):
        result = again(theirs, "bbox_embed.", "model.decoder.bbox_embed.")
    if "model.enc_output.weight" in theirs:
        result |= again(theirs, "class_embed.", "model.decoder.class_embed.")
    return result


def again(theirs: Mapping[str, Tensor], start: str, other: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `start`, under names that begin with `other`."""
    return {other + name.removeprefix(start): tensor for name, tensor in theirs.items() if name.startswith(start)}


def unused(theirs: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """What transformers keeps beside the network: the losses' weights of classes, and the norm of a classifier."""
    like = theirs["class_predictor.bias"]
    weights = torch.ones_like(like)
    weights[-1] = NO_OBJECT_WEIGHT
    result = {"criterion.empty_weight": weights}
    last = theirs.get("model.pixel_level_module.encoder.hidden_states_norms.3.bias")
    if kind == "transformers_maskformer" and last is not None:
        norm = "model.pixel_level_module.encoder.model.layernorm"
        result |= {f"{norm}.weight": torch.ones_like(last), f"{norm}.bias": torch.zeros_like(last)}
    return result


def labels_beside(path: Path) -> tuple[str, ...]:
    """The class names in the `config.json` beside a file of transformers; none where there is no such file."""
    try:
        labels = beside(path)["id2label"]
        return tuple(str(labels[str(number)]) for number in range(len(labels)))
    except (KeyError, TypeError):
        return ()


def beside(path: Path) -> dict[str, Any]:
    """The `config.json` beside a file of transformers; empty where there is none."""
    try:
        content = json.loads((path.parent / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
