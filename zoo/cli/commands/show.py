"""`zoo show`: everything that the manifests say about one name."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

from zoo.errors import UnknownModel
from zoo.manifest import api
from zoo.manifest.entry import Entry
from zoo.manifest.formatting import entry_lines, one_line, plain

Measured = Callable[[Entry], list[dict[str, Any]]]
SHOWN = 8
"""Class names in text; JSON has all of them."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", help="a model, alias, architecture, recipe, normalization or dataset")
    parser.add_argument(
        "--architecture", action="store_true", help="print the complete description of the architecture"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, measured: Measured = lambda entry: []) -> int:
    """Print one model, one network's description, or one of the things that models refer to.

    measured: what the harness, on whose floor this may not look, has measured of a model.
    """
    if args.architecture:
        print_description(api.architecture(args.name), args.json)
    elif (other := find_other(args.name)) is not None:
        print_description(other, args.json)
    else:
        entry = api.get(args.name)
        print_entry(entry, args.json, measured(entry))
    return 0


def print_entry(entry: Entry, as_json: bool, measured: list[dict[str, Any]]) -> None:
    """A model with its file on this machine, its classes, and what its recipe and normalization are."""
    recipe = api.preprocessing(entry.name)
    local, classes = local_facts(entry), api.dataset(entry.dataset).classes
    if as_json:
        extras = {"recipe": plain(recipe), "local": local, "classes": classes, "measured": measured}
        print(json.dumps({**plain(entry), **extras}, indent=1))
        return
    print("\n".join(entry_lines(entry)))
    print(f"  cached: {local['path'] or 'no'}")
    size = local["size"]
    print("  size: unknown" if size is None else f"  size: {size / 2**20:.1f} MiB")
    print(f"  classes: {class_names(classes)}")
    print("  measured here:" if measured else "  measured here: no")
    for row in measured:
        print(f"    - {one_line(row)}")
    print("  recipe:")
    for step in recipe.steps:
        print(f"    - {type(step).__name__}: {one_line(plain(step))}")


def local_facts(entry: Entry) -> dict[str, Any]:
    """path: of the file in the cache, None where it is not. size: its bytes, or as a mirror stated them, or None."""
    if entry.checkpoint is None:
        return {"path": None, "size": None}
    from zoo.download import cache, mirror_status
    from zoo.download.locations import model_file

    remote = model_file(entry)
    path = entry.checkpoint.file or cache.location(remote)
    if path.is_file():
        return {"path": str(path), "size": path.stat().st_size}
    return {"path": None, "size": mirror_status.sizes([remote]).get(remote.path)}


def class_names(classes: Sequence[str]) -> str:
    """How many, and the first of them."""
    return f"{len(classes)} ({', '.join(classes[:SHOWN])}{', ...' if len(classes) > SHOWN else ''})"


def print_description(value: Any, as_json: bool) -> None:
    """Plain data as YAML or JSON."""
    if as_json:
        print(json.dumps(value, indent=1))
        return
    import yaml

    print(yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=120), end="")


def find_other(name: str) -> Any:
    """What `name` means among normalizations, recipes, datasets, backbones and components; None if it is a model."""
    known = api.catalog()
    if name in known.models or name in known.aliases:
        return None
    for section in (known.normalizations, known.recipes, known.datasets, known.backbones):
        if name in section:
            return section[name].value
    if name in known.bases:
        return known.base(name)
    everything = [*known.models, *known.aliases, *known.normalizations, *known.recipes, *known.datasets, *known.bases]
    raise UnknownModel(f"nothing is called '{name}'.{api.nearest(name, everything)}")
