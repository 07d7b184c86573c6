"""How an image becomes a network input: a recipe is a list of steps, as data.

In a manifest:

    steps:
      - resize: {scale: [1333, 800]}
      - normalize
      - pad: {divisor: 32}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Normalization:
    """(pixel - mean) / std, per channel in the network's channel order; `to_rgb` first turns BGR into RGB."""

    mean: Triple
    std: Triple
    to_rgb: bool


@dataclass(frozen=True)
class Resize:
    """Resize to `scale` (width, height), or by `factor`.

    keep_ratio: the longer side gets at most max(scale), the shorter at most min(scale), both rounded half up;
    otherwise exactly (width, height). backend: `opencv` (bilinear), `pillow` (bilinear with antialiasing)
    or `tensor` (PyTorch's bilinear on float32, sides rounded down, as torchvision).
    """

    scale: tuple[int, int] | None = None
    factor: float | None = None
    keep_ratio: bool = True
    backend: str = "opencv"


@dataclass(frozen=True)
class Pad:
    """Pad on the right and at the bottom with `value`: to multiples of `divisor`, to `size` (h, w) or to a square.

    part_of_image: what is added counts as the image from here on, as in MMDetection 3.x: boxes are clipped to the
    whole.
    """

    divisor: int | None = None
    size: tuple[int, int] | None = None
    square: bool = False
    value: Triple = (0.0, 0.0, 0.0)
    part_of_image: bool = False


@dataclass(frozen=True)
class CenterPad:
    """Pad on all sides, the image in the middle (CornerNet, CenterNet).

    The padded side is `(side | bits) + add`, or the next multiple of `divisor`. value: in BGR, before normalization.
    """

    bits: int | None = None
    add: int = 0
    divisor: int | None = None
    value: Triple = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Normalize:
    """Apply a normalization; everything after this step sees float32."""

    normalization: Normalization


Step = Resize | Pad | CenterPad | Normalize
_STEPS: dict[str, type[Resize] | type[Pad] | type[CenterPad]] = {"resize": Resize, "pad": Pad, "center_pad": CenterPad}


@dataclass(frozen=True)
class Preprocessing:
    """A complete recipe.

    flip: the published metric averages over the image and its mirror image. proposals: at most so many precomputed
    proposals per image (Fast R-CNN); 0 for all. float32: resize in floating point instead of bytes. decoder: of
    files, `opencv` or `pillow`, whose pixels may differ by a few levels.
    """

    steps: tuple[Step, ...]
    flip: bool = False
    proposals: int | None = None
    float32: bool = False
    decoder: str = "opencv"

    @classmethod
    def from_description(cls, recipe: Mapping[str, Any], normalization: Normalization | None) -> Preprocessing:
        """A recipe as manifests write it. Raises ValueError with a sentence where it makes no sense."""
        steps = tuple(_step(step, normalization) for step in recipe.get("steps", ()))
        if normalization is not None and not any(isinstance(step, Normalize) for step in steps):
            raise ValueError("the model has a normalization but the recipe has no `normalize` step")
        return cls(steps, **{key: value for key, value in recipe.items() if key not in ("steps", "description")})


def _step(description: Any, normalization: Normalization | None) -> Step:
    if description == "normalize":
        if normalization is None:
            raise ValueError("the recipe has a `normalize` step but the model's normalization is `none`")
        return Normalize(normalization)
    if not isinstance(description, Mapping) or len(description) != 1:
        raise ValueError(f"a step is `normalize` or a mapping with one key, not {description!r}")
    ((kind, arguments),) = description.items()
    if kind not in _STEPS:
        raise ValueError(f"no step is called '{kind}'; there are normalize, {', '.join(_STEPS)}")
    known = {field.name for field in fields(_STEPS[kind])}
    unknown = set(arguments) - known
    if unknown:
        raise ValueError(f"{kind} has no option '{min(unknown)}'; it has {', '.join(sorted(known))}")
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()
    }
    if "value" in values:
        values["value"] = triple(values["value"])
    return _STEPS[kind](**values)


def triple(value: float | Sequence[float]) -> Triple:
    """One number for all channels, or one for each, as floats."""
    first, second, third = value if isinstance(value, Sequence) else (value, value, value)
    return float(first), float(second), float(third)
