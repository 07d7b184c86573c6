"""MaskFormer and Mask2Former."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.build import build_detector
from zoo.models.segmentation import maskformer_fusion
from zoo.models.segmentation.mask2former_head import attention_mask
from zoo.models.segmentation.maskformer_fusion import MaskFormerFusionHead, mask_boxes

ATTENTION = {"type": "MultiheadAttention", "embed_dims": 16, "num_heads": 2}
DEFORMABLE = {"type": "MultiScaleDeformableAttention", "embed_dims": 16, "num_heads": 2, "num_levels": 3}
SINE = {"type": "SinePositionalEncoding", "num_feats": 8, "normalize": True}
GN = {"type": "GN", "num_groups": 2}


def layers(kind: str, attention: dict[str, Any], steps: str, count: int = 2) -> dict[str, Any]:
    layer = {"type": "BaseTransformerLayer", "attn_cfgs": attention, "operation_order": steps.split()}
    return {"type": kind, "num_layers": count, "transformerlayers": layer}


ENCODER_STEPS = "self_attn norm ffn norm"
HEADS: dict[str, dict[str, Any]] = {
    "plain": {"type": "MaskFormerHead", "pixel_decoder": {"type": "PixelDecoder", "norm_cfg": GN}},
    "encoder": {
        "type": "MaskFormerHead",
        "pixel_decoder": {
            "type": "TransformerEncoderPixelDecoder", "norm_cfg": GN, "positional_encoding": SINE,
            "encoder": layers("DetrTransformerEncoder", ATTENTION, ENCODER_STEPS),
        },
    },
    "mask2former": {
        "type": "Mask2FormerHead",
        "pixel_decoder": {
            "type": "MSDeformAttnPixelDecoder", "norm_cfg": GN, "positional_encoding": SINE,
            "encoder": layers("DetrTransformerEncoder", DEFORMABLE, ENCODER_STEPS),
        },
    },
}  # fmt: skip


def tiny(kind: str) -> torch.nn.Module:
    torch.manual_seed(0)
    steps = (
        "cross_attn norm self_attn norm ffn norm"
        if kind == "mask2former"
        else "self_attn norm cross_attn norm ffn norm"
    )
    decoder = layers("DetrTransformerDecoder", ATTENTION, steps, 4)
    head = {
        "in_channels": [8, 16, 32, 64], "feat_channels": 16, "out_channels": 16, "num_queries": 6,
        "num_things_classes": 3, "num_stuff_classes": 2, "positional_encoding": SINE, "transformer_decoder": decoder,
    }  # fmt: skip
    return build_detector(
        {
            "type": "MaskFormer",
            "backbone": {"type": "ResNet", "depth": 18, "base_channels": 8},
            "panoptic_head": {**head, **HEADS[kind]},
            "panoptic_fusion_head": {"type": "MaskFormerFusionHead", "num_things_classes": 3, "num_stuff_classes": 2},
            "test_cfg": {"instance_on": True, "object_mask_thr": 0.0, "iou_thr": 0.0, "max_per_image": 9},
        }
    )


@pytest.mark.parametrize("kind", HEADS)
def test_a_batch_of_two_is_two_single_runs(kind: str) -> None:
    model = tiny(kind)
    images = torch.rand(2, 3, 64, 96)
    for i, result in enumerate(model(images, [(64, 96), (64, 96)])):
        alone = model(images[i : i + 1])[0]
        assert result.panoptic is not None and result.panoptic.shape == (64, 96) and result.masks is not None
        assert result.panoptic.dtype == torch.int64 and result.masks.shape == (len(result), 64, 96)
        assert (result.panoptic == alone.panoptic).float().mean() > 0.99
        torch.testing.assert_close(result.scores, alone.scores, rtol=0, atol=1e-4)


def test_results_have_the_size_of_the_unpadded_image() -> None:
    result = tiny("encoder")(torch.rand(1, 3, 64, 96), [(50, 70)])[0]
    assert result.panoptic is not None and result.panoptic.shape == (50, 70)


def slow_panoptic(logits: Tensor, masks: Tensor, cfg: dict[str, Any], things: int, classes: int) -> Tensor:
    """The paper's rule, segment by segment."""
    scores, labels = logits.softmax(-1).max(-1)
    kept = [q for q in range(len(labels)) if labels[q] != classes and scores[q] > cfg["object_mask_thr"]]
    out = torch.full(masks.shape[1:], classes)
    owner = torch.stack([scores[q] * masks[q].sigmoid() for q in kept]).argmax(0)
    instance = 1
    for k, q in enumerate(kept):
        mine, whole = owner == k, masks[q].sigmoid() >= 0.5
        if not mine.any() or not whole.any() or mine.sum() / whole.sum() < cfg["iou_thr"]:
            continue
        if cfg["filter_low_score"]:
            mine = mine & whole
        out[mine] = int(labels[q])
        if labels[q] < things:
            out[mine] += 1000 * instance
            instance += 1
    return out


@pytest.mark.parametrize("filter_low_score", [False, True])
def test_the_panoptic_map_is_made_segment_by_segment(filter_low_score: bool) -> None:
    torch.manual_seed(1)
    cfg = {"object_mask_thr": 0.3, "iou_thr": 0.6, "filter_low_score": filter_low_score}
    head = MaskFormerFusionHead(3, 2, cfg)
    for _ in range(5):
        logits, masks = torch.randn(8, 6) * 3, torch.randn(8, 6, 7) * 4 - 4
        assert torch.equal(head.panoptic(logits, masks), slow_panoptic(logits, masks, cfg, 3, 5))


def test_no_query_above_the_threshold_is_all_void() -> None:
    head = MaskFormerFusionHead(3, 2, {"object_mask_thr": 0.99})
    assert head.panoptic(torch.zeros(4, 6), torch.randn(4, 5, 5)).unique().tolist() == [5]


@pytest.mark.parametrize("things", [3, 0])
def test_chosen_masks_are_resized_to_the_same_result(things: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maskformer_fusion, "AT_ONCE", 4)
    torch.manual_seed(2)
    cfg = {"object_mask_thr": 0.3, "iou_thr": 0.6, "instance_on": True, "max_per_image": 10}
    head = MaskFormerFusionHead(things, 5 - things, cfg)
    logits, masks = torch.randn(8, 6) * 3, torch.randn(8, 6, 7) * 4

    def resize(masks: torch.Tensor) -> torch.Tensor:
        return (
            F.interpolate(masks[None], scale_factor=3, mode="bilinear")[0] if len(masks) else masks.new_zeros(0, 18, 21)
        )

    whole, chosen = head(logits, resize(masks)), head(logits, masks, resize)
    assert len(chosen) == len(whole) and (len(chosen) > 4) == (things > 0)
    for name in ("boxes", "scores", "labels", "masks", "panoptic"):
        torch.testing.assert_close(getattr(chosen, name), getattr(whole, name))


def test_boxes_are_tight_around_masks() -> None:
    masks = torch.zeros(2, 6, 8, dtype=torch.bool)
    masks[0, 2:4, 3:7] = True
    assert mask_boxes(masks).tolist() == [[3, 2, 7, 4], [0, 0, 0, 0]]
    assert mask_boxes(masks[:0]).shape == (0, 4)


def test_a_query_with_an_empty_mask_looks_everywhere() -> None:
    masks = torch.tensor([[-9.0, -9.0], [-9.0, 9.0]]).view(1, 2, 1, 2)
    assert attention_mask(masks, torch.zeros(1, 1, 1, 2), 2).tolist() == [[[False, False], [True, False]]] * 2
