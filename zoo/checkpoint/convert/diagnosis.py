"""Why a checkpoint does not fit a network, in a sentence: the first differing names, and the likely cause."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

Shapes = Mapping[str, Sequence[int]]

LISTED = 3
"""How many names a message shows of each kind."""

RESNET_STAGE3 = {2: "18", 6: "34 or 50", 23: "101", 36: "152"}
"""Blocks in the third stage -> depth of a ResNet."""

THIRD_STAGE = (r"layer3", r"stages\.2\.blocks", r"stages\.2")
"""What backbones call it: ResNets, Swin Transformers, ConvNeXts."""

PREDICTORS = re.compile(
    r"(\w*_cls|cls_branches\.\d+|cls_embed|conv_logits|multi_level_conv_cls\.\d+|cls_convs\.\d+\.0|convs_pred\.\d+|"
    r"heatmap_head\.2|fc_reg)\.(weight|bias)$"
)


PROJECTS = {
    "YOLOX's authors": (r"backbone\.backbone\.dark", r"head\.(cls|reg)_preds"),
    "Ultralytics (YOLOv5 and later)": (r"(model\.)+\d+\.(conv|cv\d|m)\.",),
    "DINO's authors": (r"transformer\.(encoder|decoder)\.", r"label_enc|transformer\.decoder\.class_embed"),
    "Deformable DETR's authors": (r"transformer\.level_embed", r"class_embed\.", r"input_proj\.0\."),
    "DETR's authors": (r"transformer\.(encoder|decoder)\.", r"class_embed\.", r"query_embed\."),
    "transformers (Hugging Face)": (r"model\.(encoder|decoder|backbone)\.", r"class_labels_classifier|class_embed"),
    "Mask2Former's or MaskFormer's authors": (r"sem_seg_head\.(pixel_decoder|predictor)\.",),
    "EfficientDet in PyTorch (R. Wightman)": (r"class_net\.", r"box_net\.", r"fpn\."),
    "MMYOLO": (r"backbone\.", r"bbox_head\.head_module\."),
    "Sparse R-CNN's authors": (r"head\.head_series\.", r"init_proposal_(boxes|features)"),
    "torchvision's classification": (r"conv1\.weight$", r"layer4\.", r"fc\.weight$"),
    "timm": (r"(stem|patch_embed|blocks|layers|stages)[._]", r"head\.(fc\.)?weight$"),
}
"""Names that only the files of one project have: each project's patterns, all of which occur at the start of a name."""


def differences(result: Shapes, expected: Shapes) -> tuple[list[str], list[str], list[str]]:
    """Names that the file lacks, that it has too much, and that have another shape."""
    missing = [name for name in expected if name not in result]
    surplus = [name for name in result if name not in expected]
    reshaped = [name for name in expected if name in result and tuple(result[name]) != tuple(expected[name])]
    return missing, surplus, reshaped


def explain(result: Shapes, expected: Shapes, classes: int | None = None) -> str:
    """The message of a MismatchedCheckpoint, without the file's name. classes: how many the file's meta lists."""
    missing, surplus, reshaped = differences(result, expected)
    parts = []
    if reshaped:
        shown = [f"{name} is {list(result[name])}, not {list(expected[name])}" for name in reshaped[:LISTED]]
        parts.append("; ".join(shown) + more(reshaped))
    if missing:
        parts.append(f"it lacks {', '.join(missing[:LISTED])}{more(missing)}")
    if surplus:
        parts.append(f"the network has no {', '.join(surplus[:LISTED])}{more(surplus)}")
    return f"{'; '.join(parts)}. {guess(result, expected, classes)}"


def more(names: Sequence[str]) -> str:
    """` and 5 more`, or nothing."""
    return f" and {len(names) - LISTED} more" if len(names) > LISTED else ""


def guess(result: Shapes, expected: Shapes, classes: int | None = None) -> str:
    """The likely cause, the most specific first."""
    missing, surplus, reshaped = differences(result, expected)
    for cause in (wrapped, averaged, other_project, other_version, other_depth):
        if reason := cause(result, expected, missing, surplus):
            return reason
    if reason := other_classes(result, expected, missing, surplus, reshaped, classes):
        return reason
    names = {name for name in expected if not name.endswith(".num_batches_tracked")}
    shared = len(result.keys() & names)
    if shared < len(names) // 2:
        return f"They share {shared} of {len(names)} names: it is a checkpoint of another architecture."
    if len(reshaped) > shared // 2:
        return "Most shapes differ: it is a checkpoint of a network of another width."
    return "It seems to be a checkpoint of a variant of this architecture."


def wrapped(result: Shapes, expected: Shapes, missing: Sequence[str], surplus: Sequence[str]) -> str | None:
    """All names behind one prefix that is not the network's."""
    heads = {name.partition(".")[0] for name in result}
    inner = [name.partition(".")[2] for name in result]
    if len(heads) == 1 and any(name in expected for name in inner):
        return f"All names begin with '{heads.pop()}.': the weights of a wrapped network."
    return None


def averaged(stored: Shapes, expected: Shapes, missing: Sequence[str], surplus: Sequence[str]) -> str | None:
    """Averaged weights beside, or instead of, the plain ones."""
    if any(name.startswith(("ema_", "ema_model.")) for name in surplus):
        return "It holds averaged (EMA) weights under names of their own, and not all of the plain ones."
    return None


def other_project(result: Shapes, expected: Shapes, missing: Sequence[str], surplus: Sequence[str]) -> str | None:
    """Names of a method's authors or of another library, when hardly any name is the network's."""
    if 2 * len(result.keys() & expected.keys()) >= len(result):
        return None
    for project, patterns in PROJECTS.items():
        if all(any(re.match(pattern, name) for name in result) for pattern in patterns):
            return f"Its names are those of {project}, whose files are not read."
    return None


def other_version(stored: Shapes, expected: Shapes, missing: Sequence[str], surplus: Sequence[str]) -> str | None:
    """Names of MMDetection 3.x, Detectron2 or torchvision that the tables do not lead from."""
    signs = {
        "MMDetection 3.x": r"(en|de)coder\.layers\.|query_embedding|.*\.(self|cross)_attn\.attn\.|data_prep",
        "Detectron2": r"proposal_generator|backbone\.bottom_up|roi_heads\.box_predictor",
        "torchvision": r"backbone\.body|rpn\.head|head\.classification_head",
    }
    for origin, pattern in signs.items():
        if any(re.match(pattern, name) for name in surplus):
            return f"Its names are those of {origin}, and of a network that this one is not."
    return None


def other_depth(result: Shapes, expected: Shapes, missing: Sequence[str], surplus: Sequence[str]) -> str | None:
    """Another number of blocks in a backbone."""
    pairs = [(blocks(result, stage), blocks(expected, stage)) for stage in THIRD_STAGE]
    theirs, ours = next((pair for pair in pairs if all(pair)), (0, 0))
    if theirs == ours:
        return None
    if theirs in RESNET_STAGE3 and ours in RESNET_STAGE3:
        depths = f"a backbone of depth {RESNET_STAGE3[theirs]}, the network one of depth {RESNET_STAGE3[ours]}"
        return f"It has {depths} ({theirs} and {ours} blocks in the third stage)."
    return f"The third stage of its backbone has {theirs} blocks, that of the network {ours}: another depth."


def blocks(shapes: Shapes, stage: str) -> int:
    """How many blocks a stage of the backbone has; 0 if it has no such stage."""
    pattern = re.compile(rf"backbone\.{stage}\.(\d+)\.")
    return max((int(match[1]) + 1 for name in shapes if (match := pattern.match(name))), default=0)


def other_classes(
    result: Shapes,
    expected: Shapes,
    missing: Sequence[str],
    surplus: Sequence[str],
    reshaped: Sequence[str],
    classes: int | None,
) -> str | None:
    """Only predictors differ, and only in their number of rows."""
    rows_only = all(tuple(result[name][1:]) == tuple(expected[name][1:]) for name in reshaped)
    if missing or surplus or not reshaped or not rows_only or not any(map(PREDICTORS.search, reshaped)):
        return None
    said = f" (its metadata lists {classes})" if classes is not None else ""
    return f"Only the predictors differ: it was trained for another number of classes{said}."
