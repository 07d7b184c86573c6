"""Tensors under other names -> the names that a network has.

A rule is followed only where it leads from a name that the network lacks to one that it has and the file lacks. So a
file with the published names passes untouched, and no table can do harm to a file that it is not about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from zoo.checkpoint.convert import reorder as rows
from zoo.checkpoint.convert.tables import Rule, Table, table

TABLES = (
    "facebook_detr",
    "transformers_conditional_detr",
    "transformers_dab_detr",
    "transformers_maskformer",
    "transformers_mask2former",
    "transformers",
    "megvii_yolox",
    "solo",
    "swin",
    "pvt",
    "self_supervised",
    "older",
    "mmdet_v3",
    "detectron2",
    "torchvision",
    "torchvision_ssdlite",
)
"""In the order in which they are tried."""
PREFIXES = ("module.", "model.", "detector.")
"""What wrappers of a network (data parallel, Lightning) put in front of every name."""
COMPILED = "_orig_mod."
"""What torch.compile puts in front of the names of a network, or of a part of it."""

Shapes = Mapping[str, Sequence[int]]
State = dict[str, Tensor]


def adapt(
    state: Mapping[str, Tensor], shapes: Shapes, meta: Mapping[str, object] | None = None
) -> tuple[State, list[str]]:
    """Bring a state dict to the names, and the order of classes and anchors, of a network.

    shapes: name -> shape of everything that the network has. Returns the state dict, which may still not fit, and the
    titles of the tables that were used. The tensors of `state` are not changed.
    """
    if state.keys() == shapes.keys():
        return dict(state), []
    old_names = list(state)
    result = strip_prefix(state, shapes)
    used: list[str] = []
    for known in [table(name) for name in TABLES]:
        if known.concerns(result):
            result, changed = use(known, result, shapes)
            used += [known.title] if changed else []
    if from_v1(old_names, meta or {}):
        used.append(table("mmdet_v1").title)
        result = reorder(table("mmdet_v1"), result, shapes)
    return use(table("training_only"), result, shapes)[0], used


def fresh_names(names: Iterable[str]) -> list[re.Pattern[str]]:
    """Names that the tables for a file with these `names` say it lacks, and that training makes up."""
    names = list(names)
    return [pattern for known in map(table, TABLES) if known.fresh and known.concerns(names) for pattern in known.fresh]


def dialect(names: Iterable[str]) -> Table | None:
    """The table about a file with these names that says of which architectures such files are."""
    names = list(names)
    return next((known for known in map(table, TABLES) if known.architectures and known.concerns(names)), None)


def strip_prefix(state: Mapping[str, Tensor], shapes: Shapes) -> State:
    """Without what compiling puts into names, and the prefixes that all names share and the network's do not have."""
    result = {name.replace(COMPILED, ""): tensor for name, tensor in state.items()}
    result = result if len(result) == len(state) else dict(state)
    prefix = next((prefix for prefix in PREFIXES if is_wrapped(result, shapes, prefix)), None)
    while prefix is not None:
        result = {name.removeprefix(prefix): tensor for name, tensor in result.items()}
        prefix = next((prefix for prefix in PREFIXES if is_wrapped(result, shapes, prefix)), None)
    return result


def is_wrapped(state: Mapping[str, Tensor], shapes: Shapes, prefix: str) -> bool:
    """Whether all names of a file begin with a prefix, and none of the network's."""
    everywhere = bool(state) and all(name.startswith(prefix) for name in state)
    return everywhere and not any(name.startswith(prefix) for name in shapes)


def use(known: Table, state: State, shapes: Shapes) -> tuple[State, bool]:
    """Follow one table; also tells whether it renamed anything."""
    names = list(state)
    rules = [rule for rule in known.rules if rule.applies(names)]
    result: State = {}
    parts: dict[str, dict[str, Rule]] = {}  # the network's name -> the file's names that are parts of it
    for name, tensor in state.items():
        new, rule = destination(name, rules, shapes, state)
        if rule is not None and rule.part is not None:
            parts.setdefault(new, {})[name] = rule
        else:
            result[new] = (
                tensor
                if rule is None or rule.values is None
                else rows.apply(rule.values, tensor, shapes[new], anchors_per_cell(new, shapes))
            )
    for new, collected in parts.items():
        result.update(joined(new, collected, state))
    changed = result.keys() != state.keys()
    copy(known, result, shapes)
    drop(known, result, shapes)
    fill(known, result, shapes)
    derive(known, result, shapes)
    return result, changed


def joined(new: str, result: Mapping[str, Rule], state: Mapping[str, Tensor]) -> State:
    """A tensor of the network from its parts in the file; the parts as they are where one is missing."""
    ordered = sorted(result, key=lambda name: result[name].part or ())
    ends = [result[name].part for name in ordered]
    whole = [part for part in ends if part is not None]
    covered = whole[0][0] == 0 and whole[-1][1] == whole[-1][2] and all(a[1] == b[0] for a, b in pairwise(whole))
    if not covered or len({state[name].shape[1:] for name in ordered}) > 1:
        return {name: state[name] for name in ordered}
    return {new: torch.cat([state[name] for name in ordered])}


def destination(
    name: str, rules: Sequence[Rule], shapes: Shapes, state: Mapping[str, Tensor]
) -> tuple[str, Rule | None]:
    """Where a name leads, and the rule that leads there."""
    if name in shapes:
        return name, None
    for rule in rules:
        for new in rule.renamed(name):
            if new in shapes and new not in state:
                return new, rule
    return name, None


def copy(known: Table, state: State, shapes: Shapes) -> None:
    """Give one tensor of the file to several parameters of the network."""
    for name in [name for name in state if name not in shapes]:
        for rule in known.copies:
            targets = [new for new in rule.renamed(name) if new in shapes]
            state.update({target: state[name] for target in targets if target not in state})
            if targets:
                del state[name]
                break


def drop(known: Table, state: State, shapes: Shapes) -> None:
    """Leave out what the table says is of no use to a network without it."""
    for name in [name for name in state if name not in shapes]:
        useless = any(pattern.fullmatch(name) for pattern in known.drop)
        if useless or (any(rule.renamed(name) for rule in known.zero) and not state[name].any()):
            del state[name]


def fill(known: Table, state: State, shapes: Shapes) -> None:
    """Make up what the table says that such files lack."""
    for name in [name for name in shapes if name not in state]:
        for pattern, value in known.fill:
            if pattern.fullmatch(name):
                kind = torch.int64 if isinstance(value, int) else torch.float32
                state[name] = torch.full(tuple(shapes[name]), value, dtype=kind)


def derive(known: Table, state: State, shapes: Shapes) -> None:
    """Compute what such files lack from what they have."""
    for name in [name for name in shapes if name not in state]:
        for rule in known.derive:
            for source in rule.renamed(name):
                if source in state and rule.values is not None:
                    state[name] = rows.apply(rule.values, state[source], shapes[name])


def from_v1(names: Sequence[str], meta: Mapping[str, object]) -> bool:
    """Whether a file is from MMDetection 1.x or 0.x, by its version, or without one by its names."""
    version = str(meta.get("mmdet_version", ""))
    if version:
        return version.startswith(("0.", "1."))
    two_stage = any(name.startswith("rpn_head.") for name in names) and any(
        name.startswith("bbox_head.") for name in names
    )
    return two_stage or "backbone.l2_norm.weight" in names


def reorder(known: Table, state: State, shapes: Shapes) -> State:
    """Apply a table's operations on rows to the names that the network has."""
    result = dict(state)
    for name in state.keys() & shapes.keys():
        for pattern, values in known.values:
            if pattern.fullmatch(name):
                result[name] = rows.apply(values, state[name], shapes[name], anchors_per_cell(name, shapes))
    return result


def anchors_per_cell(name: str, shapes: Shapes) -> int:
    """How many groups of classes a predictor of SSD has: a quarter of the rows of its box predictor."""
    boxes = shapes.get(re.sub(r"\.cls_convs\.", ".reg_convs.", name))
    return boxes[0] // 4 if ".cls_convs." in name and boxes else 1
