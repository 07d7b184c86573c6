"""Images -> network inputs, exactly as the checkpoint was trained and tested.

The arithmetic follows MMCV: OpenCV (or Pillow) decodes and turns the image as its EXIF orientation says, sizes round
half up, OpenCV's INTER_LINEAR resizes bytes without antialiasing, mean and standard deviation apply in float32.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import torch

from zoo.errors import UnreadableImage
from zoo.preprocessing.image_file import require_regular, truncated
from zoo.preprocessing.normalize import normalize, to_chw
from zoo.preprocessing.recipe import CenterPad, Normalization, Normalize, Pad, Preprocessing, Resize, Step
from zoo.structures import Sample

ImageSource = str | os.PathLike[str] | np.ndarray


@dataclass(frozen=True)
class Preprocessor:
    """A function from an image (path, or BGR uint8 array (H, W, 3)) to a network input. It raises UnreadableImage."""

    recipe: Preprocessing

    def __call__(self, image: ImageSource) -> Sample:
        return apply(self.recipe, read_image(image, self.recipe.decoder))


def make_preprocessor(recipe: Preprocessing) -> Preprocessor:
    """The function that follows a recipe."""
    return Preprocessor(recipe)


def read_image(source: ImageSource, decoder: str = "opencv") -> np.ndarray:
    """BGR uint8 (H, W, 3) from a file, or the array itself after a check. Raises UnreadableImage.

    decoder: `opencv` or `pillow`.
    """
    if isinstance(source, np.ndarray):
        return _checked(source)
    path = Path(source)
    require_regular(path)
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UnreadableImage(f"{path}: cannot be read: {error.strerror or error}") from None
    image = DECODERS[decoder](content) if content.size else None
    if image is None:
        raise UnreadableImage(f"{path}: does not decode as an image ({content.size} bytes)")
    if truncated(path):
        raise UnreadableImage(f"{path}: the file ends before the image does")
    return image


def decode_opencv(content: np.ndarray) -> np.ndarray | None:
    """BGR uint8 (H, W, 3) from a file's bytes, None if they are no image."""
    try:
        return cv2.imdecode(content, cv2.IMREAD_COLOR)
    except cv2.error:  # a header that promises absurd dimensions
        return None


def decode_pillow(content: np.ndarray) -> np.ndarray | None:
    """The same by Pillow; what is transparent shows the mean color of ImageNet, as in MMCV, if the image is gray."""
    from PIL import Image, ImageOps

    try:
        image = ImageOps.exif_transpose(Image.open(BytesIO(content.tobytes())))
        if image.mode == "LA":
            rgba = image.convert("RGBA")
            image = Image.new("RGB", rgba.size, (124, 117, 104))
            image.paste(rgba, mask=rgba.getchannel("A"))
        return np.ascontiguousarray(np.array(image.convert("RGB"))[:, :, ::-1])
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


DECODERS: dict[str, Callable[[np.ndarray], np.ndarray | None]] = {"opencv": decode_opencv, "pillow": decode_pillow}


def _checked(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        shape = " x ".join(map(str, array.shape)) or "scalar"
        raise UnreadableImage(f"an image is a BGR uint8 array (H, W, 3), not {array.dtype} {shape}")
    return array


@dataclass(frozen=True)
class _State:
    """An image on its way: content `size` at `offset` inside `image`, `scale` relative to the original."""

    image: np.ndarray
    size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)


def apply(recipe: Preprocessing, image: np.ndarray) -> Sample:
    """One sample from BGR uint8 (H, W, 3)."""
    return normalized(recipe, resized(recipe, image))


@dataclass(frozen=True)
class Resized:
    """An image after the steps before its normalization. original_size: (h, w)."""

    state: _State
    original_size: tuple[int, int]


def resized(recipe: Preprocessing, image: np.ndarray) -> Resized:
    """The first half of `apply`: everything before the normalization that ends a recipe."""
    height, width = image.shape[:2]
    state = _State(image.astype(np.float32) if recipe.float32 else image, (height, width))
    for step in _split(recipe.steps)[0]:
        state = _apply_step(step, state)
    return Resized(state, (height, width))


def normalized(recipe: Preprocessing, image: Resized) -> Sample:
    """The second half of `apply`: normalization, and the padding behind it."""
    state, (_, normalization, last) = image.state, _split(recipe.steps)
    finish = _bytes_to_chw if state.image.dtype == np.uint8 else _floats_to_chw
    tensor = torch.from_numpy(finish(state.image, normalization, last))
    return Sample(tensor, state.size, state.scale, image.original_size, state.offset)


def _split(steps: Sequence[Step]) -> tuple[list[Step], Normalization | None, Pad | None]:
    """The steps without a normalization at their end, and without a padding behind it."""
    match steps:
        case [*first, Normalize() as last, Pad() as padding]:
            return first, last.normalization, padding
        case [*first, Normalize() as last]:
            return first, last.normalization, None
    return list(steps), None, None


def _bytes_to_chw(image: np.ndarray, normalization: Normalization | None, padding: Pad | None) -> np.ndarray:
    size = image.shape[:2] if padding is None else padded_size(padding, *image.shape[:2])
    return to_chw(image, normalization, size, padding.value if padding else (0, 0, 0))


def _floats_to_chw(image: np.ndarray, normalization: Normalization | None, padding: Pad | None) -> np.ndarray:
    image = image if normalization is None else normalize(image, normalization)
    image = image if padding is None else pad(padding, image)
    return np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32)


def _apply_step(step: Step, state: _State) -> _State:
    if isinstance(step, Resize):
        return _resize(step, state)
    if isinstance(step, Pad):
        padded = pad(step, state.image)
        size = (padded.shape[0], padded.shape[1]) if step.part_of_image else state.size
        return replace(state, image=padded, size=size)
    if isinstance(step, CenterPad):
        return _center_pad(step, state)
    return replace(state, image=normalize(state.image, step.normalization))


def _resize(step: Resize, state: _State) -> _State:
    height, width = state.image.shape[:2]
    new_width, new_height = resized_size(step, width, height)
    if not new_width or not new_height:
        raise UnreadableImage(f"an image of {width} x {height} pixels is too narrow: resizing leaves nothing of it")
    image = _interpolate(state.image, (new_width, new_height), step.backend)
    return replace(state, image=image, size=(new_height, new_width), scale=(new_width / width, new_height / height))


def resized_size(step: Resize, width: int, height: int) -> tuple[int, int]:
    """(width, height) after `step`."""
    scale = step.scale
    if scale is None:
        factor = 1.0 if step.factor is None else step.factor
        scale = int(width * factor), int(height * factor)
    if not step.keep_ratio:
        return scale
    ratio = min(max(scale) / max(height, width), min(scale) / min(height, width))
    if step.backend == "tensor":  # torchvision rounds down
        return int(width * ratio), int(height * ratio)
    return int(width * ratio + 0.5), int(height * ratio + 0.5)


def _interpolate(image: np.ndarray, size: tuple[int, int], backend: str) -> np.ndarray:
    if backend == "pillow":
        from PIL import Image

        return np.array(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    if backend == "tensor":
        channels = torch.from_numpy(image.astype(np.float32).transpose(2, 0, 1))[None]
        resized = torch.nn.functional.interpolate(channels, size[::-1], mode="bilinear", align_corners=False)
        return np.ascontiguousarray(resized[0].numpy().transpose(1, 2, 0))
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)


def pad(step: Pad, image: np.ndarray) -> np.ndarray:
    """(H, W, 3) padded on the right and at the bottom."""
    height, width = image.shape[:2]
    down, right = (after - before for after, before in zip(padded_size(step, height, width), (height, width)))
    return cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_CONSTANT, value=step.value)


def padded_size(step: Pad, height: int, width: int) -> tuple[int, int]:
    """(h, w) after `step`, which takes nothing away."""
    if step.square:
        return max(height, width), max(height, width)
    if step.size is not None:
        return max(height, step.size[0]), max(width, step.size[1])
    divisor = step.divisor or 1
    return -(-height // divisor) * divisor, -(-width // divisor) * divisor


def _center_pad(step: CenterPad, state: _State) -> _State:
    height, width = state.image.shape[:2]
    padded = np.empty((_center_padded(step, height), _center_padded(step, width), 3), state.image.dtype)
    padded[:] = step.value
    top, left = padded.shape[0] // 2 - height // 2, padded.shape[1] // 2 - width // 2
    # Centers are rounded down, so an odd side that needs no padding loses its last row or column, as in the reference.
    kept = state.image[: height // 2 + padded.shape[0] // 2, : width // 2 + padded.shape[1] // 2]
    padded[top : top + kept.shape[0], left : left + kept.shape[1]] = kept
    return replace(state, image=padded, size=(height, width), offset=(float(left), float(top)))


def _center_padded(step: CenterPad, side: int) -> int:
    if step.bits is not None:
        return (side | step.bits) + step.add
    divisor = step.divisor or 1
    return -(-side // divisor) * divisor
