"""Anchors in the padding of an image.

In MMDetection anchors learn where an image was padded before it was batched, as background, and not where the batch was
padded. `zoo.models.criteria.anchor_head` knows padding to multiples of 32 only. Networks whose images are all padded to
one size or to larger multiples (NAS-FPN, FPG, EfficientNet) were trained on crops padded to one size, so every anchor
learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.models.criteria.anchor_head import PAD_DIVISOR
from zoo.preprocessing.recipe import Pad, Preprocessing


def with_padded_anchors(description: Mapping[str, Any], recipe: Preprocessing) -> dict[str, Any]:
    """The description of a network to train, whose anchors learn in the padding where the recipe pads further."""
    settings = description.get("train_cfg")
    if not isinstance(settings, Mapping) or not any(map(pads_further, recipe.steps)):
        return dict(description)
    if has_anchors(description.get("rpn_head")):
        return {**description, "train_cfg": {**settings, "rpn": {**settings["rpn"], "in_padding": True}}}
    if has_anchors(description.get("bbox_head")):
        return {**description, "train_cfg": {**settings, "in_padding": True}}
    return dict(description)


def has_anchors(head: object) -> bool:
    """Whether a head's description says which anchors it has."""
    return isinstance(head, Mapping) and "anchor_generator" in head


def pads_further(step: object) -> bool:
    """Whether a step pads to more than multiples of 32."""
    return isinstance(step, Pad) and (step.size is not None or step.square or (step.divisor or 0) > PAD_DIVISOR)
