"""MMDetection's test pipelines (v2 and v3 configs) -> `Preprocessing`.

Both generations name their transforms alike. They differ in where the scale stands (v2: in MultiScaleFlipAug), in who
normalizes (v3: the model's data_preprocessor), and in what `Pad` means by a size and by a single number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.preprocessing.recipe import (
    CenterPad,
    Normalization,
    Normalize,
    Pad,
    Preprocessing,
    Resize,
    Step,
    Triple,
    triple,
)

Transform = Mapping[str, Any]

# Transforms that leave the image as it is at test time.
_NO_EFFECT = {
    "Collect",
    "DefaultFormatBundle",
    "ImageToTensor",
    "LoadAnnotations",
    "LoadImageFromFile",
    "LoadImageFromNDArray",
    "LoadImageFromWebcam",
    "LoadPanopticAnnotations",
    "LoadProposals",
    "PackDetInputs",
    "RandomFlip",
    "ToDataContainer",
    "ToTensor",
}
_STEPS = ("Resize", "Normalize", "Pad", "RandomCenterCropPad")


def parse_pipeline(pipeline: Sequence[Transform], data_preprocessor: Mapping[str, Any] | None = None) -> Preprocessing:
    """The recipe of an MMDetection config: v2's test pipeline, or v3's with `model.data_preprocessor`.

    Raises ValueError naming a transform that changes images in a way that is not known here.
    """
    outer = _first(pipeline, "MultiScaleFlipAug") or {}
    pipeline = [inner for t in pipeline for inner in (t["transforms"] if _kind(t) == "ProposalBroadcaster" else [t])]
    transforms = [t for t in pipeline if t is not outer] + list(outer.get("transforms", ()))
    _check_kinds(transforms)
    v3 = data_preprocessor is not None or _first(pipeline, "PackDetInputs") is not None
    steps = [step for t in transforms if (step := _step(t, outer, v3)) is not None]
    load = _first(pipeline, "LoadImageFromFile") or {}
    if load.get("imdecode_backend", "cv2") not in ("cv2", "pillow"):
        raise ValueError(f"the test pipeline decodes files with {load['imdecode_backend']}; known: cv2 and pillow")
    if load.get("channel_order", "bgr") != "bgr" or load.get("color_type", "color") != "color":
        raise ValueError("the test pipeline reads images as something else than BGR; describe it in a manifest")
    proposals = _first(pipeline, "LoadProposals")
    return Preprocessing(
        steps=(*steps, *_model_steps(data_preprocessor or {})),
        flip=bool(outer.get("flip", False)),
        proposals=None if proposals is None else proposals.get("num_max_proposals") or 0,
        float32=bool(load.get("to_float32", False)),
        decoder=str(load.get("imdecode_backend", "cv2")).replace("cv2", "opencv"),
    )


def _check_kinds(transforms: Sequence[Transform]) -> None:
    kinds = dict.fromkeys(map(_kind, transforms))
    if unknown := [f"'{kind}'" for kind in kinds if kind not in _NO_EFFECT and kind not in _STEPS]:
        verb = "is" if len(unknown) == 1 else "are"
        names = ", ".join(unknown)
        raise ValueError(
            f"the test pipeline uses {names}, which {verb} not known; describe the preprocessing in a manifest"
        )


def _kind(transform: Transform) -> str:
    """v3 may say `mmdet.Resize`."""
    return str(transform["type"]).rsplit(".", 1)[-1]


def _first(pipeline: Sequence[Transform], kind: str) -> Transform | None:
    return next((transform for transform in pipeline if _kind(transform) == kind), None)


def _step(transform: Transform, outer: Transform, v3: bool) -> Step | None:
    kind = _kind(transform)
    if kind == "Resize":
        return _resize(transform, outer)
    if kind == "Normalize":
        return Normalize(_normalization(transform))
    if kind == "Pad":
        return None if transform.get("size_divisor") == 1 else _pad(transform, v3)
    if kind == "RandomCenterCropPad":
        return _center_pad(transform)
    return None


def _resize(transform: Transform, outer: Transform) -> Resize | None:
    scale = outer.get("img_scale") or transform.get("img_scale") or transform.get("scale")
    factor = outer.get("scale_factor") or transform.get("scale_factor")
    if isinstance(scale, list) and scale and isinstance(scale[0], (list, tuple)):
        if len(scale) > 1:
            raise ValueError("the test pipeline resizes to several scales; choose one")
        scale = scale[0]
    if transform.get("interpolation", "bilinear") != "bilinear":
        raise ValueError(f"the test pipeline resizes with {transform['interpolation']} interpolation, not bilinear")
    backend = str(transform.get("backend", "cv2")).replace("cv2", "opencv")
    if scale:
        keep_ratio = bool(transform.get("keep_ratio", False))
        return Resize(scale=(int(scale[0]), int(scale[1])), keep_ratio=keep_ratio, backend=backend)
    if factor is None:
        raise ValueError("the test pipeline's Resize has no scale")
    return None if factor == 1 else Resize(factor=float(factor), backend=backend)


def _normalization(transform: Transform) -> Normalization:
    return Normalization(triple(transform["mean"]), triple(transform["std"]), bool(transform.get("to_rgb", True)))


def _pad(transform: Transform, v3: bool) -> Pad:
    value = transform.get("pad_val", 0)
    value = value.get("img", 0) if isinstance(value, Mapping) else value
    size = transform.get("size")
    if size is not None:  # v2 means (height, width), v3 (width, height)
        size = (int(size[1]), int(size[0])) if v3 else (int(size[0]), int(size[1]))
    return Pad(
        divisor=transform.get("size_divisor"),
        size=size,
        square=bool(transform.get("pad_to_square", False)),
        value=_fill(value, v3),
        part_of_image=bool(transform.get("part_of_image", v3)),  # 2.x has no word for it; ours writes this one
    )


def _fill(value: Any, v3: bool) -> Triple:
    """MMCV 1.x hands a single number to OpenCV, which fills the first channel only; 2.x fills all for an integer."""
    if isinstance(value, Sequence) or (v3 and isinstance(value, int)):
        return triple(value)
    return float(value), 0.0, 0.0


def _center_pad(transform: Transform) -> CenterPad:
    mode, amount = transform["test_pad_mode"]
    mean = triple(transform["mean"])
    value = (mean[2], mean[1], mean[0]) if transform.get("to_rgb") else mean
    if mode == "size_divisor":
        return CenterPad(divisor=int(amount), value=value)
    return CenterPad(bits=int(amount), add=int(transform.get("test_pad_add_pix", 0)), value=value)


def _model_steps(data_preprocessor: Mapping[str, Any]) -> list[Step]:
    """What v3 does inside the model."""
    steps: list[Step] = []
    to_rgb = any(data_preprocessor.get(key) for key in ("bgr_to_rgb", "rgb_to_bgr"))  # both swap the channels
    if data_preprocessor.get("mean") is not None or to_rgb:
        mean, std = data_preprocessor.get("mean") or (0, 0, 0), data_preprocessor.get("std") or (1, 1, 1)
        steps.append(Normalize(Normalization(triple(mean), triple(std), to_rgb)))
    divisor = int(data_preprocessor.get("pad_size_divisor", 1))
    if divisor > 1:
        steps.append(Pad(divisor=divisor, value=triple(data_preprocessor.get("pad_value", 0))))
    return steps
