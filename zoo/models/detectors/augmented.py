"""Test-time augmentation: detections in an image at several scales, and in their mirror images, merged by NMS.

The method of MMDetection 3.x (`DetTTAModel`): every version of the image is detected in as usual, detections return to
the coordinates of the image, and are suppressed within classes. RTMDet's settings are the published ones: every version
is padded to the size of the largest, and NMS is at an IoU of 0.6. CenterNet and CornerNet have a way of their own, with
which their accuracies were published; it is used for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from zoo.coco_format.keypoints import PERSON, mirrored_order
from zoo.errors import UsageError
from zoo.models.detectors.base import Detector
from zoo.models.detectors.keypoint import KeypointDetector, flipped
from zoo.models.layers.nms import batched_nms
from zoo.models.segmentation.maskformer_fusion import mask_boxes
from zoo.preprocessing.preprocess import Preprocessor, apply, read_image
from zoo.preprocessing.recipe import Pad, Preprocessing, Resize
from zoo.structures import Detections, Sample

SCALES = (1.0, 0.5, 1.5)
KEPT, STRIDE = 100, 32


@dataclass
class Versions(Sample):
    """A preprocessed image, and the same image at other scales. others: their samples."""

    others: tuple[Sample, ...] = ()


class Augmented(nn.Module):
    """A detector that looks at several versions of each image; `detect` and `detect_sample` are those of `Detector`.

    recipe: the detector's preprocessing, by default what it was built or loaded with. scales: factors of its size, by
    default SCALES, and 1 where that size is fixed. flip: also mirror images. Raises UsageError for panoptic maps, which
    no reference merges, and where the preprocessing is not known.
    """

    def __init__(
        self,
        detector: Detector,
        recipe: Preprocessing | None = None,
        scales: Sequence[float] | None = None,
        flip: bool = True,
    ) -> None:
        super().__init__()
        require_mergeable(detector)
        recipe = recipe or recipe_of(detector)
        scales = scales or (SCALES if is_scalable(recipe) else (1.0,))
        self.detector, self.flip = detector, flip
        self.classes, self.pixel_center, self.label_count = (
            detector.classes,
            detector.pixel_center,
            detector.label_count,
        )
        self.own = isinstance(detector, KeypointDetector) and detector.merges_flips
        self.recipes = [recipe] if self.own else [scaled(recipe, factor) for factor in scales]
        if getattr(head_of(detector), "tta_pads_to_largest", False):
            self.recipes = padded_alike(self.recipes)
        if self.own:
            detector.flip_test = True  # type: ignore[assignment]
        self.preprocess: Callable[[Any], Sample] = self.versions

    def versions(self, source: Any) -> Sample:
        """The network inputs of an image. Raises UnreadableImage."""
        image = read_image(source, self.recipes[0].decoder)
        first, *others = (apply(recipe, image) for recipe in self.recipes)
        values = {f.name: getattr(first, f.name) for f in fields(Sample)}
        return Versions(**values, others=tuple(others))

    @torch.inference_mode()
    def detect(self, images: Sequence[Any], device: torch.device | str | None = None) -> list[Detections]:
        """Detections in original image coordinates, on the CPU. images: files, or BGR uint8 arrays (H, W, 3)."""
        if device is not None:
            self.to(device)
        home = next(self.parameters())
        return [self.detect_sample(self.preprocess(image), home) for image in images]

    def detect_sample(self, sample: Sample, home: Tensor) -> Detections:
        """One image in all of its versions, in original coordinates, on the CPU."""
        if self.own:
            return self.detector.detect_sample(sample, home)
        result = []
        for one in (sample, *(sample.others if isinstance(sample, Versions) else ())):
            result.append(located(self.detector.detect_sample(one, home)))
            if self.flip:
                other = located(self.detector.detect_sample(mirror(one), home))
                result.append(mirrored(other, one.original_size[1], self.pixel_center))
        return merge(result, nms_of(self.detector))


def require_mergeable(detector: Detector) -> None:
    """Raise UsageError for a detector whose results are panoptic maps."""
    fusion: Any = getattr(detector, "panoptic_fusion_head", None)
    if fusion is not None and fusion.test_cfg.get("panoptic_on", True):
        raise UsageError(
            "Test-time augmentation does not support panoptic maps: neither MMDetection nor Detectron2 merges those of "
            "several versions of an image."
        )


def recipe_of(detector: Detector) -> Preprocessing:
    """The preprocessing that a detector was built or loaded with. Raises UsageError."""
    if not isinstance(detector.preprocess, Preprocessor):
        raise UsageError("Test-time augmentation needs a network that knows how its images are prepared.")
    return detector.preprocess.recipe


def is_scalable(recipe: Preprocessing) -> bool:
    """Whether images may have other sizes."""
    return any(isinstance(step, Resize) and step.scale and step.keep_ratio for step in recipe.steps)


def scaled(recipe: Preprocessing, factor: float) -> Preprocessing:
    """A preprocessing whose network inputs are larger by a factor. Raises UsageError where its size is fixed."""
    if factor == 1:
        return recipe
    if not is_scalable(recipe):
        raise UsageError("The network's input size is fixed, so images cannot be scaled; only flips are possible.")
    whole = any(isinstance(step, Pad) and step.divisor is None for step in recipe.steps)
    unit = STRIDE if whole else 1  # images padded to a given size must end on whole cells
    return replace(recipe, steps=tuple(larger(step, factor, unit) for step in recipe.steps))


def larger(step: Any, factor: float, unit: int) -> Any:
    """A step of the preprocessing, of another size in multiples of `unit`."""
    key = "scale" if isinstance(step, Resize) else "size"
    size = getattr(step, key, None)
    return replace(step, **{key: tuple(unit * round(side * factor / unit) for side in size)}) if size else step


def padded_alike(recipes: Sequence[Preprocessing]) -> list[Preprocessing]:
    """The recipes, all with the largest size that any of them pads to."""
    sized = [step for recipe in recipes for step in recipe.steps if isinstance(step, Pad) and step.size]
    largest = max((step.size for step in sized if step.size), default=None)
    return [
        replace(recipe, steps=tuple(replace(step, size=largest) if step in sized else step for step in recipe.steps))
        for recipe in recipes
    ]


def mirror(sample: Sample) -> Sample:
    """The mirror image. Padding stays on its side, also where it counts as a part of the image."""
    height, width = (min(a, round(b * c)) for a, b, c in zip(sample.size, sample.original_size, sample.scale[::-1]))
    return replace(flipped(replace(sample, size=(height, width))), size=sample.size)


def located(detections: Detections) -> Detections:
    """The detections, in the boxes of their masks where a network gives masks alone (SOLO, SparseInst)."""
    if detections.masks is None or detections.boxes.any():
        return detections
    return replace(detections, boxes=mask_boxes(detections.masks))


def mirrored(detections: Detections, width: int, pixel_center: float = 0.5) -> Detections:
    """Detections of a mirror image `width` pixels wide, in coordinates of the image."""
    x1, y1, x2, y2 = detections.boxes.unbind(dim=1)
    masks, keypoints = detections.masks, detections.keypoints
    return replace(
        detections,
        boxes=torch.stack([width - x2, y1, width - x1, y2], dim=1),
        masks=None if masks is None else masks.flip(2),
        keypoints=None if keypoints is None else mirrored_keypoints(keypoints, width - 1 + 2 * pixel_center),
    )


def mirrored_keypoints(keypoints: Tensor, total: float) -> Tensor:
    """Keypoints (K, P, 3) of a mirror image, left and right exchanged. total: of x here and x there.

    Raises UsageError where it is not known which ones are exchanged.
    """
    if keypoints.shape[1] != len(PERSON):
        raise UsageError("Test-time augmentation does not know which keypoints but a person's 17 are left and right.")
    moved = torch.stack([total - keypoints[..., 0], keypoints[..., 1], keypoints[..., 2]], dim=-1)
    return moved[:, mirrored_order(PERSON)]


def merge(detections: Sequence[Detections], nms: dict[str, Any]) -> Detections:
    """The best `KEPT` of the detections of all versions after NMS within classes, with masks and keypoints."""
    boxes, scores, labels = (
        torch.cat([getattr(one, key) for one in detections]) for key in ("boxes", "scores", "labels")
    )
    keep, kept_scores = batched_nms(boxes, scores, labels, nms, KEPT)
    merged = Detections(boxes[keep], kept_scores, labels[keep])
    for key in ("masks", "mask_scores", "keypoints"):
        parts = [getattr(one, key) for one in detections]
        if all(part is not None for part in parts):
            setattr(merged, key, torch.cat(parts)[keep])
    return merged


def nms_of(detector: Detector) -> dict[str, Any]:
    """The head's greedy NMS for merging, or its own; the reference's for one without."""
    head = head_of(detector)
    own = (getattr(head, "test_cfg", None) or {}).get("nms") or {}
    return {"type": "nms", "iou_threshold": getattr(head, "tta_iou", own.get("iou_threshold", 0.5))}


def head_of(detector: Detector) -> Any:
    """The head whose boxes are the detections."""
    return getattr(detector, "roi_head", None) or getattr(detector, "bbox_head", None)
