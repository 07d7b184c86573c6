"""What `bench gpu-check` runs beside the networks, in order of length: commands whose numbers a GPU alone gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Shorter than the protocol's definition asks for, and the records say so.
QUICK = ("min_iterations=32", "min_seconds=1", "max_seconds=5", "warmup_seconds=3")
WELL_KNOWN = (
    "ssd300_coco",
    "yolov3_d53_mstrain-608_273e_coco",
    "retinanet_r50_fpn_1x_coco",
    "faster_rcnn_r50_fpn_1x_coco",
    "mask_rcnn_r50_fpn_1x_coco",
    "atss_r50_fpn_1x_coco",
    "yolox_s_8x8_300e_coco",
    "cascade_mask_rcnn_r50_fpn_1x_coco",
    "deformable_detr_r50_16x2_50e_coco",
    "mask2former_r50_lsj_8x2_50e_coco",
    "yolox_x_8x8_300e_coco",
    "rtmdet_l_8xb32-300e_coco",
)
PEERS = ("fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "retinanet_resnet50_fpn")
TRAINED = ("retinanet_r50_fpn_1x_coco", "mask_rcnn_r50_fpn_1x_coco")


@dataclass(frozen=True)
class Stage:
    """One command. words: of `bench`, with {device} and {out}. minutes: when it is ended. shows: what to expect."""

    name: str
    words: tuple[str, ...]
    minutes: float
    shows: str


def stages(short: bool) -> list[Stage]:
    """All stages, shortest first. short: with fewer calls each, some five minutes in all."""
    settings = [word for value in QUICK for word in ("--set", value)] + ["--limit", "8"] if short else []
    speed = ("--random-weights", "--no-effects", *settings)
    return [
        Stage(
            "accuracy",
            ("demo", "--fast", "--device", "{device}", "--out", "{out}/demo"),
            5,
            "The AP that the manifest states, on generated images.",
        ),
        *(training(name, short) for name in TRAINED),
        *(peer(name, settings) for name in PEERS),
        Stage(
            "speed, options",
            inference(TRAINED[0], "--random-weights", *settings, *OPTIONS),
            30,
            "Each option's gain, and the share of detections that stay.",
        ),
        Stage("speed", inference(*WELL_KNOWN, *speed), 60, "fps and memory in float32."),
        Stage("speed, TF32", inference(*WELL_KNOWN, *speed, "--tf32"), 60, "At least the fps of float32."),
        Stage("speed, fp16", inference(*WELL_KNOWN, *speed, "--amp", "fp16"), 60, "More fps, less memory."),
    ]


OPTIONS = ("--fuse-conv-bn", "--channels-last", "--amp", "fp16")


def inference(*words: str) -> tuple[str, ...]:
    """`bench inference` on the device."""
    return ("inference", *words, "--device", "{device}", "--results", "{out}/results.db")


def training(name: str, short: bool) -> Stage:
    """Training speed and memory by Detectron2's protocol, whose batches are made beforehand."""
    settings = ("--set", "iterations=60", "--set", "skipped=20", "--set", "prepared=8") if short else ()
    words = ("training", name, "--protocol", "detectron2", "--workers", "4", *settings, "--device", "{device}")
    said = "Seconds per iteration of two images, and the memory that published training logs state."
    return Stage(f"training {name}", (*words, "--results", "{out}/results.db"), 30, said)


def peer(name: str, settings: Sequence[str]) -> Stage:
    """torchvision's detector beside ours with the same weights, in turns."""
    words = ("compare", f"torchvision/{name}", *settings, "--device", "{device}", "--results", "{out}/results.db")
    return Stage(f"torchvision's {name}", words, 30, "The same detections; a ratio of speeds with its interval.")
