"""A function that prepares images, beside the preprocessing that a model was published with.

Inputs are compared as numbers: the pipeline with a known mistake that gives the same input is the mistake. Where none
does, the mean and deviation that the function uses are measured by a linear fit to the pixels.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.doctor.detections import opened
from benchmarks.doctor.pipelines import IDENTITY, Pipeline, is_turned, normalized, pipelines, preparing, shown
from zoo.errors import UsageError, ZooError
from zoo.manifest import api
from zoo.preprocessing.recipe import Normalize, Preprocessing

Floats = NDArray[np.float64]

IMAGES = 4  # of different sizes, are enough to tell pipelines apart
SEARCHED, TURNED = 200, 2  # images that are searched for EXIF orientations, and taken of those that have one
EQUAL = 0.01  # mean difference, in standard deviations of the input, up to which two inputs are the same
STRAIGHT = 0.999  # correlation of inputs that differ in mean and deviation only
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def image_files(data: Path | None, images: Path | None, dataset: str, split: str | None) -> list[Path]:
    """Images of different sizes, some with an EXIF orientation if there are any. Raises UsageError without any."""
    if images is not None:
        files = sorted(path for path in images.iterdir() if path.suffix.lower() in SUFFIXES) if images.is_dir() else []
    else:
        assert data is not None
        files = [image.path for image in opened(data, dataset, split).images if image.path.is_file()]
    if not files:
        raise UsageError(f"{images or data} has no images.")
    chosen = evenly(files, IMAGES)
    # Without an image that its EXIF orientation turns, nothing tells whether a function ignores that.
    turned = [path for path in evenly(files, SEARCHED) if is_turned(path)][:TURNED]
    return [*turned, *(path for path in chosen if path not in turned)][: max(len(chosen), len(turned))]


def evenly(files: Sequence[Path], count: int) -> list[Path]:
    """At most so many of them."""
    return [files[i] for i in np.unique(np.linspace(0, len(files) - 1, count).astype(int)).tolist()]


def imported(name: str) -> Callable[[str], Any]:
    """The function `module:function`. Raises UsageError."""
    module, _, function = name.partition(":")
    if not module or not function:
        raise UsageError(f"--preprocessor is MODULE:FUNCTION, not '{name}'.")
    sys.path.insert(0, "")  # as `python -m` does, so that modules of the working directory are there
    try:
        result = getattr(importlib.import_module(module), function)
    except ImportError as error:
        raise UsageError(f"--preprocessor {name}: {error}.") from None
    except AttributeError:
        raise UsageError(f"--preprocessor {name}: the module has no '{function}'.") from None
    finally:
        sys.path.remove("")
    if not callable(result):
        raise UsageError(f"--preprocessor {name} is not a function.")
    return result  # type: ignore[no-any-return]


def diagnose(name: str, model: str, paths: Sequence[Path]) -> dict[str, Any]:
    """What distinguishes the function's inputs from the model's. Raises ZooError."""
    recipe, function = api.preprocessing(model), imported(name)
    results = [channels_first(called(function, name, path), name) for path in paths]
    theirs, layouts = [array for array, _ in results], {note for _, note in results if note}
    listed = list(pipelines(recipe))
    differences = [difference(pipeline, paths, theirs) for pipeline in listed]
    best = int(np.argmin(differences))
    explanations = [{"key": "layout", "sentence": note, "points": None} for note in sorted(layouts)]
    if best and differences[best] < min(EQUAL, differences[0] / 2):
        explanations.append({"key": listed[best].key, "sentence": listed[best].sentence, "points": None})
    elif differences[0] > EQUAL:
        key, sentence = unexplained(recipe, listed[0], paths, theirs)
        explanations.append({"key": key, "sentence": sentence, "points": None})
    summary = f"{name} compared with the preprocessing of {model} on {len(paths)} images."
    return {"summary": summary, "images": len(paths), "explanations": explanations, "notices": []}


def called(function: Callable[[str], Any], name: str, path: Path) -> Any:
    """What the function returns. Raises ZooError with its error."""
    try:
        return function(str(path))
    except Exception as error:
        raise ZooError(f"{name} failed for {path}: {type(error).__name__}: {error}") from None


def channels_first(value: Any, name: str) -> tuple[Floats, str]:
    """The input as (3, H, W), and a sentence if the function returned another layout. Raises ZooError."""
    value = getattr(value, "image", value)  # a Sample
    array = np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value, np.float64)
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]  # a batch of one
    if array.ndim == 3 and array.shape[0] == 3:
        return array, ""
    if array.ndim == 3 and array.shape[2] == 3:
        return array.transpose(2, 0, 1), "The input is (H, W, 3); networks want channels first, (3, H, W)."
    raise ZooError(f"{name} returns an array of shape {array.shape}, not (3, H, W).")


def difference(pipeline: Pipeline, paths: Sequence[Path], theirs: Sequence[Floats]) -> float:
    """Mean difference of inputs in standard deviations; infinite where shapes differ."""
    values = []
    for path, array in zip(paths, theirs):
        own = pipeline.prepare(path).image.double().numpy()
        if own.shape != array.shape:
            return float("inf")
        values.append(np.abs(own - array).mean() / max(float(own.std()), 1e-9))
    return float(np.mean(values))


def unexplained(
    recipe: Preprocessing, published: Pipeline, paths: Sequence[Path], theirs: Sequence[Floats]
) -> tuple[str, str]:
    """(key, sentence) of a difference that no known mistake gives: of shapes, of the normalization, or of whatever."""
    own = [published.prepare(path).image.double().numpy() for path in paths]
    shapes = [(a.shape[1:], b.shape[1:]) for a, b in zip(own, theirs) if a.shape != b.shape]
    if shapes:
        (height, width), (other_height, other_width) = shapes[0]
        return "input-size", f"The input is {other_width} x {other_height}; the model wants {width} x {height}."
    return measured(recipe, paths, theirs)


def measured(recipe: Preprocessing, paths: Sequence[Path], theirs: Sequence[Floats]) -> tuple[str, str]:
    """The function's mean and deviation, by a fit of its values to the pixels in either order of the channels."""
    own = next((step.normalization for step in recipe.steps if isinstance(step, Normalize)), IDENTITY)
    raw = preparing(normalized(recipe, type(own)((0.0,) * 3, (1.0,) * 3, own.to_rgb)))
    samples = [raw(path) for path in paths]
    pixels = [content(sample.image.double().numpy(), sample.size) for sample in samples]
    values = [content(array, sample.size) for array, sample in zip(theirs, samples)]
    for key, order in (("normalization", (0, 1, 2)), ("channels-and-normalization", (2, 1, 0))):
        fits = [fitted(pixels, values, channel, order[channel]) for channel in range(3)]
        if min(correlation for _, _, correlation in fits) > STRAIGHT:
            means, deviations = ([round(fit[i], 3) for fit in fits] for i in (0, 1))
            start = "The channels are in the wrong order, and pixels" if order[0] else "Pixels"
            return key, (
                f"{start} are normalized with mean {shown(means)} and deviation {shown(deviations)}; the model wants "
                f"{shown(own.mean)} and {shown(own.std)}."
            )
    return "unknown", "The input differs from the model's in a way that no known mistake explains."


def content(array: Floats, size: tuple[int, int]) -> Floats:
    """The part of an input that is the image."""
    return array[:, : size[0], : size[1]]


def fitted(pixels: Sequence[Floats], values: Sequence[Floats], channel: int, source: int) -> tuple[float, float, float]:
    """(mean, deviation, correlation) of `value = (pixel - mean) / deviation` in a channel."""
    x = np.concatenate([array[source].ravel() for array in pixels])
    y = np.concatenate([array[channel].ravel() for array in values])
    if not x.std() or not y.std():
        return 0.0, 1.0, 0.0
    slope = float(((x - x.mean()) * (y - y.mean())).mean() / x.var())
    return float(x.mean() - y.mean() / slope), 1 / slope, float(np.corrcoef(x, y)[0, 1])
