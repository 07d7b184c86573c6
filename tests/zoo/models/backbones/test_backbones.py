from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from zoo.errors import BuildError
from zoo.models.build import component

HR_STAGES = {
    "stage1": {"num_modules": 1, "num_branches": 1, "block": "BOTTLENECK", "num_blocks": [1], "num_channels": [8]},
    "stage2": {"num_modules": 1, "num_branches": 2, "block": "BASIC", "num_blocks": [1, 1], "num_channels": [4, 8]},
    "stage3": {
        "num_modules": 2,
        "num_branches": 3,
        "block": "BASIC",
        "num_blocks": [1, 1, 1],
        "num_channels": [4, 8, 16],
    },
    "stage4": {
        "num_modules": 1,
        "num_branches": 4,
        "block": "BASIC",
        "num_blocks": [1, 1, 1, 1],
        "num_channels": [4, 8, 16, 32],
    },
}
TINY_REGNET = {"w0": 8, "wa": 8.0, "wm": 2.0, "group_w": 8, "depth": 8, "bot_mul": 1.0}
RESNET = {"depth": 50, "base_channels": 8, "frozen_stages": 1}
DCN = {"type": "DCNv2", "deform_groups": 1, "fallback_on_stride": False}
CONTEXT = {
    "cfg": {"type": "ContextBlock", "ratio": 0.25},
    "stages": [False, True, True, True],
    "position": "after_conv3",
}
LAST_STAGES = [False, True, True, True]
QUARTERS = (4, 8, 16, 32)

# Description and the strides of the maps that it returns.
TINY: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "resnet": ({"type": "ResNet", **RESNET, "style": "caffe"}, QUARTERS),
    "resnet18": ({"type": "ResNet", "depth": 18, "base_channels": 8, "out_indices": [1, 3]}, (8, 32)),
    "resnet dilated": (
        {"type": "ResNet", **RESNET, "strides": [1, 2, 2, 1], "dilations": [1, 1, 1, 2]},
        (4, 8, 16, 16),
    ),
    "resnext": ({"type": "ResNeXt", **RESNET, "groups": 4, "base_width": 4}, QUARTERS),
    "resnet dcn": ({"type": "ResNet", **RESNET, "dcn": DCN, "stage_with_dcn": LAST_STAGES}, QUARTERS),
    "resnet gcb": ({"type": "ResNet", **RESNET, "plugins": [CONTEXT]}, QUARTERS),
    "resnet v1d": ({"type": "ResNetV1d", **RESNET}, QUARTERS),
    "resnet ws": (
        {"type": "ResNet", **RESNET, "conv_cfg": {"type": "ConvWS"}, "norm_cfg": {"type": "GN", "num_groups": 4}},
        QUARTERS,
    ),
    "regnet": ({"type": "RegNet", "arch": TINY_REGNET, "stem_channels": 8, "frozen_stages": 1}, QUARTERS),
    "regnety": (
        {"type": "RegNet", "arch": {**TINY_REGNET, "se_ratio": 0.25}, "stem_channels": 8, "frozen_stages": 1},
        QUARTERS,
    ),
    "res2net": ({"type": "Res2Net", **RESNET, "scales": 4, "base_width": 4}, QUARTERS),
    "resnest": ({"type": "ResNeSt", **RESNET, "stem_channels": 8, "radix": 2}, QUARTERS),
    "detectors": (
        {
            "type": "DetectoRS_ResNet",
            **RESNET,
            "conv_cfg": {"type": "ConvAWS"},
            "sac": {"type": "SAC", "use_deform": True},
            "stage_with_sac": LAST_STAGES,
            "output_img": True,
        },
        (1, *QUARTERS),
    ),
    "trident": (
        {
            "type": "TridentResNet",
            **RESNET,
            "num_stages": 3,
            "strides": [1, 2, 2],
            "dilations": [1, 1, 1],
            "out_indices": [2],
            "trident_dilations": [1, 2, 3],
            "num_branch": 3,
            "test_branch_idx": 1,
        },
        (16,),
    ),
    "hrnet": ({"type": "HRNet", "extra": HR_STAGES}, QUARTERS),
    "darknet": ({"type": "Darknet", "frozen_stages": 2}, (8, 16, 32)),
    "ssd vgg": ({"type": "SSDVGG", "depth": 11, "out_feature_indices": [14]}, (8,)),
    "hourglass": (
        {"type": "HourglassNet", "downsample_times": 2, "stage_channels": [8, 8, 16], "stage_blocks": [1, 1, 2]},
        (4, 4),
    ),
    "mobilenet v2": ({"type": "MobileNetV2", "widen_factor": 0.25, "frozen_stages": 1, "out_indices": [2, 7]}, (8, 32)),
    "efficientnet": ({"type": "EfficientNet", "arch": "b0", "frozen_stages": 1, "out_indices": [3, 4, 6]}, (8, 16, 32)),
    "convnext": (
        {
            "type": "mmcls.ConvNeXt",
            "arch": {"depths": [1, 1, 2, 1], "channels": [4, 8, 16, 32]},
            "gap_before_final_norm": False,
            "frozen_stages": 1,
        },
        QUARTERS,
    ),
    "swin": (
        {
            "type": "SwinTransformer",
            "embed_dims": 12,
            "depths": [2, 2, 2, 2],
            "num_heads": [1, 2, 3, 4],
            "frozen_stages": 1,
        },
        QUARTERS,
    ),
    "swin absolute": (
        {
            "type": "SwinTransformer",
            "embed_dims": 12,
            "depths": [1, 1, 1, 1],
            "num_heads": [1, 2, 3, 4],
            "use_abs_pos_embed": True,
            "pretrain_img_size": 32,
            "frozen_stages": 0,
        },
        QUARTERS,
    ),
    "pvt": ({"type": "PyramidVisionTransformer", "embed_dims": 8, "num_layers": [1, 1, 1, 1]}, QUARTERS),
    "pvt v2": ({"type": "PyramidVisionTransformerV2", "embed_dims": 8, "num_layers": [1, 1, 1, 1]}, QUARTERS),
}


@pytest.fixture(scope="module")
def built() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {name: component(description).eval() for name, (description, _) in TINY.items()}


@pytest.mark.parametrize("name", TINY)
@torch.no_grad()
def test_maps_come_finest_first_at_the_known_strides(built, name):
    maps = built[name](torch.randn(1, 3, 96, 128))
    assert [tuple(x.shape[2:]) for x in maps] == [(96 // s, 128 // s) for s in TINY[name][1]]


@pytest.mark.parametrize("name", TINY)
@torch.no_grad()
def test_images_of_a_batch_do_not_see_each_other(built, name):
    x = torch.randn(2, 3, 96, 96)
    together, alone = built[name](x), [built[name](x[i : i + 1]) for i in (0, 1)]
    for k, batch in enumerate(together):
        assert torch.allclose(batch, torch.cat([maps[k] for maps in alone]), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["resnet", "hrnet", "convnext", "pvt v2", "efficientnet"])
@torch.no_grad()
def test_channels_last_changes_nothing(built, name):
    x = torch.randn(1, 3, 96, 96)
    for have, want in zip(built[name](x.to(memory_format=torch.channels_last)), built[name](x)):
        assert torch.allclose(have, want, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", [name for name, (d, _) in TINY.items() if "frozen_stages" in d])
def test_frozen_stages_get_no_gradient_and_the_others_do(name):
    network = component(TINY[name][0]).train()
    total = sum(x.mean() for x in network(torch.randn(2, 3, 96, 96, requires_grad=True)))
    total.backward()
    assert any(not p.requires_grad for p in network.parameters())
    assert any(p.grad is not None for p in network.parameters())
    assert all(p.grad is None for p in network.parameters() if not p.requires_grad)


def test_batch_norm_keeps_its_statistics_where_asked():
    network = component({"type": "ResNet", **RESNET, "norm_eval": True}).train()
    before = network.layer4[0].bn1.running_mean.clone()
    network(torch.randn(2, 3, 32, 32))
    assert torch.equal(before, network.layer4[0].bn1.running_mean)


@pytest.mark.parametrize(
    "description",
    [
        {"type": "ResNet", "depth": 51},
        {"type": "RegNet", "arch": "regnety_400mf"},
        {"type": "Darknet", "depth": 19},
        {"type": "SSDVGG", "depth": 12},
        {"type": "EfficientNet", "arch": "b9"},
        {"type": "mmcls.ConvNeXt", "arch": "huge"},
        {"type": "mmcls.ConvNeXt", "gap_before_final_norm": True},
    ],
)
def test_what_does_not_exist_is_an_error_that_says_so(description):
    with pytest.raises(BuildError):
        component(description)


@torch.no_grad()
def test_trident_runs_every_branch_when_asked():
    description = dict(TINY["trident"][0])
    one, all_of_them = (component({**description, "test_branch_idx": i}).eval() for i in (1, -1))
    all_of_them.load_state_dict(one.state_dict())
    x = torch.randn(2, 3, 96, 96)
    assert all_of_them.active_branches == 3
    assert torch.allclose(all_of_them(x)[0].chunk(3)[1], one(x)[0], atol=1e-5)


@torch.no_grad()
def test_feedback_of_zero_weight_leaves_the_pyramid_as_it_is():
    backbone = {**TINY["detectors"][0], "output_img": False, "rfp_inplanes": 8}
    neck = component(
        {
            "type": "RFP",
            "rfp_steps": 2,
            "rfp_backbone": backbone,
            "aspp_out_channels": 2,
            "in_channels": [32, 64, 128, 256],
            "out_channels": 8,
            "num_outs": 5,
        }
    ).eval()
    image = torch.randn(1, 3, 96, 96)
    maps = neck.rfp_modules[0](image)  # both steps see the same network
    want = super(type(neck), neck).forward(maps)
    for have, level in zip(neck([image, *maps]), want):
        assert torch.allclose(have, level, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "convnext"])
@torch.no_grad()
def test_a_backbone_is_one_graph_to_the_compiler(built, name):
    x = torch.randn(1, 3, 96, 128)
    compiled = torch.compile(built[name], backend="eager", fullgraph=True)
    for have, want in zip(compiled(x), built[name](x)):
        assert torch.allclose(have, want, atol=1e-5)


def test_regnety_squeezes_to_a_share_of_each_blocks_input() -> None:
    network = component({"type": "RegNet", "arch": "regnety_4.0gf"})
    hidden = [block.se.conv1.conv.out_channels for block in (*network.layer2[:2], *network.layer4[:2])]
    assert hidden == [32, 48, 128, 272]  # a quarter of 128, 192, 512 and 1088


def test_a_resnet_that_does_not_say_so_trains_all_stages_and_keeps_its_statistics():
    network = component({"type": "ResNet", "depth": 18, "base_channels": 8}).train()
    assert all(p.requires_grad for p in network.parameters())
    assert not network.bn1.training and network.norm_eval
