"""DETR and Deformable DETR as a folder that Hugging Face's transformers reads: `model.safetensors` and `config.json`.

DetrForObjectDetection.from_pretrained(folder)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.checkpoint.convert.reorder import COCO_ROWS
from zoo.checkpoint.convert.tables import table
from zoo.checkpoint.convert.to_dialect import to_dialect
from zoo.errors import MismatchedCheckpoint
from zoo.system.atomic_write import atomic_path, atomic_write

DEPTHS = {6: "resnet50", 23: "resnet101"}
"""Blocks in the third stage -> timm's name of the backbone."""


def write_transformers(
    state: Mapping[str, Tensor], folder: Path, classes: Sequence[str] = (), dilation: bool = False
) -> Path:
    """Write a state dict in the published names as such a folder. Raises MismatchedCheckpoint for other networks.

    dilation: whether the last stage of the backbone is dilated (DC5), which no tensor tells.
    """
    from safetensors.torch import save_file

    theirs = tensors(state)
    config = configuration(state, theirs, classes) | ({"dilation": True} if dilation else {})
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "config.json", json.dumps(config, indent=2) + "\n")
    with atomic_path(folder / "model.safetensors") as temporary:
        save_file(
            {name: tensor.detach().clone().contiguous() for name, tensor in theirs.items()}, temporary, {"format": "pt"}
        )
    return folder


def tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every name of transformers' network, those that its decoder has a second time included."""
    theirs = to_dialect(state, table("transformers"))
    again = {}
    if refines(state):
        again = {f"model.decoder.{name}": tensor for name, tensor in theirs.items() if name.startswith("bbox_embed.")}
    if "model.enc_output.weight" in theirs:
        again |= {f"model.decoder.{name}": tensor for name, tensor in theirs.items() if name.startswith("class_embed.")}
    return {**theirs, **again}


def refines(state: Mapping[str, Tensor]) -> bool:
    """Whether each layer of a Deformable DETR has box predictors of its own."""
    first, second = (state.get(f"bbox_head.reg_branches.{layer}.0.weight") for layer in (0, 1))
    return first is not None and second is not None and not first.equal(second)


def configuration(state: Mapping[str, Tensor], theirs: Mapping[str, Tensor], classes: Sequence[str]) -> dict[str, Any]:
    """What `config.json` says: the kind of network, its sizes, and the names of the classes."""
    deformable = "model.level_embed" in theirs
    predictor = theirs["class_embed.0.bias" if deformable else "class_labels_classifier.bias"]
    labels = label_names(len(predictor) - (0 if deformable else 1), classes)
    queries = theirs.get("model.query_position_embeddings.weight")
    config = {
        "architectures": ["DeformableDetrForObjectDetection" if deformable else "DetrForObjectDetection"],
        "model_type": "deformable_detr" if deformable else "detr",
        "backbone": backbone(state),
        "use_timm_backbone": True,
        "use_pretrained_backbone": False,
        "num_queries": 300 if queries is None else len(queries),
        "d_model": theirs["model.encoder.layers.0.fc1.weight"].shape[1],
        "encoder_ffn_dim": len(theirs["model.encoder.layers.0.fc1.weight"]),
        "decoder_ffn_dim": len(theirs["model.decoder.layers.0.fc1.weight"]),
        "encoder_layers": layers(theirs, "encoder"),
        "decoder_layers": layers(theirs, "decoder"),
        "id2label": labels,
        "label2id": {name: int(number) for number, name in labels.items()},
    }
    if deformable:
        two_stage = "model.enc_output.weight" in theirs
        config |= {"with_box_refine": refines(state), "two_stage": two_stage, "num_feature_levels": 4}
    return config


def layers(theirs: Mapping[str, Tensor], part: str) -> int:
    """How many layers the encoder or decoder has."""
    result = (re.match(rf"model\.{part}\.layers\.(\d+)\.", name) for name in theirs)
    return 1 + max(int(match[1]) for match in result if match)


def backbone(state: Mapping[str, Tensor]) -> str:
    """timm's name of the backbone. Raises MismatchedCheckpoint for another than ResNet-50 and 101."""
    blocks = sum(bool(re.fullmatch(r"backbone\.layer3\.\d+\.conv3\.weight", name)) for name in state)
    if blocks not in DEPTHS:
        raise MismatchedCheckpoint("transformers is written for backbones ResNet-50 and ResNet-101 only.")
    return DEPTHS[blocks]


def label_names(count: int, classes: Sequence[str]) -> dict[str, str]:
    """Number -> name; COCO's numbers for its 80 categories, and `N/A` for those that have none."""
    numbers = COCO_ROWS if count == 91 and len(classes) == 80 else range(len(classes))
    known = dict(zip(numbers, classes))
    missing = "N/A" if count == 91 else "LABEL_{}"
    return {str(number): known.get(number, missing.format(number)) for number in range(count)}


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
