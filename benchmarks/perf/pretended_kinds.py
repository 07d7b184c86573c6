"""Which architectures stand for all others on the pretended device: one for each detector, backbone, neck and head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from zoo.manifest import api
from zoo.models.component_table import COMPONENTS, kind_of

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
    own = set(kinds(api.architecture(name)))
    return {kind for kind in own if COMPONENTS.get(kind, "").partition(".")[0] in PACKAGES}


@lru_cache
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


# Kinds -> how often the host must ask the device, beside the copies of boxes, scores and labels: what it must know how
# many there are of to go on, and the copies of masks. The first kind that a network has decides.
ASKING: dict[str, int] = {
    "GARPNHead": 15,  # of each of five levels: anchors, large ones, survivors
    "GARetinaHead": 7,  # anchors of each level, candidates, survivors
    "SOLOHead": 6,  # candidates, their masks, those of each level, large ones, survivors, the copy of the masks
    "DecoupledSOLOHead": 6,
    "DecoupledSOLOLightHead": 5,  # suppressed by peaks alone
    "SOLOV2Head": 5,  # as SOLO, without levels
    "DDQDETR": 6,  # survivors of the proposals, and of each decoder layer but the last
    "CoDETR": 1,  # survivors on the CPU
    "SparseInst": 2,  # instances, the copy of the masks
    "CenterNetUpdateHead": 3,  # candidates, those with sides, survivors
    "CenterNet": 0,  # peaks, of which there is a fixed number
    "CornerNet": 1,  # groups of corners
    "Mask2Former": 6,  # kept queries, things, pixels of each segment; copies of masks and of the panoptic map
    "MaskFormer": 4,
    "YOLACT": 2,  # survivors, the copy of the masks
    "RTMDetInsSepBNHead": 4,  # candidates, those with sides, survivors, the copy of the masks
    "CondInst": 4,
    "BoxInst": 4,
    "RTMDetSepBNHead": 3,
    "EfficientDet": 7,  # candidates, those with sides; suppression on the CPU: three copies there, two back
    "YOLOV3Head": 3,  # cells with an object, pairs above the threshold, survivors
    "PAAHead": 3,  # pairs, survivors, those that vote
    "LADHead": 3,
    "SSDHead": 3,  # candidates, the best of each class, survivors
    "QueryInst": 3,  # positions in the image, regions of each level, the copy of the masks
    "DoubleHeadRoIHead": 6,  # two stages that pool twice
    "FastRCNN": 4,  # the proposals to the device, regions of each level, pairs, survivors
    "SparseRCNN": 6,  # regions of each level, in every stage
    "DiffusionDet": 8,
}
TWO_STAGES, DENSE, MASKS = 5, 2, 3
MASK_HEADS = ("FCNMaskHead", "HTCMaskHead", "SCNetMaskHead", "CoarseMaskHead", "GridHead", "KeypointRCNNHead")


def needed(name: str) -> int:
    """Waits of the host for one image that nothing saves: the copies of the results, and the counts without which it
    cannot go on.

    Dense heads count candidates and survivors; two stages count proposals that are large enough and that survive,
    regions of each level, pairs above the threshold and survivors, and again the regions of every further stage. Masks
    have their own regions per level, positions in the image, and a copy. Queries need nothing of that.
    """
    description, own = api.architecture(name), own_kinds(name)
    copies = 3
    for kind, count in ASKING.items():
        if kind in own:
            return copies + count
    if "roi_head" in description:
        stages = description["roi_head"].get("num_stages", 1)
        return copies + TWO_STAGES + stages - 1 + (MASKS if own & set(MASK_HEADS) else 0)
    queries = any(COMPONENTS[kind].startswith("query_heads.") for kind in own)
    return copies + (0 if queries else DENSE)
