"""What a model's configuration says, in a few words: backbone, style, detector, input and what is unusual."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from benchmarks.reports.table import Cell
from zoo.manifest import api
from zoo.preprocessing.recipe import CenterPad, Resize

if TYPE_CHECKING:
    from zoo.manifest.api import Entry


def network(entry: Entry) -> dict[str, Cell]:
    """Backbone, style and configuration; nothing where the network is not described."""
    if entry.architecture is None:
        return {}
    description = api.architecture(entry.architecture)
    backbone = description.get("backbone", {})
    facts = [description["type"], neck(description), input_size(entry), *unusual(backbone), entry.training.precision]
    return {
        "backbone": backbone_label(backbone),
        "style": backbone.get("style"),
        "config": ", ".join(fact for fact in facts if fact),
    }


def backbone_label(backbone: Mapping[str, Any]) -> str:
    """A backbone in a word or two: `ResNet-50`, `ResNeXt-101 (64x4d)`, `RegNet regnetx_3.2gf`."""
    label = str(backbone.get("type", "")).removeprefix("mmcls.")
    if "depth" in backbone:
        label += f"-{backbone['depth']}"
    if "groups" in backbone:
        label += f" ({backbone['groups']}x{backbone.get('base_width', 4)}d)"
    return label + (f" {backbone['arch']}" if "arch" in backbone else "")


def neck(description: Mapping[str, Any]) -> str:
    """The neck's types: `FPN`, `FPN + DyHead`."""
    stated = description.get("neck") or []
    return " + ".join(part["type"] for part in (stated if isinstance(stated, list) else [stated]))


def input_size(entry: Entry) -> str:
    """How large images come in: `1333x800` at most, or `300x300 stretched`, or their own size."""
    for step in api.preprocessing(entry.name).steps:
        if isinstance(step, Resize) and step.scale:
            return f"{step.scale[0]}x{step.scale[1]}" + ("" if step.keep_ratio else " stretched")
        if isinstance(step, CenterPad):
            return "original size"
    return ""


def unusual(backbone: Mapping[str, Any]) -> Iterator[str]:
    """What a backbone has beyond the usual: normalization, convolutions, plugins."""
    norm = (backbone.get("norm_cfg") or {}).get("type", "BN")
    if norm not in ("BN", "LN"):
        yield norm
    for key, stages in (("conv_cfg", ""), ("dcn", "stage_with_dcn"), ("sac", "stage_with_sac")):
        if backbone.get(key):
            yield f"{backbone[key]['type']}{stage_names(backbone.get(stages, ()))}"
    for plugin in backbone.get("plugins") or ():
        options = {k: v for k, v in plugin["cfg"].items() if k in ("ratio", "attention_type")}
        yield plugin["cfg"]["type"] + "".join(f" {v}" for v in options.values()) + stage_names(plugin.get("stages", ()))


def stage_names(used: Any) -> str:
    """` in c3-c5` for stages such as (False, True, True, True), which are c2 to c5; nothing where all are used."""
    names = [f"c{number}" for number, on in enumerate(used, 2) if on]
    return f" in {names[0]}-{names[-1]}" if names and len(names) < len(used) else ""
