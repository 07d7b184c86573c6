"""Every head has what its losses ask of it."""

from __future__ import annotations

from functools import cache
from inspect import get_annotations
from typing import Any, Protocol, get_type_hints

import pytest
import torch
from torch import nn

import zoo
from zoo.manifest import api
from zoo.models.criteria.soft_teacher import DetectingRoIHead, ScoringHead, TwoStage
from zoo.models.criteria.table import LOSSES, losses_of

WITHOUT_AN_ARCHITECTURE = {"DETRBranches", "DeformableDETRBranches"}  # parts of other heads


@cache
def by_kind() -> dict[str, list[str]]:
    """Type of a head -> the architectures that have one, the smallest first."""
    sizes = {name: stated.value for name, stated in api.catalog().parameters.items()}
    result: dict[str, list[str]] = {}
    for name in sorted(api.architecture_names(), key=lambda each: sizes.get(each, 10**12)):
        for kind in types_in(api.architecture(name)):
            result.setdefault(kind, []).append(name)
    return result


def types_in(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(types_in, value))
    if not isinstance(value, dict):
        return set()
    inner = set().union(*map(types_in, value.values()))
    return inner | {value["type"]} if isinstance(value.get("type"), str) else inner


def members(protocol: type) -> set[str]:
    kinds = [kind for kind in protocol.__mro__ if getattr(kind, "_is_protocol", False) and kind is not Protocol]
    names = {name for kind in kinds for name in (*get_annotations(kind), *vars(kind))}
    return {name for name in names if not name.startswith("_")}


def head_of(kind: str) -> nn.Module | None:
    """A head of exactly this class, without memory; a description may name another than is built."""
    for name in by_kind().get(kind, ()):
        with torch.device("meta"):
            network = zoo.build(name)
        for part in network.modules():
            if type(part).__name__ == kind:
                return part
    return None


@pytest.mark.parametrize("kind", sorted(LOSSES.keys() - WITHOUT_AN_ARCHITECTURE))
def test_a_head_has_what_its_losses_ask_of_it(kind):
    head = head_of(kind)
    assert head is not None
    asked = get_type_hints(losses_of(head)).get("head")
    assert asked is not None and asked is not Any
    assert lacking(head, asked) == []


@pytest.mark.parametrize("kind", ["BoxInstBboxHead", "CondInstBboxHead", "YOLACTHead"])
def test_a_detector_and_its_heads_have_what_the_losses_ask_of_them(kind):
    with torch.device("meta"):
        network = zoo.build(by_kind()[kind][0])
    asked = get_type_hints(losses_of(network.bbox_head))["detector"]
    assert lacking(network, asked) == []
    parts = {name: part for name, part in get_type_hints(asked).items() if getattr(part, "_is_protocol", False)}
    assert parts and [name for name, part in parts.items() if lacking(getattr(network, name), part)] == []


def test_student_and_teacher_have_what_the_losses_of_soft_teacher_ask_of_them():
    with torch.device("meta"):
        network = zoo.build("faster_rcnn_r50_fpn_1x_coco")
    assert lacking(network, TwoStage) == []
    assert lacking(network.roi_head, DetectingRoIHead) == []
    assert lacking(network.roi_head.bbox_head, ScoringHead) == []


def lacking(part: object, protocol: type) -> list[str]:
    return [member for member in sorted(members(protocol)) if not hasattr(part, member)]
