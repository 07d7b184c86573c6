"""Transformers over object queries."""

from __future__ import annotations

import pytest
import torch

from zoo.errors import BuildError
from zoo.models.build import build_detector, component
from zoo.models.transformer.padding import padding_at, padding_mask
from zoo.structures import ImageGeometry

ATTENTION = {"type": "MultiheadAttention", "embed_dims": 16, "num_heads": 2}
DEFORMABLE = {"type": "MultiScaleDeformableAttention", "embed_dims": 16, "num_heads": 2, "num_levels": 2}
ENCODER_STEPS = ("self_attn", "norm", "ffn", "norm")
DECODER_STEPS = ("self_attn", "norm", "cross_attn", "norm", "ffn", "norm")
BACKBONE = {"type": "ResNet", "depth": 18, "base_channels": 8, "norm_cfg": {"type": "BN"}}
SINE = {"type": "SinePositionalEncoding", "num_feats": 8, "normalize": True}
FOCAL = {"type": "FocalLoss", "use_sigmoid": True}


def layers(kind: str, attention: object, steps: tuple[str, ...], **kwargs: object) -> dict[str, object]:
    layer = {
        "type": "BaseTransformerLayer",
        "attn_cfgs": attention,
        "feedforward_channels": 16,
        "operation_order": steps,
    }
    return {"type": kind, "num_layers": 2, "transformerlayers": layer, **kwargs}


def tiny_detr() -> torch.nn.Module:
    transformer = {
        "type": "Transformer",
        "encoder": layers("DetrTransformerEncoder", ATTENTION, ENCODER_STEPS),
        "decoder": layers("DetrTransformerDecoder", ATTENTION, DECODER_STEPS, return_intermediate=True),
    }
    head = {
        "type": "DETRHead", "num_classes": 3, "in_channels": 64, "num_query": 5, "transformer": transformer,
        "positional_encoding": SINE,
    }  # fmt: skip
    torch.manual_seed(0)
    return build_detector({"type": "DETR", "backbone": {**BACKBONE, "out_indices": [3]}, "bbox_head": head})


def tiny_deformable_detr(**kwargs: bool | None) -> torch.nn.Module:
    transformer = {
        "type": "DeformableDetrTransformer", "num_feature_levels": 2, "two_stage_num_proposals": 5,
        "encoder": layers("DetrTransformerEncoder", DEFORMABLE, ENCODER_STEPS),
        "decoder": layers(
            "DeformableDetrTransformerDecoder", [ATTENTION, DEFORMABLE], DECODER_STEPS, return_intermediate=True
        ),
    }  # fmt: skip
    neck = {"type": "ChannelMapper", "in_channels": [64], "kernel_size": 1, "out_channels": 16, "num_outs": 2}
    head = {
        "type": "DeformableDETRHead", "num_classes": 3, "in_channels": 64, "num_query": 5, "transformer": transformer,
        "positional_encoding": {**SINE, "offset": -0.5}, "loss_cls": FOCAL, **kwargs,
    }  # fmt: skip
    torch.manual_seed(0)
    backbone = {**BACKBONE, "out_indices": [3]}
    return build_detector(
        {
            "type": "DeformableDETR",
            "backbone": backbone,
            "neck": neck,
            "bbox_head": head,
            "test_cfg": {"max_per_img": 5},
        }
    )


@pytest.mark.parametrize("refine, two_stage", [(None, None), (False, False), (True, False), (True, True)])
def test_padding_changes_nothing(refine: bool | None, two_stage: bool | None) -> None:
    deformable = refine is not None
    model = tiny_deformable_detr(with_box_refine=refine, as_two_stage=two_stage) if deformable else tiny_detr()
    sizes = [(8, 6), (4, 3)] if deformable else [(8, 6)]
    alone = [torch.rand(1, 16 if deformable else 64, h, w) for h, w in sizes]
    padded = [torch.cat([x, torch.rand_like(x)], dim=3) for x in alone]
    nothing, right_half = torch.zeros(1, 256, 192).bool(), torch.arange(384).expand(1, 256, 384) >= 192
    geometries = [ImageGeometry.of_input((256, 192))]
    want = model.bbox_head.predict(model.bbox_head(alone, nothing), geometries)[0]
    have = model.bbox_head.predict(model.bbox_head(padded, right_half), geometries)[0]
    torch.testing.assert_close(have.scores, want.scores, rtol=0, atol=1e-5)
    torch.testing.assert_close(have.boxes, want.boxes, rtol=0, atol=1e-2)


def test_a_batch_of_two_is_two_single_runs() -> None:
    model = tiny_detr()
    images = torch.rand(2, 3, 96, 128)
    for i, result in enumerate(model(images)):
        torch.testing.assert_close(result.scores, model(images[i : i + 1])[0].scores, rtol=0, atol=1e-5)


def test_attention_ignores_what_is_masked() -> None:
    torch.manual_seed(0)
    layer = component(layers("DetrTransformerEncoder", ATTENTION, ENCODER_STEPS))
    x = torch.rand(1, 6, 16)
    padding = torch.tensor([[False] * 4 + [True] * 2])
    changed = torch.cat([x[:, :4], torch.rand(1, 2, 16)], dim=1)
    torch.testing.assert_close(
        layer(x, query_padding=padding)[:, :4], layer(changed, query_padding=padding)[:, :4], rtol=0, atol=1e-6
    )


def test_the_padding_mask_follows_the_frames() -> None:
    mask = padding_mask(torch.zeros(2, 3, 4, 6), [ImageGeometry.of_input((4, 6)), ImageGeometry.of_input((2, 3))])
    assert not mask[0].any()
    assert (~mask[1]).sum() == 6 and not mask[1, :2, :3].any()
    assert padding_at(mask, torch.zeros(2, 1, 2, 3))[1].tolist() == [[False, False, True], [True, True, True]]


def test_an_unknown_step_is_named() -> None:
    with pytest.raises(BuildError, match="unknown step 'dance'"):
        component(layers("DetrTransformerEncoder", ATTENTION, ("dance",)))
