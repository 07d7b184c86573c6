"""The training configuration that MMDetection stores in a checkpoint, as a description of the network.

v2 writes it as `meta["config"]`, v3 as `meta["cfg"]`: Python text made of assignments (`model = dict(...)`). It is
parsed as literals (see `literals`), so a configuration cannot do anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo.checkpoint.config_older import upgrade
from zoo.checkpoint.config_v3 import is_v3, to_v2
from zoo.checkpoint.literals import Unknown, evaluate_text
from zoo.errors import BuildError, CorruptCheckpoint
from zoo.recipes import Preprocessing

FILE_LINE = re.compile(r"^\s*[^\s='\"(){}\[\],#]+\.(?:py|json|yaml|yml)\s*$", re.MULTILINE)
"""A line that is only the name of a file: old versions put it above the text of each file they merged."""


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


def describe(meta: Mapping[str, Any]) -> Described:
    """The network, preprocessing and classes that a checkpoint's metadata describe.

    Raises CorruptCheckpoint for text that does not parse, BuildError where something needed is missing or only running
    the text would tell it.
    """
    text = meta.get("config") or meta.get("cfg")
    if not isinstance(text, str) or not text.strip():
        raise BuildError("the checkpoint does not say which network it belongs to; pass the name of a model")
    try:
        config = parse(text)
    except CorruptCheckpoint as error:
        raise CorruptCheckpoint(f"the checkpoint {error}; pass the name of a model.") from None
    model = model_of(config)
    pipeline = test_pipeline(config)
    normalizing = model.pop("data_preprocessor", None) if is_v3(config) else None
    try:
        preprocessing = Preprocessing.from_config(pipeline, normalizing)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BuildError(f"the checkpoint's configuration: {error}") from None
    model = to_v2(model) if is_v3(config) else upgrade(model)
    return Described(model, pipeline, preprocessing, class_names(meta, config))


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
    refuse_unknown(model, "model")
    return model


def refuse_unknown(value: Any, where: str) -> None:
    """Raises BuildError naming the first place that only running the text would tell."""
    if isinstance(value, Unknown):
        raise BuildError(f"the checkpoint's configuration computes `{where}` ({value!r}); pass the name of a model")
    if isinstance(value, dict):
        for key, item in value.items():
            refuse_unknown(item, f"{where}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            refuse_unknown(item, f"{where}[{index}]")


def test_pipeline(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The transforms at test time: of the test set, else of the validation set, else by name. Raises BuildError."""
    data = config.get("data")
    sets = [data.get(key) for key in ("test", "val")] if isinstance(data, dict) else []
    loaders = [config.get(key) for key in ("test_dataloader", "val_dataloader")]
    sets += [loader.get("dataset") for loader in loaders if isinstance(loader, dict)]
    found = [part.get("pipeline") for part in sets if isinstance(part, dict)] + [config.get("test_pipeline")]
    for pipeline in found:
        if isinstance(pipeline, list) and all(isinstance(step, dict) and "type" in step for step in pipeline):
            refuse_unknown(pipeline, "test_pipeline")
            return pipeline
    raise BuildError("the checkpoint's configuration has no test pipeline; pass the name of a model")


def class_names(meta: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[str, ...]:
    """The classes as the metadata list them, else as the configuration's data sets do."""
    facts = meta.get("dataset_meta") if isinstance(meta.get("dataset_meta"), dict) else {}
    data = config.get("data") if isinstance(config.get("data"), dict) else {}
    loader = config.get("test_dataloader") if isinstance(config.get("test_dataloader"), dict) else {}
    sets = [data.get("test"), data.get("val"), data.get("train"), loader.get("dataset")]  # type: ignore[union-attr]
    infos = [part.get("metainfo") for part in sets if isinstance(part, dict)]
    places = [meta.get("CLASSES"), facts.get("classes"), facts.get("CLASSES")]  # type: ignore[union-attr]
    places += [part.get("classes") for part in [*sets, *infos] if isinstance(part, dict)]
    places += [info.get("CLASSES") for info in infos if isinstance(info, dict)]
    for names in [*places, config.get("classes")]:
        if isinstance(names, (list, tuple)) and names and all(isinstance(name, str) for name in names):
            return tuple(names)
    return ()
