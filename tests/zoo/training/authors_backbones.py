"""Names and shapes of the files that training starts from, as their authors' code names them.

microsoft/Swin-Transformer, whai362/PVT (both versions), facebookresearch/moco and facebookresearch/swav: classifiers
and ResNets with what their own training added. Sizes come from the description of the backbone that starts from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Named = Iterator[tuple[str, tuple[int, ...]]]


def swin(backbone: dict[str, Any], image: int = 224, classes: int = 1000) -> Named:
    """`swin_tiny_patch4_window7_224.pth` and its like."""
    width, window = backbone.get("embed_dims", 96), backbone.get("window_size", 7)
    depths, heads = backbone.get("depths", (2, 2, 6, 2)), backbone.get("num_heads", (3, 6, 12, 24))
    yield "patch_embed.proj.weight", (width, 3, 4, 4)
    yield "patch_embed.proj.bias", (width,)
    yield from norm("patch_embed.norm", width)
    for i, depth in enumerate(depths):
        c, cells = width * 2**i, image // 2 ** (2 + i)
        for j in range(depth):
            block = f"layers.{i}.blocks.{j}"
            if j % 2 and cells > window:
                yield f"{block}.attn_mask", ((cells // window) ** 2, window**2, window**2)
            yield from norm(f"{block}.norm1", c)
            yield f"{block}.attn.relative_position_bias_table", ((2 * window - 1) ** 2, heads[i])
            yield f"{block}.attn.relative_position_index", (window**2, window**2)
            yield from linear(f"{block}.attn.qkv", c, 3 * c)
            yield from linear(f"{block}.attn.proj", c, c)
            yield from norm(f"{block}.norm2", c)
            yield from linear(f"{block}.mlp.fc1", c, 4 * c)
            yield from linear(f"{block}.mlp.fc2", 4 * c, c)
        if i < len(depths) - 1:
            yield f"layers.{i}.downsample.reduction.weight", (2 * c, 4 * c)
            yield from norm(f"layers.{i}.downsample.norm", 4 * c)
    yield from norm("norm", 8 * width)
    yield from linear("head", 8 * width, classes)


def pvt(backbone: dict[str, Any]) -> Named:
    """`pvt_tiny.pth` and its like: position embeddings, in the last stage with a class token."""
    before = 3
    for i, (depth, c, ratio, sr) in enumerate(pvt_stages(backbone, (8, 8, 4, 4)), start=1):
        patch, grid = 4 if i == 1 else 2, 224 // 2 ** (i + 1)
        yield f"pos_embed{i}", (1, grid**2 + (i == 4), c)
        yield f"patch_embed{i}.proj.weight", (c, before, patch, patch)
        yield f"patch_embed{i}.proj.bias", (c,)
        yield from norm(f"patch_embed{i}.norm", c)
        for j in range(depth):
            yield from pvt_block(f"block{i}.{j}", c, ratio, sr)
        before = c
    yield "cls_token", (1, 1, before)
    yield from norm("norm", before)
    yield from linear("head", before, 1000)


def pvt_v2(backbone: dict[str, Any]) -> Named:
    """`pvt_v2_b0.pth` and its like: overlapping patches, a depthwise convolution in each feed-forward network."""
    before = 3
    for i, (depth, c, ratio, sr) in enumerate(pvt_stages(backbone, (8, 8, 4, 4)), start=1):
        patch = 7 if i == 1 else 3
        yield f"patch_embed{i}.proj.weight", (c, before, patch, patch)
        yield f"patch_embed{i}.proj.bias", (c,)
        yield from norm(f"patch_embed{i}.norm", c)
        for j in range(depth):
            yield from pvt_block(f"block{i}.{j}", c, ratio, sr)
            yield f"block{i}.{j}.mlp.dwconv.dwconv.weight", (ratio * c, 1, 3, 3)
            yield f"block{i}.{j}.mlp.dwconv.dwconv.bias", (ratio * c,)
        yield from norm(f"norm{i}", c)
        before = c
    yield from linear("head", before, 1000)


def pvt_stages(backbone: dict[str, Any], ratios: tuple[int, ...]) -> Iterator[tuple[int, int, int, int]]:
    """Per stage: blocks, width, ratio of the feed-forward network, reduction of keys."""
    heads = backbone.get("num_heads", (1, 2, 5, 8))
    widths = [backbone.get("embed_dims", 64) * count for count in heads]
    return zip(backbone["num_layers"], widths, backbone.get("mlp_ratios", ratios), (8, 4, 2, 1))


def pvt_block(name: str, c: int, ratio: int, sr: int) -> Named:
    """One block: queries apart from keys and values, which a strided convolution reduces."""
    yield from norm(f"{name}.norm1", c)
    yield from linear(f"{name}.attn.q", c, c)
    yield from linear(f"{name}.attn.kv", c, 2 * c)
    yield from linear(f"{name}.attn.proj", c, c)
    if sr > 1:
        yield f"{name}.attn.sr.weight", (c, c, sr, sr)
        yield f"{name}.attn.sr.bias", (c,)
        yield from norm(f"{name}.attn.norm", c)
    yield from norm(f"{name}.norm2", c)
    yield from linear(f"{name}.mlp.fc1", c, ratio * c)
    yield from linear(f"{name}.mlp.fc2", ratio * c, c)


def moco(backbone: dict[str, Any]) -> Named:
    """`moco_v2_800ep_pretrain.pth.tar`: the encoder of queries, its projection, and the other encoder and the queue."""
    for encoder in ("encoder_q", "encoder_k"):
        yield from resnet50(f"module.{encoder}.")
        yield from linear(f"module.{encoder}.fc.0", 2048, 2048)
        yield from linear(f"module.{encoder}.fc.2", 2048, 128)
    yield "module.queue", (128, 65536)
    yield "module.queue_ptr", (1,)


def swav(backbone: dict[str, Any]) -> Named:
    """`swav_800ep_pretrain.pth.tar`: the ResNet, its projection, and the prototypes."""
    yield from resnet50("module.")
    yield from linear("module.projection_head.0", 2048, 2048)
    yield from batch_norm("module.projection_head.1", 2048)
    yield from linear("module.projection_head.3", 2048, 128)
    yield "module.prototypes.weight", (3000, 128)


def resnet50(prefix: str) -> Named:
    """torchvision's ResNet-50 without its classifier."""
    yield f"{prefix}conv1.weight", (64, 3, 7, 7)
    yield from batch_norm(f"{prefix}bn1", 64)
    before = 64
    for stage, depth in enumerate((3, 4, 6, 3), start=1):
        c = 32 * 2**stage
        for j in range(depth):
            block = f"{prefix}layer{stage}.{j}"
            for number, (inner, out, kernel) in enumerate(((before, c, 1), (c, c, 3), (c, 4 * c, 1)), start=1):
                yield f"{block}.conv{number}.weight", (out, inner, kernel, kernel)
                yield from batch_norm(f"{block}.bn{number}", out)
            if j == 0:
                yield f"{block}.downsample.0.weight", (4 * c, before, 1, 1)
                yield from batch_norm(f"{block}.downsample.1", 4 * c)
            before = 4 * c


def linear(name: str, before: int, after: int) -> Named:
    yield f"{name}.weight", (after, before)
    yield f"{name}.bias", (after,)


def norm(name: str, channels: int) -> Named:
    yield f"{name}.weight", (channels,)
    yield f"{name}.bias", (channels,)


def batch_norm(name: str, channels: int) -> Named:
    yield from norm(name, channels)
    yield f"{name}.running_mean", (channels,)
    yield f"{name}.running_var", (channels,)
    yield f"{name}.num_batches_tracked", ()
