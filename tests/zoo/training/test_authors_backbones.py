"""Every model that starts from weights of Swin, PVT, MoCo or SwAV starts from a file with their authors' names."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
import torch

from tests.zoo.training import authors_backbones as authors
from zoo.checkpoint.checkpoint import Checkpoint
from zoo.manifest import api
from zoo.models.build import component
from zoo.training import initial_weights

ORIGINS = {
    r".*/swin_\w+\.pth": authors.swin,
    r".*/pvt_v2_\w+\.pth": authors.pvt_v2,
    r".*/pvt_[a-z]+\.pth": authors.pvt,
    r".*moco\w+\.pth": authors.moco,
    r".*swav\w+\.pth\.tar": authors.swav,
}


def origin(name):
    """Who made the file that a model's training started from; None for others."""
    backbone = api.get(name).training.backbone or ""
    return next((make for pattern, make in ORIGINS.items() if re.fullmatch(pattern, backbone)), None)


MODELS = [name for name in api.list_models(origin=None) if origin(name)]
OF_2X = [name for name in MODELS if api.get(name).checkpoint.path.startswith("v2.0/")]


def test_there_are_28_of_them_in_mmdetection_2():
    assert len(OF_2X) == 28


SIZES = ("type", "arch", "depth", "embed_dims", "depths", "num_heads", "window_size", "num_layers", "mlp_ratios")
LARGE = re.compile(r"swin_(small|base|large)|pvt_(small|medium)|pvt_v2_b[12345]")


def backbones():
    """The backbones of different sizes, each with the first of the models that start from such a file."""
    result = {}
    for name in MODELS:
        description = api.architecture(name)["backbone"]
        sizes = repr([description.get(key) for key in SIZES])
        result.setdefault((origin(name), sizes), (description, name))
    return [
        pytest.param(
            make,
            description,
            id=name,
            marks=[pytest.mark.slow] if LARGE.search(api.get(name).training.backbone) else [],
        )
        for (make, _), (description, name) in result.items()
    ]


def file_of(make, description):
    """Random tensors in the authors' names."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.zeros(shape, dtype=torch.int64)
        if name.endswith(("index", "tracked", "ptr"))
        else torch.rand(shape, generator=generator)
        for name, shape in make(description)
    }


def started(description, state, monkeypatch):
    """The backbone of a description after starting from a file with these tensors."""
    with torch.device("meta"):
        backbone = component(description)
    backbone.to_empty(device="cpu")  # nothing of it but the norms of feature maps is kept
    monkeypatch.setattr(initial_weights, "read", lambda path: Checkpoint(dict(state)))
    initial_weights.from_backbone(SimpleNamespace(backbone=backbone), "file.pth")
    return backbone


@pytest.mark.parametrize(("make", "description"), backbones())
def test_training_starts_from_the_file_with_its_authors_names(make, description, monkeypatch):
    theirs = file_of(make, description)
    ours = started(description, theirs, monkeypatch).state_dict()
    fresh = [name for name in ours if re.fullmatch(r"norm\d\.(weight|bias)", name)]  # of Swin's feature maps
    assert make is authors.swin or not fresh
    used = [tensor[:, 1:] if name == "pos_embed4" else tensor for name, tensor in theirs.items() if kept(name)]
    assert checksum(tensor for name, tensor in ours.items() if name not in fresh) == pytest.approx(checksum(used))


def kept(name):
    """Whether a detector's backbone has a tensor of the authors' file, which classifiers and projections are not."""
    return not re.match(
        r"(norm|head)\.|cls_token|.*\.attn_mask$|module\.(encoder_k|encoder_q\.fc|queue|projection|prototypes)", name
    )


def checksum(tensors):
    """The sum of the squares of all numbers, which no renaming and no reordering changes."""
    return sum(float(tensor.square().sum(dtype=torch.float64)) for tensor in tensors)


def centered(state):
    """Numbers around zero, so that what goes into norms varies."""
    return {name: tensor - 0.5 if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def features(network, image):
    with torch.no_grad():
        return network.eval()(image)


def test_swin_started_from_its_authors_names_computes_what_timm_computes(monkeypatch):
    timm = pytest.importorskip("timm", reason="timm is not installed")
    from timm.models.swin_transformer import checkpoint_filter_fn

    theirs = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0)
    description = api.architecture("mask_rcnn_swin-t-p4-w7_fpn_ms-crop-3x_coco")["backbone"]
    state = centered(file_of(authors.swin, description))
    backbone = started(description, state, monkeypatch)
    for i in range(4):
        setattr(backbone, f"norm{i}", torch.nn.Identity())  # timm's maps have no norms
    unnamed = ("attn_mask", "relative_position_index", "head.")
    converted = checkpoint_filter_fn({k: v for k, v in state.items() if not any(map(k.__contains__, unnamed))}, theirs)
    missing, surplus = theirs.load_state_dict(converted, strict=False)
    assert [name for name in missing if "relative_position_index" not in name] == surplus == []
    index = {n: t for n, t in component(description).state_dict().items() if n.endswith("relative_position_index")}
    backbone.load_state_dict(index, strict=False)  # which the made-up file has as zeros
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = theirs.eval().forward_intermediates(image, intermediates_only=True)
    # The last map is as large as a window: classifiers do not shift that, detectors do.
    for have, want in zip(features(backbone, image)[:3], expected, strict=False):
        torch.testing.assert_close(have, want, atol=1e-3, rtol=1e-3)


def test_pvt_v2_started_from_its_authors_names_computes_what_timm_computes(monkeypatch):
    timm = pytest.importorskip("timm", reason="timm is not installed")
    from timm.models.pvt_v2 import checkpoint_filter_fn

    theirs = timm.create_model("pvt_v2_b0", features_only=True)
    description = api.architecture("retinanet_pvtv2-b0_fpn_1x_coco")["backbone"]
    state = centered(file_of(authors.pvt_v2, description))
    backbone = started(description, state, monkeypatch)
    converted = {re.sub(r"^stages\.(\d)", r"stages_\1", k): v for k, v in checkpoint_filter_fn(state, theirs).items()}
    missing, _ = theirs.load_state_dict(converted, strict=False)
    assert missing == []
    image = torch.randn(1, 3, 128, 160)
    for have, want in zip(features(backbone, image), features(theirs, image)):
        torch.testing.assert_close(have, want, atol=1e-3, rtol=1e-3)
