"""torchvision's compiled operators, without what `import torchvision` brings along.

That import takes as long as PyTorch's own, since it imports PyTorch's compiler. A single detection needs none of it:
for plain inference on a CPU the library that holds the operators is enough.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.models.layers.tracing import in_graph, recording

LIBRARIES = ("_C_stable", "_C")  # since torchvision 0.29, and before


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """`torchvision.ops.nms`: indices of the boxes that survive, best first. boxes: (K, 4) xyxy. scores: (K,)."""
    if plain(boxes) and operators_are_loaded():
        kept: Tensor = torch.ops.torchvision.nms(boxes, scores, iou_threshold)
    else:
        kept = whole().nms(boxes, scores, iou_threshold)
    return kept


def roi_align(features: Tensor, rois: Tensor, *args: Any, **options: Any) -> Tensor:
    """`torchvision.ops.roi_align`, imported when it is called: inference on a CPU mostly does without it."""
    aligned: Tensor = whole().roi_align(features, rois, *args, **options)
    return aligned


def whole() -> Any:
    """`torchvision.ops`, while a graph is recorded imported by a thread of its own.

    The import calls an operator, which has no place in the graph, and only what its own thread does is recorded.
    """
    if "torchvision" not in sys.modules and recording() and not torch.compiler.is_dynamo_compiling():
        with ThreadPoolExecutor(1) as pool:
            pool.submit(import_module, "torchvision").result()
    from torchvision import ops

    return ops


def plain(x: Tensor) -> bool:
    """Whether an operator on `x` needs its compiled code and nothing of what torchvision registers from Python."""
    traced = in_graph() or torch.is_autocast_enabled("cpu")
    return x.device.type == "cpu" and not x.requires_grad and not traced


@cache
def operators_are_loaded() -> bool:
    """Load the compiled operators, unless they are there; False if their file is not where it is known to be."""
    if "torchvision" in sys.modules:
        return True
    files = [file for file in map(Path, candidates()) if file.is_file()]
    for file in files[:1]:
        torch.ops.load_library(file)
    return bool(files) and hasattr(torch.ops.torchvision, "nms")


def candidates() -> list[str]:
    """Where the library may be. Finding a package does not import it. Windows needs more than a path to load one."""
    spec = None if sys.platform == "win32" else find_spec("torchvision")
    folders = list((spec.submodule_search_locations if spec else None) or [])
    return [f"{folder}/{name}{end}" for folder in folders for name in LIBRARIES for end in EXTENSION_SUFFIXES]
