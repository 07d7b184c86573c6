"""What keeps inference fast: no waiting for the device, no graph breaks, no needless passes over memory."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import roi_align

import zoo
from benchmarks.perf.pretended_device import PretendCuda
from benchmarks.speed.optimizations import compiled_parts
from zoo.models.backbones.resnet import ResNet
from zoo.models.layers import onednn
from zoo.models.layers.linear import linear
from zoo.models.layers.memory_format import added, by_cells, eager_on_cpu, pixel_by_pixel, plain_on_cpu, zero_maps
from zoo.models.layers.norm import make_norm
from zoo.models.layers.winograd_choice import as_defined
from zoo.models.necks.fpn import FPN
from zoo.models.roi_heads import roi_align_cpu
from zoo.models.roi_heads.roi_layers import RoIAlign
from zoo.structures import ImageGeometry

# Where the host learns from the device how many of something there are, and the copies of boxes, scores, labels and
# masks to the host; nothing else may make it wait, no copy to the device either. RetinaNet and YOLOX: candidates,
# survivors. Two stages: small proposals, survivors, regions per level, pairs above the threshold, survivors again;
# masks: regions per level.
WAITS = {
    "faster_rcnn_r50_fpn_1x_coco": {"nonzero": 2, "nms": 2, "tolist": 1, "device to host": 3},
    "mask_rcnn_r50_fpn_1x_coco": {"nonzero": 2, "nms": 2, "tolist": 2, "device to host": 4},
    "retinanet_r50_fpn_1x_coco": {"tolist": 1, "nms": 1, "device to host": 3},
    "yolox_s_8x8_300e_coco": {"nonzero": 1, "nms": 1, "device to host": 3},
    "detr_r50_8x2_150e_coco": {"device to host": 3},
}


@pytest.fixture(scope="module")
def networks():
    """Each network once, with a threshold that lets something through."""
    torch.manual_seed(0)
    built = {name: zoo.build(name) for name in WAITS}
    for model in built.values():
        head = getattr(model, "roi_head", None) or model.bbox_head
        head.test_cfg = {**head.test_cfg, "score_thr": 1e-5, "max_per_img": 5}
    return built


@pytest.mark.parametrize("name", WAITS)
def test_the_host_waits_for_the_device_only_where_it_must_count(networks, name):
    geometry = ImageGeometry((120, 150), (240, 300), (0.5, 0.5))
    with PretendCuda() as gpu, torch.inference_mode():
        with torch.inference_mode(False):
            model = copy.deepcopy(networks[name]).to("cuda")
        images = torch.randn(1, 3, 128, 160).to("cuda")
        model.predict(images, [geometry])  # fills the caches
        gpu.clear()
        (detections,) = model.predict(images, [geometry])
        detections = detections.to("cpu")
    assert len(detections) > 0
    assert dict(gpu.kinds) == WAITS[name], gpu.waits


@pytest.mark.parametrize("name", [name for name in WAITS if not name.startswith("faster")])  # in Mask R-CNN's
def test_backbone_neck_and_heads_are_one_graph_each(networks, name, monkeypatch):
    monkeypatch.setattr(onednn, "has_onednn", lambda: False)  # a graph has PyTorch's choice of kernels
    keep: dict[nn.Module, tuple] = {}
    parts, model = compiled_parts(networks[name]), networks[name]
    if not name.startswith("mask"):
        parts = [part for part in parts if not isinstance(part, ResNet)]  # one is enough
    hooks = [part.register_forward_pre_hook(lambda part, args: keep.setdefault(part, args) and None) for part in parts]
    with torch.inference_mode():
        model(torch.randn(1, 3, 128, 160))
        for hook in hooks:
            hook.remove()
        assert parts and set(keep) == set(parts)
        torch.compiler.reset()
        for part, args in keep.items():
            whole = torch.compile(part, backend="eager", fullgraph=True)
            with as_defined():
                have_all, want_all = flat(whole(*args)), flat(part(*args))
            for have, want in zip(have_all, want_all, strict=True):
                assert torch.equal(have, want)


def flat(outputs) -> list[torch.Tensor]:
    """The tensors in nested outputs."""
    return [outputs] if torch.is_tensor(outputs) else [tensor for part in outputs for tensor in flat(part)]


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 1, 2, 3])
@pytest.mark.parametrize(("size", "scale"), [((7, 7), 1 / 16), ((14, 5), 1 / 4)])
def test_regions_as_sums_of_rows_are_what_torchvision_pools(aligned, ratio, size, scale):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 8, 25, 38, generator=generator)
    center = torch.rand(200, 2, generator=generator) * torch.tensor([700.0, 500.0]) - 50  # some reach beyond the map
    half = torch.rand(200, 2, generator=generator) ** 3 * 300
    half[:3], half[3, 0] = 0, 0  # without area
    image = torch.randint(0, 2, (200, 1), generator=generator).float()
    rois = torch.cat([image, center - half, center + half], dim=1)
    rois[4, 1:] = rois[4, [3, 4, 1, 2]]  # inside out
    want = roi_align(features, rois, size, scale, ratio, aligned)
    with torch.inference_mode():
        have = roi_align_cpu.align_rows(features, rois, size, scale, ratio, aligned)
        assert torch.allclose(have, want, atol=1e-5)
        assert roi_align_cpu.align_rows(features, rois[:0], size, scale, ratio, aligned).shape == (0, 8, *size)


@pytest.mark.parametrize("ratio", [0, 2])
def test_regions_whose_corners_are_no_numbers_are_empty(ratio):
    features, rois = torch.randn(1, 4, 16, 16), torch.tensor([[0, 1, 1, 9.0, 9]] * 4)
    rois[1, 3], rois[2, 1], rois[3, 1:] = torch.nan, -torch.inf, torch.nan
    want = roi_align(features, rois[:1], (2, 2), 1.0, ratio, True)
    have = roi_align_cpu.align_rows(features, rois, (2, 2), 1.0, ratio, True)
    assert torch.allclose(have[:1], want, atol=1e-5) and not have[1:].any()


def test_regions_are_pooled_in_parts_where_weights_would_fill_the_memory(monkeypatch):
    features, rois = torch.randn(1, 4, 64, 64), torch.tensor([[0, 0, 0, 63.0, 63], [0, 1, 1, 63, 63]])
    want = roi_align(features, rois, (2, 2), 1.0, 0, True)
    monkeypatch.setattr(roi_align_cpu, "WEIGHTS", 1)
    with torch.inference_mode():
        assert torch.allclose(roi_align_cpu.align_rows(features, rois, (2, 2), 1.0, 0, True), want, atol=1e-5)


def test_inference_is_where_nothing_needs_gradients():
    features = torch.randn(1, 4, 8, 8)
    assert plain_on_cpu(features) and not eager_on_cpu(features)
    with torch.inference_mode():
        assert eager_on_cpu(features) and not eager_on_cpu(features.half())


@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_regions_as_sums_of_rows_have_the_gradient_of_torchvision(layout, ratio):
    """The features', that is: regions get none, whether they want one or not."""
    torch.manual_seed(0)
    features = torch.randn(2, 8, 20, 24).contiguous(memory_format=layout).requires_grad_()
    corner = torch.rand(30, 2) * 60
    rois = torch.cat([torch.randint(0, 2, (30, 1)), corner, corner + torch.rand(30, 2) * 90], dim=1).requires_grad_()
    layer = RoIAlign(7, 1 / 4, ratio)
    upstream = torch.randn(30, 8, 7, 7)
    (want,) = torch.autograd.grad(roi_align(features, rois.detach(), 7, 1 / 4, ratio, True), features, upstream)
    result = layer(features, rois)
    assert graph_of(result).count("EmbeddingBag") == 1, "each has a gradient of the whole map"
    have, none = torch.autograd.grad(result, [features, rois], upstream, allow_unused=True)
    assert torch.allclose(have, want, atol=1e-4) and none is None


def graph_of(result):
    """The names of what a result was computed by."""
    names, waiting = "", [result.grad_fn]
    while waiting:
        node = waiting.pop()
        names += f" {type(node).__name__}"
        waiting += [parent for parent, _ in node.next_functions if parent is not None]
    return names


def test_batch_norm_overwrites_its_input_with_the_same_numbers_in_inference_only():
    norm = make_norm({"type": "BN"}, 3, inplace=True)[1].eval()
    nn.init.uniform_(norm.running_mean), nn.init.uniform_(norm.running_var, 0.5, 2)
    x = torch.randn(2, 3, 4, 5)
    want = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    assert norm(x) is not x and torch.equal(norm(x), want)
    with torch.inference_mode():
        for layout in (torch.contiguous_format, torch.channels_last):
            images = x.clone(memory_format=layout)
            have = norm(images)
            assert have.data_ptr() == images.data_ptr() and torch.equal(have, want)
        assert norm.train()(x) is not x
        shared = make_norm({"type": "BN"}, 3)[1].eval()
        assert shared(x).data_ptr() != x.data_ptr()


def test_a_sum_overwrites_only_what_nothing_remembers():
    x, y = torch.ones(2, requires_grad=True), torch.ones(2)
    remembered = x.exp()
    assert added(x, y) is not x and x.tolist() == [1, 1]
    assert added(remembered, y) is not remembered and torch.equal(remembered, x.exp())
    with torch.no_grad():
        assert added(x, y) is x and x.tolist() == [2, 2]
    assert added(y, x) is y and y.tolist() == [3, 3] and y.requires_grad


def test_a_sum_does_not_change_the_type_of_what_it_overwrites():
    half = torch.ones(2, dtype=torch.bfloat16)
    assert added(half, torch.ones(2)).dtype == torch.float32 and half.tolist() == [1, 1]


@pytest.mark.parametrize("step", [nn.BatchNorm2d(3), nn.BatchNorm2d(3).eval(), nn.GroupNorm(1, 3), nn.Conv2d(3, 3, 1)])
def test_a_sum_overwrites_what_normalized_it_in_training_with_the_same_gradients(step):
    x, y = torch.randn(2, 3, 4, 5, requires_grad=True), torch.randn(2, 3, 4, 5, requires_grad=True)
    inputs = [x, y, *step.parameters()]
    want = torch.autograd.grad((step(x) + y).relu().square().sum(), inputs)
    normalized = step(x)
    have = added(normalized, y)
    assert have is normalized
    for gradient, wanted in zip(torch.autograd.grad(have.relu().square().sum(), inputs), want, strict=True):
        assert torch.allclose(gradient, wanted, atol=1e-5)


def test_images_are_laid_out_for_the_cpu_in_inference_only():
    images = torch.rand(1, 3, 640, 480)
    assert pixel_by_pixel(images) is images
    with torch.inference_mode():
        laid, small = pixel_by_pixel(images), images[:, :, :4, :5].contiguous()
        assert pixel_by_pixel(small) is small  # little to gain, and steady sums to lose
        assert by_cells(pixel_by_pixel(small, "SSDVGG"))
        assert by_cells(zero_maps(2, 3, (4, 5), images))
    assert by_cells(laid) and torch.equal(laid, images)
    assert by_cells(zero_maps(2, 3, (4, 5), laid)) and not by_cells(zero_maps(2, 3, (4, 5), images))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_linear_layer_on_maps_is_one_on_their_values(layout):
    layer, maps = nn.Linear(4 * 3 * 3, 5), torch.randn(6, 4, 3, 3)
    assert torch.allclose(linear(layer, maps.contiguous(memory_format=layout)), layer(maps.flatten(1)), atol=1e-5)
    assert linear(layer, torch.randn(0, 4, 3, 3)).shape == (0, 5)


@pytest.mark.parametrize("name", ["retinanet_r50_fpn_1x_coco", "yolox_s_8x8_300e_coco"])
def test_anchors_and_grids_are_made_once_for_each_size(networks, name):
    generator = networks[name].bbox_head.prior_generator
    sizes = [(8, 10)] * len(generator.strides)
    first, again = generator.grid_priors(sizes), generator.grid_priors(sizes)
    assert all(a is b for a, b in zip(first, again))
    assert generator.grid_priors([(9, 10)] * len(sizes))[0].shape != first[0].shape


@pytest.mark.parametrize("size", [(12, 16), (11, 15)])
def test_a_pyramid_adds_the_coarser_map_without_a_map_between_them(size, monkeypatch):
    """The same bits; of maps that are not twice as large, and for gradients, the way of any other map."""
    torch.manual_seed(0)
    neck = FPN([4, 4], 8, 2).eval()
    fine, coarse = torch.randn(1, 4, *size), torch.randn(1, 4, 6, 8)
    inputs = [x.contiguous(memory_format=torch.channels_last) for x in (fine, coarse)]
    want, calls = neck(inputs), []
    monkeypatch.setattr(neck, "upsample", lambda x, like: calls.append(x) or FPN.upsample(neck, x, like))
    with torch.inference_mode():
        assert all(torch.equal(a, b) for a, b in zip(neck(inputs), want, strict=True))
    assert len(calls) == (size != (12, 16))
