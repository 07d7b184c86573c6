"""What a description asks for that this package does not have: all of it, so that one message can list it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zoo.models import build
from zoo.models.component_table import COMPONENTS, find, kind_of
from zoo.models.layers.activation import ACTIVATIONS
from zoo.models.layers.conv import CONVS
from zoo.models.layers.linear import LINEARS
from zoo.models.layers.norm import NORMS
from zoo.models.layers.plugin import PLUGINS
from zoo.models.roi_heads.roi_layers import ROI_LAYERS
from zoo.models.transformer.layers import LAYOUT

LAYERS = {*ACTIVATIONS, *CONVS, *LINEARS, *NORMS, *PLUGINS, *ROI_LAYERS}
"""Types that are not components of their own, but layers that a component makes."""


def unsupported(description: Any, where: str = "model") -> list[str]:
    """A phrase for every type and argument that `zoo.build` would refuse, in the order of the description.

    Types in lower case are a component's own vocabulary, which only that component knows; what only training needs
    does not count.
    """
    return list(dict.fromkeys(phrases(description, where)))


def phrases(description: Any, where: str) -> Iterator[str]:
    """The phrases, with repetitions where a description repeats itself."""
    if isinstance(description, (list, tuple)):
        for index, item in enumerate(description):
            yield from phrases(item, f"{where}[{index}]")
    if not isinstance(description, Mapping):
        return
    kind = description.get("type")
    if isinstance(kind, str):
        yield from own(kind, description, where)
    for key, item in description.items():
        if not str(key).startswith(build.TRAINING_ONLY):
            yield from phrases(item, f"{where}.{key}")


def own(kind: str, description: Mapping[str, Any], where: str) -> Iterator[str]:
    """What is wrong with one mapping itself."""
    if kind in COMPONENTS:
        unknown = set(description) - build.parameters(find(kind_of(description))) - {"type", *LAYOUT}
        for key in sorted(key for key in map(str, unknown) if not key.startswith(build.TRAINING_ONLY)):
            yield f"{kind}'s argument {key} ({where})"
    elif kind not in LAYERS and kind[:1].isupper():
        yield f"{kind} ({where})"
