"""What an exported graph computes, and how its outputs become detections.

A graph takes one padded image and the image's size inside the padding, and gives what the network finds in input
pixels. Masks are left as the network makes them, since images differ in size: the probabilities inside each box of
Mask R-CNN and its relatives, the heatmaps of Keypoint R-CNN (its graph's `keypoints`, (K, P, 56, 56) logits), the
probabilities of the whole input of YOLACT and SOLO. MaskFormer's graph ends with its queries, and that of a dense head
with soft suppression before it. `Kind.finish` makes the image's detections, masks, keypoints and panoptic maps of them,
with the functions that the network itself uses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.models.dense_heads.corner import CornerHead
from zoo.models.dense_heads.paa import PAAHead
from zoo.models.dense_heads.rtmdet_ins import RTMDetInsSepBNHead
from zoo.models.detectors.base import Detector
from zoo.models.detectors.condinst import CondInst
from zoo.models.detectors.ddq_detr import DDQDETR
from zoo.models.detectors.detection_transformer import DetectionTransformer
from zoo.models.detectors.diffusiondet import DiffusionDet
from zoo.models.detectors.maskformer import MaskFormer
from zoo.models.detectors.panoptic_fpn import PanopticFPN
from zoo.models.detectors.single_stage import SingleStageDetector
from zoo.models.detectors.solo import SOLO
from zoo.models.detectors.two_stage import RPN, FastRCNN, TwoStageDetector
from zoo.models.detectors.yolact import YOLACT
from zoo.models.layers.masks import paste_masks
from zoo.models.layers.nms import suppress
from zoo.models.roi_heads.mask_scoring import MaskScoringRoIHead
from zoo.models.segmentation.solo_head import image_masks
from zoo.structures import Detections, ImageGeometry

Size = tuple[int, int]


class ExportError(ZooError):
    """A network that cannot be exported, or a graph that does not do what the network does."""


class Kind(NamedTuple):
    """One kind of graph.

    outputs: names. compute: from the network, the input (1, 3, H, W) and the image's geometry in it to these outputs.
    finish: from the network, the outputs, the image's geometry and the input's (h, w) to detections in its
    output coordinates.
    """

    outputs: tuple[str, ...]
    compute: Callable[[Any, Tensor, Sequence[ImageGeometry]], tuple[Tensor, ...]]
    finish: Callable[[Any, Sequence[Tensor], ImageGeometry, Size], Detections]


class Graph(nn.Module):
    """What is exported: one image in, plain tensors out."""

    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.model = model
        self.kind = kind_of(model)

    def forward(self, images: Tensor, size: Any) -> tuple[Tensor, ...]:
        """The outputs of the graph's kind.

        images: (1, 3, H, W), normalized and padded. size: height and width of the image inside the padding, two
        numbers or an integer tensor (2,).
        """
        extent: Any = tuple(size.unbind()) if isinstance(size, Tensor) else size
        return self.kind.compute(self.model, images, [ImageGeometry(extent, extent)])


def detected(*fields: str) -> Callable[[Any, Tensor, Sequence[ImageGeometry]], tuple[Tensor, ...]]:
    """Some fields of what the network detects."""

    def compute(model: Any, images: Tensor, geometries: Sequence[ImageGeometry]) -> tuple[Tensor, ...]:
        detections = model.predict(images, geometries)[0]
        return tuple(getattr(detections, field) for field in fields)

    return compute


def candidates(model: Any, images: Tensor, geometries: Sequence[ImageGeometry]) -> tuple[Tensor, ...]:
    """Boxes, scores and labels that a dense head hands to soft suppression, best first."""
    head, settings = model.bbox_head, model.bbox_head.test_cfg
    head.test_cfg = {**settings, "nms": None, "max_per_img": -1}
    try:
        return BOX_KIND.compute(model, images, geometries)
    finally:
        head.test_cfg = settings


def panoptic_parts(model: Any, images: Tensor, geometries: Sequence[ImageGeometry]) -> tuple[Tensor, ...]:
    """Instances with region masks, and the segmentation's logits (C, h, w)."""
    (result,), logits = model.parts(images, geometries)
    return result.boxes, result.scores, result.labels, result.masks, logits[0]


def query_outputs(model: Any, images: Tensor, geometries: Sequence[ImageGeometry]) -> tuple[Tensor, ...]:
    """The queries' class logits (Q, C + 1) and mask logits (Q, h, w) of the last layer."""
    logits, masks = model.outputs(images, geometries)
    return logits[-1][0], masks[-1][0]


def boxes(model: Any, outputs: Sequence[Tensor], geometry: ImageGeometry, size: Size) -> Detections:
    """Detections without masks."""
    return Detections(*outputs[:3]).to_output(geometry)


def softly_suppressed(model: Any, outputs: Sequence[Tensor], geometry: ImageGeometry, size: Size) -> Detections:
    """Detections after soft suppression of the graph's candidates."""
    settings = model.bbox_head.test_cfg
    detections = suppress(outputs[0], outputs[1], outputs[2], settings["nms"], settings.get("max_per_img", -1))
    return detections.to_output(geometry)


def region_masks(model: Any, outputs: Sequence[Tensor], geometry: ImageGeometry, size: Size) -> Detections:
    """Masks pasted where their boxes are."""
    detections = boxes(model, outputs, geometry, size)
    threshold = model.roi_head.test_cfg["mask_thr_binary"]
    detections.masks = paste_masks(outputs[3], detections.boxes, geometry.output_size, threshold)
    return detections


def scored_masks(model: Any, outputs: Sequence[Tensor], geometry: ImageGeometry, size: Size) -> Detections:
    """Pasted masks with scores of their own."""
    detections = region_masks(model, outputs, geometry, size)
    detections.mask_scores = outputs[4]
    return detections


def prototype_masks(model: Any, outputs: Sequence[Tensor], geometry: ImageGeometry, size: Size) -> Detections:
    """YOLACT's masks, stretched over the image."""
    detections = boxes(model, outputs, geometry, size)
    detections.masks = model.mask_head.stretched(outputs[3], geometry)
    return detections


def input_masks(model: Any, outputs: Sequence[Tensor], geometry: ImageGeometry, size: Size) -> Detections:
    """RTMDet-Ins's and CondInst's masks of the whole input, cut to the image and brought to its size."""
    detections = boxes(model, outputs, geometry, size)
    head = model.mask_head if isinstance(model, CondInst) else model.bbox_head
    detections.masks = head.image_masks(outputs[3], geometry)
    return detections


def grid_masks(model: Any, outputs: Sequence[Tensor], geometry: ImageGeometry, size: Size) -> Detections:
    """SOLO's masks, cut to the image; its boxes are zero."""
    detections = Detections(*outputs[:3])
    detections.masks = image_masks(outputs[3], geometry, model.mask_head.test_cfg["mask_thr"])
    return detections


def fused_map(model: Any, outputs: Sequence[Tensor], geometry: ImageGeometry, size: Size) -> Detections:
    """Instances and segmentation as a panoptic map."""
    detections = region_masks(model, outputs, geometry, size)
    detections.panoptic = model.fused(detections, outputs[4], geometry, size)
    return detections


def fused_queries(model: Any, outputs: Sequence[Tensor], geometry: ImageGeometry, size: Size) -> Detections:
    """MaskFormer's instances or panoptic map."""
    detections: Detections = model.fused(outputs[0], outputs[1], geometry, size)
    return detections


def region_keypoints(model: Any, outputs: Sequence[Tensor], geometry: ImageGeometry, size: Size) -> Detections:
    """Keypoints read from the heatmaps of the regions."""
    detections = Detections(*outputs[:3])
    detections.keypoints = model.roi_head.keypoint_head.decode(outputs[3], detections.boxes)
    return detections.to_output(geometry)


FOUND = ("boxes", "scores", "labels")
MASKS, SCORED = (*FOUND, "masks"), (*FOUND, "masks", "mask_scores")
BOX_KIND = Kind(FOUND, detected(*FOUND), boxes)
SOFT_KIND = Kind(FOUND, candidates, softly_suppressed)
REGION_KIND = Kind(MASKS, detected(*MASKS), region_masks)
SCORED_KIND = Kind(SCORED, detected(*SCORED), scored_masks)
PROTOTYPE_KIND = Kind(MASKS, detected(*MASKS), prototype_masks)
KEYPOINT_KIND = Kind((*FOUND, "keypoints"), detected(*FOUND, "keypoints"), region_keypoints)
INPUT_KIND = Kind(MASKS, detected(*MASKS), input_masks)
GRID_KIND = Kind(MASKS, detected(*MASKS), grid_masks)
PANOPTIC_KIND = Kind((*MASKS, "semantic"), panoptic_parts, fused_map)
QUERY_KIND = Kind(("logits", "masks"), query_outputs, fused_queries)


def kind_of(model: nn.Module) -> Kind:
    """The kind of a network's graph. Raises ExportError for one without a graph."""
    if isinstance(model, FastRCNN):
        raise ExportError("Fast R-CNN cannot be exported: it classifies regions that come with the call")
    if any("soft_nms" in str(getattr(module, "test_cfg", "")) for module in model.modules()):
        return soft_kind(model)
    if isinstance(model, (DDQDETR, DiffusionDet)):
        raise ExportError(f"{type(model).__name__} cannot be exported: no graph of it has been tried")
    if isinstance(model, TwoStageDetector):
        return two_stage_kind(model)
    if isinstance(model, CondInst) or isinstance(getattr(model, "bbox_head", None), RTMDetInsSepBNHead):
        return INPUT_KIND
    kinds = ((MaskFormer, QUERY_KIND), (SOLO, GRID_KIND), (YOLACT, PROTOTYPE_KIND))
    for detector, kind in (*kinds, (SingleStageDetector, BOX_KIND), (DetectionTransformer, BOX_KIND), (RPN, BOX_KIND)):
        if isinstance(model, detector):
            return kind
    raise ExportError(f"{type(model).__name__} cannot be exported: it is not a detector that has a graph")


def soft_kind(model: nn.Module) -> Kind:
    """A dense head's candidates. Raises ExportError for corners, and where something follows."""
    head = getattr(model, "bbox_head", None)
    later = isinstance(model, CondInst) or isinstance(head, (RTMDetInsSepBNHead, PAAHead, CornerHead))
    if later or not isinstance(model, SingleStageDetector):
        raise ExportError("soft suppression cannot be exported: it takes as many steps as there are boxes")
    return SOFT_KIND


def two_stage_kind(model: TwoStageDetector) -> Kind:
    """Boxes alone, or with the masks or heatmaps of regions."""
    if isinstance(model, PanopticFPN):
        return PANOPTIC_KIND
    if isinstance(model.roi_head, MaskScoringRoIHead):
        return SCORED_KIND
    if getattr(model.roi_head, "keypoint_head", None) is not None:
        return KEYPOINT_KIND
    return REGION_KIND if getattr(model.roi_head, "mask_head", None) is not None else BOX_KIND
