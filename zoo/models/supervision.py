"""What a network learns from, beside boxes and labels. Its components say so themselves:

- `learns_masks`: masks of objects.
- `learns_semantic`: classes of all pixels (as many as its `num_classes`, or its things and stuff).
- `learns_keypoints`: keypoints of objects, with the center of pixel 0 at its `pixel_center`.
- `needs_proposals`: boxes that another network proposes.
- `needs_unlabeled`: images without annotations, beside those with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from zoo.models import build
from zoo.models.component_table import COMPONENTS, find, kind_of


@dataclass(frozen=True)
class Supervision:
    """semantic: number of classes of pixels, or None. keypoints: `pixel_center`, or None."""

    masks: bool = False
    semantic: int | None = None
    keypoints: float | None = None
    proposals: bool = False
    unlabeled: bool = False


def supervision(description: Mapping[str, Any]) -> Supervision:
    """What the network of a description learns from. Raises BuildError for an unknown type."""
    parts = list(components(description))
    semantic = [count for part in parts if says(part, "learns_semantic") and (count := pixel_classes(part))]
    keypoints = [float(settings(part)["pixel_center"]) for part in parts if says(part, "learns_keypoints")]
    return Supervision(
        masks=any(says(part, "learns_masks") for part in parts),
        semantic=semantic[0] if semantic else None,
        keypoints=keypoints[0] if keypoints else None,
        proposals=any(says(part, "needs_proposals") for part in parts),
        unlabeled=any(says(part, "needs_unlabeled") for part in parts),
    )


def components(description: Any) -> Iterator[Mapping[str, Any]]:
    """Every part of a description that is a component, the whole included."""
    if isinstance(description, Mapping):
        if "type" in description and kind_of(description) in COMPONENTS:
            yield description
        description = list(description.values())
    if isinstance(description, (list, tuple)):
        for item in description:
            yield from components(item)


def says(part: Mapping[str, Any], attribute: str) -> bool:
    """Whether a component's class has the attribute set."""
    return bool(getattr(find(kind_of(part)), attribute, False))


def settings(part: Mapping[str, Any]) -> dict[str, Any]:
    """A component's arguments with its constructor's defaults."""
    own = build.signature(find(kind_of(part)))
    return {p.name: p.default for p in own if p.default is not p.empty} | dict(part)


def pixel_classes(part: Mapping[str, Any]) -> int:
    """How many classes of pixels a component distinguishes; 0 for one of things only, whose masks say it all."""
    own = settings(part)
    if "num_stuff_classes" not in own:
        return int(own["num_classes"])
    stuff = int(own["num_stuff_classes"])
    return int(own["num_things_classes"]) + stuff if stuff else 0
