"""What decides how much work a detector does beside its layers, by the same names for all implementations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.models.detectors.base import Detector


def of_ours(model: Detector) -> dict[str, Any]:
    """Thresholds and numbers of one of our detectors; what it does not have is left out."""
    head = getattr(model, "roi_head", None) or getattr(model, "bbox_head", None)
    result = stage(getattr(head, "test_cfg", None) or {})
    rpn = getattr(model, "rpn_head", None)
    if rpn is not None:
        cfg = rpn.test_cfg
        result |= {"candidates_per_level": cfg.get("nms_pre"), "proposals": cfg.get("max_per_img")}
        result["proposal_nms_iou"] = (cfg.get("nms") or {}).get("iou_threshold")
    return {name: value for name, value in result.items() if value is not None}


def stage(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the last stage."""
    return {
        "score_threshold": cfg.get("score_thr"),
        "nms_iou": (cfg.get("nms") or {}).get("iou_threshold"),
        "detections": cfg.get("max_per_img"),
        "candidates_per_level": cfg.get("nms_pre"),
    }


def of_torchvision(network: Any) -> dict[str, Any]:
    """Those of torchvision's two-stage and single-stage detectors."""
    if not hasattr(network, "roi_heads"):
        names = {"score_threshold": "score_thresh", "nms_iou": "nms_thresh", "detections": "detections_per_img"}
        names["candidates_per_level"] = "topk_candidates"
        return {name: getattr(network, theirs, None) for name, theirs in names.items()}
    heads, rpn = network.roi_heads, network.rpn
    return {
        "score_threshold": heads.score_thresh,
        "nms_iou": heads.nms_thresh,
        "detections": heads.detections_per_img,
        "candidates_per_level": rpn._pre_nms_top_n["testing"],
        "proposals": rpn._post_nms_top_n["testing"],
        "proposal_nms_iou": rpn.nms_thresh,
    }


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """`name ours / theirs` of every setting that both have and that differs."""
    shared = [name for name in ours if theirs.get(name) is not None]
    return [f"{name} {ours[name]} / {theirs[name]}" for name in shared if not same(ours[name], theirs[name])]


def same(one: Any, other: Any) -> bool:
    """Equal, numbers as numbers."""
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return abs(one - other) < 1e-9
    return bool(one == other)
