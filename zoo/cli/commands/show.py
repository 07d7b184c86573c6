"""`zoo show`: everything that the manifests say about one name."""

from __future__ import annotations

import argparse
import json
from typing import Any

from zoo.errors import UnknownModel
from zoo.manifest import api
from zoo.manifest.entry import Entry
from zoo.manifest.formatting import entry_lines, one_line, plain


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", help="a model, alias, network, recipe, normalization, dataset ...")
    parser.add_argument("--architecture", action="store_true", help="the network's complete description instead")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    """Print one model, one network's description, or one of the things that models refer to."""
    if args.architecture:
        print_description(api.architecture(args.name), args.json)
    elif (other := find_other(args.name)) is not None:
        print_description(other, args.json)
    else:
        print_entry(api.get(args.name), args.json)
    return 0


def print_entry(entry: Entry, as_json: bool) -> None:
    """A model with what its recipe and normalization are."""
    steps = plain(api.preprocessing(entry.name))
    if as_json:
        print(json.dumps({**plain(entry), "recipe": steps}, indent=1))
        return
    print("\n".join(entry_lines(entry)))
    print("  recipe:")
    recipe = api.preprocessing(entry.name)
    for step in recipe.steps:
        print(f"    - {type(step).__name__}: {one_line(plain(step))}")


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
