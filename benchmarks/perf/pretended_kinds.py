"""Which architectures stand for all others on the pretended device: one for each detector, backbone, neck and head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zoo.manifest import api
from zoo.models.build import COMPONENTS, kind_of

# Packages of zoo.models whose types are wanted: whatever has weights of its own.
PACKAGES = ("backbones", "dense_heads", "detectors", "necks", "query_heads", "roi_heads", "segmentation", "transformer")


def kinds(description: Any) -> Iterator[str]:
    """The types of a description, of its parts and theirs."""
    if isinstance(description, Mapping):
        if isinstance(description.get("type"), str):
            yield kind_of(description)
        for value in description.values():
            yield from kinds(value)
    elif isinstance(description, (list, tuple)):
        for value in description:
            yield from kinds(value)


def own_kinds(name: str) -> set[str]:
    """The types in an architecture that have weights."""
    found = set(kinds(api.architecture(name)))
    return {kind for kind in found if COMPONENTS.get(kind, "").partition(".")[0] in PACKAGES}


def representatives() -> dict[str, list[str]]:
    """Architecture -> the types that it stands for: the smallest networks that have every type there is."""
    smallest_first = sorted(api.architecture_names(), key=lambda name: (size(name), name))
    first: dict[str, str] = {}
    for name in smallest_first:
        for kind in own_kinds(name):
            first.setdefault(kind, name)
    shown: dict[str, list[str]] = {}
    covered: set[str] = set()
    for name in reversed(smallest_first):  # what only large networks have comes first, and covers more
        missing = {kind for kind, owner in first.items() if owner == name} - covered
        if missing:
            shown[name] = sorted(missing)
            covered |= own_kinds(name)
    return dict(sorted(shown.items()))


def size(name: str) -> int:
    """Parameters of an architecture; unknown ones count as large."""
    known = api.catalog().parameters
    return int(known[name].value) if name in known else 10**9


# Kinds -> how often the host must ask the device, beside the copies of the results.
TWO_STAGES, DENSE, NOTHING = 5, 2, 0
ASKING: dict[str, int] = {
    # distinct queries: suppression of the proposals and between six layers
    "DDQDETR": 6,
}
MASKS = ("FCNMaskHead", "HTCMaskHead", "SCNetMaskHead", "CoarseMaskHead")


def needed(name: str) -> int:
    """Waits of the host for one image that nothing saves: the copies of the results, and the counts without which it
    cannot go on.

    Dense heads count candidates and survivors; two stages count proposals that are large enough and that survive,
    regions of each level, pairs above the threshold and survivors, and again the regions of every further stage. Masks
    have their own regions per level, places in the image, and a copy. Queries need nothing of that.
    """
    description, own = api.architecture(name), own_kinds(name)
    copies = 3
    for kind, count in ASKING.items():
        if kind in own:
            return copies + count
    if any(kind.endswith("RoIHead") and kind != "SparseRoIHead" for kind in own):
        stages = description["roi_head"].get("num_stages", 1) if "roi_head" in description else 1
        return copies + TWO_STAGES + stages - 1 + (3 if own & set(MASKS) else 0)
    queries = any(COMPONENTS[kind].startswith("query_heads.") for kind in own)
    return copies + (NOTHING if queries else DENSE)
