"""Graphs that take any number of images at once: the network's layers, without what follows them image by image.

Choosing candidates and suppression give as many detections as there are, so a graph of several images ends before them:
with the maps of a dense head, or with the queries of DETR, MaskFormer and their relatives, each (N, ...). What follows
is done by the network's own functions. Regions of two-stage networks differ in number; these have no such graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from zoo.export.graph_outputs import ExportError, kind_of
from zoo.models.build import component
from zoo.models.detectors.base import Detector
from zoo.models.detectors.ddq_detr import DDQDETR
from zoo.models.detectors.detection_transformer import DetectionTransformer
from zoo.models.detectors.detr import DETR
from zoo.models.detectors.maskformer import MaskFormer
from zoo.models.detectors.single_stage import SingleStageDetector
from zoo.structures import Detections, ImageGeometry

Size = tuple[int, int]
MAP = "map"


class BatchGeometry(NamedTuple):
    """Where images lie inside their input, as a tensor: sizes (N, 2), height and width of each."""

    sizes: Tensor


class BatchKind(NamedTuple):
    """One kind of graph of several images.

    compute: from the network, inputs (N, 3, H, W) and the geometry of their images to named outputs (N, ...).
    finish: from the network, these outputs, the images' geometries and the input's (h, w) to `Detections` per image.
    """

    compute: Callable[[Any, Tensor, Any], dict[str, Tensor]]
    finish: Callable[[Any, Mapping[str, Tensor], Sequence[ImageGeometry], Size], list[Detections]]


class BatchGraph(nn.Module):
    """What is exported: images in, plain tensors out."""

    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.model = model
        self.kind = batch_kind_of(model)

    def forward(self, images: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        """images: (N, 3, H, W), normalized and padded. size: (N, 2), heights and widths inside the padding."""
        return tuple(self.kind.compute(self.model, images, BatchGeometry(size)).values())


def output_names(model: Detector, image: Tensor) -> list[str]:
    """What the outputs of a network's graph are called. image: (3, H, W), an example."""
    sizes = torch.tensor([image.shape[1:]])
    with torch.no_grad():
        return list(batch_kind_of(model).compute(model, image[None], BatchGeometry(sizes)))


def head_maps(model: Any, images: Tensor, geometries: BatchGeometry) -> dict[str, Tensor]:
    """The maps of a dense head: output i of level j is `map_i_j`."""
    return flat(model.bbox_head(model.features(images)))


def flat(outputs: Sequence[Sequence[Tensor]]) -> dict[str, Tensor]:
    """Maps by name, of a head's outputs level by level."""
    return {f"{MAP}_{i}_{j}": x for i, levels in enumerate(outputs) for j, x in enumerate(levels)}


def nested(maps: Mapping[str, Tensor]) -> tuple[list[Tensor], ...]:
    """The inverse of `flat`."""
    outputs: list[list[Tensor]] = []
    for name, value in maps.items():
        index = int(name.split("_")[1])
        outputs += [[] for _ in range(index + 1 - len(outputs))]
        outputs[index].append(value)
    return tuple(outputs)


def from_maps(
    model: Any, maps: Mapping[str, Tensor], geometries: Sequence[ImageGeometry], size: Size
) -> list[Detections]:
    """Detections as the dense head makes them of its maps."""
    detections = model.bbox_head.predict(nested(maps), geometries)
    return [one.to_output(geometry) for one, geometry in zip(detections, geometries)]


def queries(model: Any, images: Tensor, geometries: BatchGeometry) -> dict[str, Tensor]:
    """Class logits (N, Q, C) and boxes (N, Q, 4) of the last layer."""
    outputs = model.outputs(images, geometries)
    return {"logits": outputs[0][-1], "query_boxes": outputs[1][-1]}


def from_queries(
    model: Any, outputs: Mapping[str, Tensor], geometries: Sequence[ImageGeometry], size: Size
) -> list[Detections]:
    """The best queries of each image."""
    detections = model.bbox_head.predict((outputs["logits"][None], outputs["query_boxes"][None]), geometries)
    return [one.to_output(geometry) for one, geometry in zip(detections, geometries)]


def mask_queries(model: Any, images: Tensor, geometries: BatchGeometry) -> dict[str, Tensor]:
    """Class logits (N, Q, C + 1) and mask logits (N, Q, h, w) of the last layer."""
    logits, masks = model.outputs(images, geometries)
    return {"logits": logits[-1], "masks": masks[-1]}


def from_mask_queries(
    model: Any, outputs: Mapping[str, Tensor], geometries: Sequence[ImageGeometry], size: Size
) -> list[Detections]:
    """Instances or panoptic maps of each image."""
    rows = zip(outputs["logits"], outputs["masks"], geometries)
    return [model.fused(logits, masks, geometry, size) for logits, masks, geometry in rows]


MAPS_KIND = BatchKind(head_maps, from_maps)
QUERIES_KIND = BatchKind(queries, from_queries)
MASK_QUERIES_KIND = BatchKind(mask_queries, from_mask_queries)


def batch_kind_of(model: nn.Module) -> BatchKind:
    """The kind of a network's graph of several images. Raises ExportError for one without such a graph."""
    if isinstance(model, MaskFormer):
        return MASK_QUERIES_KIND
    if isinstance(model, (DETR, DetectionTransformer)) and not isinstance(model, DDQDETR):
        return QUERIES_KIND
    if isinstance(model, SingleStageDetector) and type(model).predict is SingleStageDetector.predict:
        return MAPS_KIND
    kind_of(model)  # says why, where it has no graph at all
    raise ExportError(
        f"{type(model).__name__} has no graph of several images: what it finds in each is an input of its later layers"
    )


def with_constants(model: Any) -> Any:
    """A network without weights, whose dense head has the tensors that do not come from a checkpoint: its anchors."""
    if batch_kind_of(model) is MAPS_KIND:
        settings = {key: model.description.get(key) for key in ("train_cfg", "test_cfg")}
        model.bbox_head = component(model.description["bbox_head"], **settings).eval()
    return model
