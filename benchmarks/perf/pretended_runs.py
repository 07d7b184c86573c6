"""One architecture on the pretended CUDA device, in one mode: whether it runs, and how often the host waits."""

from __future__ import annotations

import copy
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor

import zoo
from benchmarks.gpu_check.networks import teach
from benchmarks.parity import formula, reference
from benchmarks.parity.training_step import objects, step
from benchmarks.perf.pretended_device import PretendCuda
from benchmarks.perf.pretended_operators import OURS
from benchmarks.speed import optimizations
from benchmarks.speed.options import Options
from zoo.errors import NotTrainable, ZooError
from zoo.models.fuse import fuse_conv_bn
from zoo.structures import Detections, ImageGeometry
from zoo.training.dataset import Batch

# "options": batch norm folded in, channels last and fp16 at once.
MODES = ("fp32", "fp16", "bf16", "fuse", "channels_last", "options", "detect", "losses", "losses_fp16")
BEYOND = "values beyond fp16"  # of these weights; with the range of bf16 the losses are finite
NOT_WAITING, NOT_RUN = "not waiting", "not run"
# Networks whose input has sides of a multiple of 128, and those that normalize a single cell in training.
REGIONS, PROPOSALS, DETECTIONS = 32, 100, 20
SQUARE, PAIRED = (
    ("corner", "centripetal", "centernet", "efficientdet", "fpg", "nasfpn"),
    ("ssdlite", "efficientdet", "_s50_", "fpg", "nasfpn", "hourglass"),
)


@dataclass
class Network:
    """An architecture on the CPU with inputs. size: (h, w) inside the padding. regions: proposals, if it needs some."""

    name: str
    model: Any
    images: Tensor
    size: tuple[int, int]
    regions: list[Tensor] | None

    def copy(self) -> Any:
        """The network once more, for a mode to change."""
        return copy.deepcopy(self.model)


@lru_cache(maxsize=1)
def build(name: str, small: bool = False) -> Network:
    """Weights and images of the architecture's record, if there is one, with thresholds that let something through."""
    torch.manual_seed(0)
    model = zoo.build(name).eval()
    try:
        record = reference.read(name)
        formula.fill(model, record.gains)
        images, size = record.images, record.size
        regions = record.proposals and [boxes.clamp(max=120) for boxes in record.proposals]
    except (ZooError, OSError, KeyError):
        images, size = torch.randn(1, 3, 320, 320), (310, 310)
        regions = [formula.proposals(320, 320)] if "fast_rcnn" in name and "er_rcnn" not in name else None
    if small and "ssd300" not in name:
        square = any(word in name for word in SQUARE)
        width = 128 if square else 160
        images, size = images[:, :, :128, :width].contiguous(), (128, width if square else width - 10)
    let_through(model)
    return Network(name, model, images, size, regions)


def let_through(model: Any) -> None:
    """Thresholds so low that there are detections, and few of them; few regions to learn from, since a CPU computes."""
    for module in model.modules():
        if (settings := getattr(module, "train_cfg", None)) is not None:
            module.train_cfg = fewer(settings)
        cfg = getattr(module, "test_cfg", None)
        if isinstance(cfg, dict) and "max_per_img" in cfg:
            module.test_cfg = {
                **cfg,
                "max_per_img": min(cfg["max_per_img"], DETECTIONS if "score_thr" in cfg else PROPOSALS),
            }
        if isinstance(cfg, dict) and "score_thr" in cfg:
            module.test_cfg = {**module.test_cfg, "score_thr": min(cfg["score_thr"], 1e-4)}


def fewer(settings: Any) -> Any:
    """Training settings, or those of each stage, with at most REGIONS sampled."""
    if isinstance(settings, (list, tuple)):
        return [fewer(part) for part in settings]
    sampler = settings.get("sampler") if isinstance(settings, Mapping) else None
    if not sampler or "num" not in sampler:
        return settings
    return {**settings, "sampler": {**sampler, "num": min(sampler["num"], REGIONS)}}


@lru_cache(maxsize=1)
def on_cpu(name: str, small: bool) -> list[Detections]:
    """What the CPU detects."""
    network = build(name, small)
    return predict(network, network.copy(), "cpu")


def predict(
    network: Network, model: Any, device: str, precision: torch.dtype | None = None, last: bool = False
) -> list[Detections]:
    """What a benchmark's call does, with results in an image of twice the size."""
    layout = torch.channels_last if last else torch.contiguous_format
    (height, width), geometry = network.size, network.size
    output = ImageGeometry(geometry, (height * 2, width * 2), (0.5, 0.5))
    rest = [] if network.regions is None else [[boxes.to(device) for boxes in network.regions]]
    with torch.inference_mode(), torch.autocast(device, precision) if precision else nullcontext():
        given = network.images.to(torch.device(device), memory_format=layout, non_blocking=True)
        return [detections.to("cpu") for detections in model.predict(given, [output], *rest)]


def waited(gpu: PretendCuda) -> int:
    """How often the host waited."""
    return sum(count for (kind, _), count in gpu.waits.items() if NOT_WAITING not in kind)


def waits(gpu: PretendCuda) -> dict[str, Any]:
    """What the host waited for, and where."""
    locations = {f"{kind} | {location}": count for (kind, location), count in gpu.waits.most_common()}
    return {"kinds": dict(gpu.kinds), "locations": locations}


def run(name: str, mode: str, backward: bool = True, compare: bool = True, small: bool = False) -> dict[str, Any]:
    """A row: `ok`, `result` in words, `syncs` (of a second call), `first` (of the first one), `kinds` and `locations`.

    compare: run on the CPU as well. backward: losses with gradients and a step.
    """
    row: dict[str, Any] = {"name": name, "mode": mode, "ok": True}
    begun, gpu = time.perf_counter(), PretendCuda()
    check: Callable[..., dict[str, Any]]
    check = trained if mode.startswith("losses") else detected if mode == "detect" else inferred
    try:
        row |= check(build(name, small), mode, gpu, backward if check is trained else compare, small)
    except NotTrainable as error:
        row["result"] = f"does not train: {error}"
    except Exception as error:  # whatever it is, it is the finding
        row |= {"ok": False, "result": f"FAULT {type(error).__name__}: {first_line(error)} ({where(error)})"}
        row["traceback"] = traceback.format_exc()
    row = {"syncs": waited(gpu), **waits(gpu), **row}
    return {**row, "operators": sum(gpu.operators.values()), "seconds": round(time.perf_counter() - begun, 1)}


def first_line(error: Exception) -> str:
    """An error in at most 300 characters."""
    return str(error).split("\n", 1)[0][:300]


def where(error: Exception) -> str:
    """The project's line that an error comes from."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if any(part in f.filename for part in OURS)]
    return f"{frames[-1].filename.split('/zoo/')[-1]}:{frames[-1].lineno} {frames[-1].name}" if frames else ""


def inferred(network: Network, mode: str, gpu: PretendCuda, compare: bool, small: bool) -> dict[str, Any]:
    """Detections of a batch in memory."""
    want = on_cpu(network.name, small) if compare else None
    model = network.copy()
    folds = mode in ("fuse", "options") and fuse_conv_bn(copy.deepcopy(model)) > 0
    if mode == "fuse" and not folds:
        return {"result": "no batch norm to fold"}
    precision = mode if mode in ("fp16", "bf16") else "fp16" if mode == "options" else None
    chosen = Options(fuse_conv_bn=folds, channels_last=mode in ("channels_last", "options"), amp=precision)
    with gpu:
        fast = optimizations.apply(model, chosen).to("cuda")
        predict(network, fast, "cuda", chosen.precision, chosen.channels_last)
        first = waited(gpu)
        gpu.clear()
        have = predict(network, fast, "cuda", chosen.precision, chosen.channels_last)
    return {"result": gap(have, want) if want else f"{len(have[0])} detections", "first": first}


def gap(have: list[Detections], want: list[Detections]) -> str:
    """How two lists of detections differ: numbers, and scores of equal rank."""
    if len(have[0]) != len(want[0]):
        return f"{len(have[0])} instead of {len(want[0])}"
    if not len(have[0]):
        return "no detections"
    score = float((have[0].scores - want[0].scores).abs().max())
    return f"{len(have[0])} detections, scores within {score:.1g}"


def detected(network: Network, mode: str, gpu: PretendCuda, compare: bool, small: bool) -> dict[str, Any]:
    """`model.detect` of two files; they are narrow, since recipes make the longer side more than a thousand pixels."""
    if network.regions is not None:
        return {"result": "needs proposals"}
    model = network.copy()
    with tempfile.TemporaryDirectory() as folder, gpu:
        files = [str(Path(folder) / f"{i}.png") for i in range(2)]
        for i, file in enumerate(files):
            cv2.imwrite(file, formula.image(20 + 4 * i, 400, i))
        result = model.detect(files, "cuda")
    if any(one.boxes.device.type != "cpu" for one in result):
        return {"result": f"detections on {result[0].boxes.device}"}
    return {"result": f"{' and '.join(str(len(one)) for one in result)} detections"}


def trained(network: Network, mode: str, gpu: PretendCuda, backward: bool, small: bool) -> dict[str, Any]:
    """One step as the trainer takes it. `syncs` are those of the losses, `step` those of backward and optimizer.

    In float32 they are those of a second call, as when anchors of this size have been made before.
    """
    torch.manual_seed(0)
    precision, model, device = reduced(mode), network.copy(), torch.device("cuda")
    with gpu:
        model = model.train().to(device)
        teach(model, network.model)
        count = 2 if any(word in network.name for word in PAIRED) else 1
        images, sizes = network.images.repeat(count, 1, 1, 1), [network.size] * count
        batch = Batch(images, sizes, with_keypoints(objects(network.images)) * count).to(device)
        rest = [] if network.regions is None else [[boxes.to(device) for boxes in network.regions]]
        if precision is None:
            with torch.no_grad():
                model.losses(*batch, *rest)
        gpu.clear()
        with torch.autocast("cuda", precision) if precision else nullcontext():
            losses = model.losses(*batch, *rest)
        row: dict[str, Any] = {"syncs": waited(gpu), **waits(gpu)}
        if backward:
            step(model, losses, "cuda", precision)
            row["step"] = waited(gpu) - row["syncs"]
        values = {name: float(value.detach().sum().cpu()) for name, value in losses.items()}
    row |= {"ok": all(value == value for value in values.values()), "losses": values}
    if precision is torch.float16 and not row["ok"]:  # bfloat16 has the range of float32
        again = trained(network, mode.replace("fp16", "bf16"), gpu, False, small)
        return row | {"result": BEYOND if again["ok"] else "NaN", "ok": again["ok"]}
    return row | {"result": "ok" if row["ok"] else "NaN"}


def reduced(mode: str) -> torch.dtype | None:
    """The type that autocast reduces to in a mode of training; None for float32."""
    return torch.float16 if "fp16" in mode else torch.bfloat16 if "bf16" in mode else None


def with_keypoints(targets: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    """The targets with 17 visible keypoints in the middle of each box."""
    middles = [(own["boxes"][:, :2] + own["boxes"][:, 2:]) / 2 for own in targets]
    points = [torch.cat([x, torch.full_like(x[:, :1], 2)], dim=1)[:, None].repeat(1, 17, 1) for x in middles]
    return [{**own, "keypoints": x} for own, x in zip(targets, points)]
