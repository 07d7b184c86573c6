"""What exists: models, architectures and everything that they refer to, read from the manifest files.

Names come from the files that ship with the package, then from those in `ZOO_MANIFESTS` (separated as in `PATH`), then
from those given to `use`. Nothing here imports torch.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from zoo.errors import UnknownModel
from zoo.manifest.catalog import Catalog
from zoo.manifest.entry import Backbone, Checkpoint, Dataset, Entry, Mirror, Paper, Speed, Substitute, Training
from zoo.manifest.schema import VERSION
from zoo.manifest.yaml_io import builtin_files
from zoo.preprocessing.recipe import Normalization, Preprocessing
from zoo.settings import manifest_files

__all__ = [
    "Backbone",
    "Checkpoint",
    "Dataset",
    "Entry",
    "Mirror",
    "Paper",
    "Speed",
    "Substitute",
    "Training",
    "architecture",
    "architecture_names",
    "catalog",
    "dataset",
    "first_user",
    "get",
    "list_models",
    "mirrors",
    "nearest",
    "preprocessing",
    "representative",
    "use",
    "version",
    "where",
]

_AT_HOME = ("mmdetection", "user")
_added: list[Path] = []  # the files given to `use`


def use(file: str | os.PathLike[str]) -> None:
    """Add a manifest file for this process. Raises ManifestError for a mistake in it, which leaves it out."""
    _added.append(Path(file).absolute())
    try:
        catalog()
    except Exception:
        _added.pop()
        raise


def manifest_options() -> list[str]:
    """The options with which a command of its own process sees what this one does: `--manifest FILE` for each `use`."""
    return [word for file in _added for word in ("--manifest", str(file))]


def catalog() -> Catalog:
    """Everything that the manifests say, read once."""
    return _catalog((*manifest_files(), *_added))


@lru_cache(maxsize=8)
def _catalog(own: tuple[Path, ...]) -> Catalog:
    return Catalog([file for file in dict.fromkeys(own) if file not in builtin_files()])


def list_models(
    pattern: str = "*",
    *,
    family: str | None = None,
    task: str | None = None,
    dataset: str | None = None,
    origin: str | None = None,
    unpublished: bool = False,
) -> list[str]:
    """List the models that match a glob and all of the conditions.

    Models of other projects (Detectron2, torchvision, authors) are listed only if the pattern, the family or the origin
    asks for them, such as `detectron2/*`.

    Args:
        pattern: A glob that names or aliases match.
        family: Only models of this method family, in upper or lower case.
        task: Only models with this task, such as `instance segmentation`.
        dataset: Only models trained for this dataset, such as `coco_2017`.
        origin: Only models whose weights this project published, such as `mmdetection`.
        unpublished: Include configurations of the reference whose weights were not published.

    Returns:
        Names, sorted; empty if nothing matches.

    Raises:
        ManifestError: One of your own manifest files has a mistake.

    Examples:
        >>> import zoo
        >>> zoo.list_models("yolox_s*")
        ['yolox_s_8x8_300e_coco']
    """
    conditions = {"family": family, "dataset": dataset, "origin": origin}
    wanted = {key: normal(key, value) for key, value in conditions.items() if value is not None}
    names = [name for name in catalog().models if _matches(name, pattern)]
    if not unpublished:
        names = [name for name in names if "checkpoint" in catalog().models[name].value]
    if pattern == "*" and family is None and origin is None:
        names = [name for name in names if catalog().origin(name) in _AT_HOME]
    if wanted or task is not None:
        entries = (catalog().entry(name) for name in names)
        names = [e.name for e in entries if _meets(e, wanted) and (task is None or _has_task(e, task))]
    return sorted(names)


def _matches(name: str, pattern: str) -> bool:
    if pattern == "*" or fnmatchcase(name, pattern):
        return True
    return any(fnmatchcase(alias, pattern) for alias in catalog().aliases_of(name))


def _meets(entry: Entry, wanted: dict[str, str]) -> bool:
    return all(getattr(entry, key).lower() == value for key, value in wanted.items())


def _has_task(entry: Entry, task: str) -> bool:
    return normal("task", task) in entry.tasks


def normal(field: str, value: str) -> str:
    """A condition as entries spell it: lower case, and blanks between the words of a task."""
    return value.lower().replace("_", " ").replace("-", " ") if field == "task" else value.lower()


def get(name: str) -> Entry:
    """Look up a model.

    Args:
        name: The exact name, or an alias.

    Returns:
        Everything that the manifests state about it.

    Raises:
        UnknownModel: No model has this name; the message suggests the nearest ones.

    Examples:
        >>> import zoo
        >>> entry = zoo.get("faster_rcnn_r50")
        >>> entry.name, entry.metrics["coco_2017_val"]["box_ap"]
        ('faster_rcnn_r50_fpn_1x_coco', 37.4)
    """
    known = catalog()
    exact = name if name in known.models else known.aliases.get(name)
    if exact is None:
        raise UnknownModel(f"no model '{name}'.{nearest(name, [*known.models, *known.aliases])}")
    return known.entry(exact)


def architecture_names() -> list[str]:
    """Every architecture that has a description, sorted."""
    return sorted(catalog().architectures)


def architecture(name: str) -> dict[str, Any]:
    """The complete description of an architecture, or of a model's (by name or alias), with test_cfg and train_cfg.

    Raises UnknownModel; ManifestError for a model whose architecture is not described.
    """
    return catalog().architecture(architecture_name(name))


def architecture_name(name: str) -> str:
    """The architecture's name for the name of an architecture, a model or an alias."""
    known = catalog()
    if name in known.architectures:
        return name
    if name not in known.models and name not in known.aliases:
        everything = [*known.models, *known.aliases, *known.architectures]
        raise UnknownModel(f"no model or architecture '{name}'.{nearest(name, everything)}")
    entry = get(name)
    if entry.architecture is None:
        raise UnknownModel(f"{entry.name} has no description of its network in the manifests, so it cannot be built.")
    return entry.architecture


def where(name: str, path: Sequence[str | int] = ()) -> str | None:
    """`file:line` that states a field of an architecture, e.g. `where(name, ["neck", "type"])`; None if none does."""
    result = catalog().where(architecture_name(name), tuple(path))
    return None if result is None else f"{result[0]}:{result[1]}"


def preprocessing(name: str) -> Preprocessing:
    """The complete recipe for a model, an alias or an architecture. Raises UnknownModel."""
    return catalog().preprocessing(representative(name))


def representative(name: str) -> Entry:
    """The model of this name or alias, or the first one that uses the architecture of this name.

    Raises UnknownModel, also for an architecture that no model uses.
    """
    known = catalog()
    if name not in known.architectures or name in known.models:
        return get(name)
    entry = first_user(name)
    if entry is None:
        raise UnknownModel(
            f"no model uses the architecture {name}, so nothing says how its images are prepared; add a model with "
            "`preprocessing`, `normalization` and `dataset` to its manifest."
        )
    return entry


def first_user(name: str) -> Entry | None:
    """The first model that uses the architecture of this name; None where none does."""
    known = catalog()
    return next((e for e in map(known.entry, known.models) if e.architecture == name), None)


def version(name: str) -> str:
    """Which state of the manifests a measurement of this model or architecture used: schema version and a digest.

    The digest covers what decides results (checkpoint, network, recipe), not aliases, notes or published figures.
    """
    import hashlib
    import json

    from zoo.manifest.formatting import plain

    entry = get(name) if name in catalog().models or name in catalog().aliases else None
    weights = plain(entry.checkpoint) if entry and entry.checkpoint else {}
    identity = {key: weights.get(key) for key in ("path", "sha256", "md5")}
    network = None if entry and entry.architecture is None else architecture(name)
    searched = [plain(entry.receptive_fields)] if entry and entry.receptive_fields else []
    text = json.dumps([identity, network, plain(preprocessing(name)), *searched], sort_keys=True)
    return f"{VERSION}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def dataset(name: str) -> Dataset:
    """A dataset by name. Raises UnknownModel, which suggests the nearest names."""
    if name not in catalog().datasets:
        raise UnknownModel(f"no dataset '{name}'.{nearest(name, catalog().datasets)}")
    return catalog().dataset(name)


def mirrors() -> tuple[Mirror, ...]:
    """The hosts of published files, in order."""
    return catalog().mirrors


def normalizations() -> dict[str, Normalization]:
    """Every named normalization."""
    known = catalog()
    return {name: value for name in known.normalizations if (value := known.normalization(name)) is not None}


def nearest(name: str, names: Iterable[str]) -> str:
    """` Nearest: a, b, c.`, or nothing where no name is near."""
    result = difflib.get_close_matches(name, list(names), n=3, cutoff=0.6)
    return f" Nearest: {', '.join(result)}." if result else " `zoo list` shows all names."
