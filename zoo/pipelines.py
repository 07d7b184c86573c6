"""MMDetection's test pipelines (v2 and v3 configs) -> `Preprocessing`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.recipes import CenterPad, Normalization, Normalize, Pad, Preprocessing, Resize, Step, triple

# Transforms that leave the picture as it is at test time.
_NO_EFFECT = {
    "Collect",
    "DefaultFormatBundle",
    "ImageToTensor",
    "LoadAnnotations",
    "LoadImageFromFile",
    "LoadImageFromNDArray",
    "LoadImageFromWebcam",
    "LoadProposals",
    "PackDetInputs",
    "RandomFlip",
    "ToDataContainer",
    "ToTensor",
}


def parse_pipeline(
    pipeline: Sequence[Mapping[str, Any]], data_preprocessor: Mapping[str, Any] | None = None
) -> Preprocessing:
    """The recipe that `pipeline` describes; see `Preprocessing.from_config`."""
    outer = next((step for step in pipeline if step["type"] == "MultiScaleFlipAug"), {})
    transforms = [step for step in pipeline if step["type"] != "MultiScaleFlipAug"] + list(outer.get("transforms", ()))
    steps = [step for t in transforms if (step := _transform(t, outer)) is not None]
    load = _first(pipeline, "LoadImageFromFile")
    proposals = _first(pipeline, "LoadProposals")
    return Preprocessing(
        steps=(*steps, *_model_steps(data_preprocessor or {})),
        flip=bool(outer.get("flip", False)),
        proposals=None if proposals is None else proposals.get("num_max_proposals") or 0,
        float32=bool(load and load.get("to_float32", False)),
    )


def _first(pipeline: Sequence[Mapping[str, Any]], kind: str) -> Mapping[str, Any] | None:
    return next((step for step in pipeline if step["type"] == kind), None)


def _transform(transform: Mapping[str, Any], outer: Mapping[str, Any]) -> Step | None:
    kind = str(transform["type"]).rsplit(".", 1)[-1]  # v3 configs may say mmdet.Resize
    if kind == "Resize":
        return _resize(transform, outer)
    if kind == "Normalize":
        return Normalize(_normalization(transform))
    if kind == "Pad":
        return None if transform.get("size_divisor") == 1 else _pad(transform)
    if kind == "RandomCenterCropPad":
        return _center_pad(transform)
    if kind in _NO_EFFECT:
        return None
    raise ValueError(f"the test pipeline uses '{kind}', which is not known; describe the preprocessing in a manifest")


def _resize(transform: Mapping[str, Any], outer: Mapping[str, Any]) -> Resize | None:
    # v2 gives the scale in MultiScaleFlipAug (or img_scale here), v3 in the transform itself
    scale = outer.get("img_scale") or transform.get("img_scale") or transform.get("scale")
    factor = outer.get("scale_factor") or transform.get("scale_factor")
    if isinstance(scale, list) and scale and isinstance(scale[0], (list, tuple)):
        if len(scale) > 1:
            raise ValueError("the test pipeline resizes to several scales; choose one")
        scale = scale[0]
    backend = {"cv2": "opencv"}.get(transform.get("backend", "cv2"), transform.get("backend", "cv2"))
    keep_ratio = bool(transform.get("keep_ratio", not scale))
    if factor is not None and not scale:
        return None if factor == 1 else Resize(factor=float(factor), keep_ratio=keep_ratio, backend=backend)
    if not scale:
        raise ValueError("the test pipeline's Resize has no scale")
    return Resize(scale=(int(scale[0]), int(scale[1])), keep_ratio=keep_ratio, backend=backend)


def _normalization(transform: Mapping[str, Any]) -> Normalization:
    return Normalization(triple(transform["mean"]), triple(transform["std"]), bool(transform.get("to_rgb", True)))


def _pad(transform: Mapping[str, Any]) -> Pad:
    value = transform.get("pad_val", 0)
    value = value.get("img", 0) if isinstance(value, Mapping) else value
    size = transform.get("size")
    return Pad(
        divisor=transform.get("size_divisor"),
        size=None if size is None else (int(size[0]), int(size[1])),
        square=bool(transform.get("pad_to_square", False)),
        # MMCV hands a single number to OpenCV as a scalar, which fills the first channel only
        value=triple(value) if isinstance(value, (list, tuple)) else triple([value, 0, 0]),
    )


def _center_pad(transform: Mapping[str, Any]) -> CenterPad:
    mode, amount = transform["test_pad_mode"]
    mean = triple(transform["mean"])
    value = (mean[2], mean[1], mean[0]) if transform.get("to_rgb") else mean
    if mode == "size_divisor":
        return CenterPad(divisor=int(amount), value=value)
    return CenterPad(bits=int(amount), add=int(transform.get("test_pad_add_pix", 0)), value=value)


def _model_steps(data_preprocessor: Mapping[str, Any]) -> list[Step]:
    """v3 normalizes and pads inside the model."""
    steps: list[Step] = []
    to_rgb = bool(data_preprocessor.get("bgr_to_rgb", False))
    if data_preprocessor.get("mean") is not None or to_rgb:
        mean, std = data_preprocessor.get("mean") or (0, 0, 0), data_preprocessor.get("std") or (1, 1, 1)
        steps.append(Normalize(Normalization(triple(mean), triple(std), to_rgb)))
    divisor = int(data_preprocessor.get("pad_size_divisor", 1))
    if divisor > 1:
        steps.append(Pad(divisor=divisor, value=triple(data_preprocessor.get("pad_value", 0))))
    return steps
