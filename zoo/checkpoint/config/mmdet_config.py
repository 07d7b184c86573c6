"""The training configuration that MMDetection stores in a checkpoint, as a description of the network.

v2 writes it as `meta["config"]`, v3 as `meta["cfg"]`: Python text made of assignments (`model = dict(...)`). It is
parsed as literals (see `literals`), so a configuration cannot do anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from zoo.checkpoint.config.extent import check_extent
from zoo.checkpoint.config.literals import MAX_TEXT, Unknown, evaluate_text
from zoo.checkpoint.config.mmdet_v2_older import upgrade
from zoo.checkpoint.config.mmdet_v3 import is_v3, to_v2
from zoo.errors import BuildError, CorruptCheckpoint
from zoo.preprocessing.mmdet_pipeline import parse_pipeline
from zoo.preprocessing.recipe import Preprocessing

FILE_LINE = re.compile(r"^\s*[^\s='\"(){}\[\],#]+\.(?:py|json|yaml|yml)\s*$", re.MULTILINE)
"""A line that is only the name of a file: old versions put it above the text of each file they merged."""

UNUSED = ("train_cfg", "init_cfg", "pretrained")
"""Settings that a trained network does not look at, whatever a text computes there."""


@dataclass(frozen=True, slots=True)
class Described:
    """What a checkpoint says about its network.

    model: the description, in MMDetection 2.x's vocabulary, with `test_cfg` and `train_cfg` inside. test_pipeline: as
    written. preprocessing: the recipe that it stands for. classes: names in label order; empty if nothing tells them.
    """

    model: dict[str, Any]
    test_pipeline: list[dict[str, Any]]
    preprocessing: Preprocessing
    classes: tuple[str, ...]


def parse(text: str) -> dict[str, Any]:
    """Name -> value of everything that a configuration assigns. Raises CorruptCheckpoint.

    Text of several files, each under a line with its name, is merged in order, as `_base_` files are.
    """
    if len(text) > MAX_TEXT:
        raise CorruptCheckpoint(f"has a configuration of {len(text):,} characters")
    result: dict[str, Any] = {}
    for part in FILE_LINE.split(text):
        result = merge(result, evaluate_text(part))
    return result


def merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes`, dictionaries into each other; `_delete_=True` replaces instead."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        if isinstance(value, dict) and isinstance(old, dict) and not value.get("_delete_", False):
            result[key] = merge(old, value)
        else:
            result[key] = without_mark(value)
    return result


def without_mark(value: Any) -> Any:
    """A replacing dictionary without its `_delete_`."""
    return {key: item for key, item in value.items() if key != "_delete_"} if isinstance(value, dict) else value


def describe(
    meta: Mapping[str, Any], unsupported: Callable[[dict[str, Any]], list[str]] = lambda model: []
) -> Described:
    """The network, preprocessing and classes that a checkpoint's metadata describe.

    unsupported: phrases for what a model's description names that is not available (`zoo.models.unsupported`). Raises
    CorruptCheckpoint for text that does not parse, BuildError with everything that is not available, or that only
    running the text would tell.
    """
    config = configuration(meta)
    model, pipeline = model_of(config), test_pipeline(config)
    check_extent([model, pipeline])
    normalizing = model.pop("data_preprocessor", None) or config.get("data_preprocessor")
    faults = [f"it computes `{path}`: {value!r}" for path, value in computed(model, "model")]
    try:
        preprocessing = parse_pipeline(pipeline, normalizing if is_v3(config) else None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        faults.append(said(error))
    try:
        model = modern(model, is_v3(config))
    except BuildError as error:
        faults.append(str(error))
    else:
        faults += ["it names what is not here: " + ", ".join(missing)] if (missing := unsupported(model)) else []
    if faults:
        text = "; ".join(faults)
        raise BuildError(f"the checkpoint's configuration cannot be used: {text}; pass the name of a model that fits")
    return Described(model, pipeline, preprocessing, class_names(meta, config))


def configuration(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What the text in the metadata assigns. Raises BuildError without a text, CorruptCheckpoint for a broken one."""
    text = meta.get("config") or meta.get("cfg")
    if not isinstance(text, str) or not text.strip():
        raise BuildError("the checkpoint does not say which network it belongs to; pass the name of a model")
    try:
        return parse(text)
    except CorruptCheckpoint as error:
        raise CorruptCheckpoint(f"the checkpoint {error}; pass the name of a model.") from None


def modern(model: Mapping[str, Any], v3: bool) -> dict[str, Any]:
    """A model in the vocabulary of 2.28. Raises BuildError where a part that its type has is missing."""
    try:
        return to_v2(model) if v3 else upgrade(model)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise BuildError(f"its {model['type']} is not described as expected: {said(error)}") from None


def said(error: Exception) -> str:
    """An error's own words; those of a missing key are just the key."""
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def model_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The `model`, with the `train_cfg` and `test_cfg` that may stand beside it. Raises BuildError."""
    model = config.get("model")
    if not isinstance(model, dict) or "type" not in model:
        raise BuildError("the checkpoint's configuration has no `model`; pass the name of a model")
    model = dict(model)
    for key in ("train_cfg", "test_cfg"):
        if model.get(key) is None and isinstance(config.get(key), dict) and not is_v3(config):
            model[key] = config[key]
    if "bbox_roi_extractor" in model and "roi_head" not in model:
        raise BuildError("the checkpoint's configuration is of MMDetection 1.x; pass the name of an architecture")
    return model


def computed(value: Any, where: str) -> Iterator[tuple[str, Unknown]]:
    """The paths, other than those of training, that only running the text would fill."""
    if isinstance(value, Unknown):
        yield where, value
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in UNUSED:
                yield from computed(item, f"{where}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from computed(item, f"{where}[{index}]")


def test_pipeline(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The transforms at test time: of the test set, else of the validation set, else by name. Raises BuildError."""
    result = [part.get("pipeline") for part in (*sets(config, "test"), *sets(config, "val"))]
    for pipeline in [*result, config.get("test_pipeline")]:
        if isinstance(pipeline, list) and all(isinstance(step, dict) and "type" in step for step in pipeline):
            return pipeline
    raise BuildError("the checkpoint's configuration has no test pipeline; pass the name of a model")


def sets(config: Mapping[str, Any], split: str) -> Iterator[Mapping[str, Any]]:
    """The datasets of a split: in `data` of 2.x, in a loader of 3.x; those inside of wrappers too."""
    data, loader = config.get("data"), config.get(f"{split}_dataloader")
    waiting = [data.get(split)] if isinstance(data, dict) else []
    waiting += [loader.get("dataset")] if isinstance(loader, dict) else []
    while waiting:
        part = waiting.pop(0)
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            yield part
            waiting += [part.get("dataset"), part.get("datasets")]


def class_names(meta: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[str, ...]:
    """The classes as the metadata list them, else as the configuration's datasets do.

    One text as the metadata's `CLASSES`, which a missing comma makes of a tuple, is one class.
    """
    splits = [part for split in ("test", "val", "train") for part in sets(config, split)]
    holders = [meta, meta.get("dataset_meta"), *splits, *(part.get("metainfo") for part in splits)]
    holders += [config, config.get("metainfo")]
    if isinstance(single := meta.get("CLASSES"), str) and single:
        return (single,)
    for holder in holders:
        for key in ("CLASSES", "classes") if isinstance(holder, Mapping) else ():
            if names := texts(holder.get(key)):  # type: ignore[union-attr]
                return names
    return ()


def texts(value: Any) -> tuple[str, ...]:
    """A list of names as a tuple; nothing for whatever else stands there, such as the name of a file."""
    named = isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)
    return tuple(value) if named else ()
