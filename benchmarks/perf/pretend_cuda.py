"""Architectures on a pretended CUDA device: faults of devices and types, and how often the host would wait.

    python -m benchmarks.perf.pretend_cuda NAME ... [--modes fp32,fp16,losses_fp16 | all] [--families | --all]
                                           [--small] [--where] [--json FILE]

Prints for each architecture whether it ran, or the first fault with its place, and how often the host waits for the
device (`syncs`: in a second call, `first`: with moving the network and filling caches), with the places if `--where`.
Needs no GPU. Losses with gradients on a PyTorch built for CUDA need gcc and nm (Linux). `pretended_device` says what
is simulated and what cannot be seen.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import zoo
from benchmarks.gpu_check.networks import families
from benchmarks.parity import formula, reference
from benchmarks.parity.training_step import objects
from benchmarks.perf.pretended_device import OURS, PretendCuda
from benchmarks.speed import optimizations
from benchmarks.speed.options import Options
from zoo.errors import ZooError
from zoo.structures import ImageGeometry
from zoo.training.dataset import Batch

SHIM = """
static int count = 0;
void pretend_devices(int n) { count = n; }
signed char _ZN3c104cuda12device_countEv(void) { return count; } /* c10::cuda::device_count() */
"""


def with_backward() -> None:
    """Start this program again with what autograd's engine asks of CUDA: a build of PyTorch with CUDA, but without a
    driver, refuses to run backward on such tensors. Needs gcc and nm; a build without CUDA needs none of it."""
    import subprocess

    if torch.version.cuda is None or os.environ.get("PRETEND_CUDA"):
        return
    folder = Path(tempfile.mkdtemp(prefix="pretend-cuda-"))
    library = Path(torch.__file__).parent / "lib" / "libcaffe2_nvrtc.so"
    listed = subprocess.run(["nm", "-D", str(library)], capture_output=True, text=True, check=True).stdout.split("\n")
    wanted = {line.split()[-1] for line in listed if " U cu" in line} - {"cuDevicePrimaryCtxGetState"}
    driver = "".join(f"int {name}(void) {{ return 0; }}\n" for name in sorted(wanted))
    driver += "int cuDevicePrimaryCtxGetState(int d, unsigned *f, int *a) { if (f) *f = 0; if (a) *a = 0; return 0; }\n"
    for source, name in ((SHIM, "shim.so"), (driver, "libcuda.so.1")):
        command = ["gcc", "-x", "c", "-shared", "-fPIC", "-w", f"-Wl,-soname,{name}", "-o", str(folder / name), "-"]
        subprocess.run(command, input=source, text=True, check=True)
    paths = {"LD_PRELOAD": str(folder / "shim.so"), "LD_LIBRARY_PATH": str(folder), "PRETEND_CUDA": "1"}
    words = [sys.executable, "-m", "benchmarks.perf.pretend_cuda", *sys.argv[1:]]
    os.execve(sys.executable, words, {**os.environ, **paths})


MODES = ("fp32", "fp16", "bf16", "fuse", "channels_last", "detect", "losses", "losses_fp16")


def build(name: str, small: bool = False) -> tuple[Any, Tensor, tuple[int, int], list[Tensor] | None]:
    """(network, images, size inside the padding, proposals), of a record if there is one."""
    torch.manual_seed(0)
    model = zoo.build(name).eval()
    try:
        record = reference.read(name)
        formula.fill(model, record.gains)
        images, size = record.images, record.size
        if small:
            width = 128 if any(word in name for word in ("corner", "centripetal", "centernet")) else 160
            images, size = images[:, :, :128, :width].contiguous(), (128, width - 10 if width == 160 else width)
        return model, images, size, record.proposals and [boxes.clamp(max=120) for boxes in record.proposals]
    except (ZooError, OSError, KeyError):
        regions = [formula.proposals(256, 320)] if "fast_rcnn" in name and "er_rcnn" not in name else None
        return model, torch.randn(1, 3, 256, 320), (250, 310), regions


def let_through(model: Any) -> None:
    """Thresholds so low that there are detections, and few of them."""
    for module in model.modules():
        cfg = getattr(module, "test_cfg", None)
        if isinstance(cfg, dict) and "score_thr" in cfg:
            module.test_cfg = {
                **cfg,
                "score_thr": min(cfg["score_thr"], 1e-4),
                **({"max_per_img": 20} if "max_per_img" in cfg else {}),
            }


def inference(model: Any, images: Tensor, size: Any, proposals: Any, device: str, precision: Any, last: bool) -> Any:
    """What a benchmark's call does, with results in an image of twice the size."""
    layout = torch.channels_last if last else torch.contiguous_format
    geometry = ImageGeometry(size, (size[0] * 2, size[1] * 2), (0.5, 0.5))
    rest = [] if proposals is None else [[boxes.to(device) for boxes in proposals]]
    with torch.inference_mode(), torch.autocast(device, precision) if precision else nullcontext():
        given = images.to(torch.device(device), memory_format=layout, non_blocking=True)
        return [detections.to("cpu") for detections in model.predict(given, [geometry], *rest)]


def train(model: Any, images: Tensor, size: Any, proposals: Any, precision: Any, backward: bool) -> dict[str, Tensor]:
    """One step as the trainer takes it."""
    batch = Batch(images, [size], objects(images)).to(torch.device("cuda"))
    rest = [] if proposals is None else [[boxes.to("cuda") for boxes in proposals]]
    scaler = torch.amp.GradScaler("cuda", enabled=precision == torch.float16)
    with torch.autocast("cuda", precision) if precision else nullcontext():
        losses = model.losses(*batch, *rest)
        total = torch.stack([value.sum() for name, value in losses.items() if "loss" in name]).sum()
    if backward:
        weights = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(weights, lr=1e-6, momentum=0.9)
        scaler.scale(total).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(weights, 35.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
    return losses


def gap(have: list[Any], want: list[Any]) -> str:
    """How two lists of detections differ: numbers, and scores of equal rank."""
    if len(have[0]) != len(want[0]):
        return f"{len(have[0])} instead of {len(want[0])}"
    if not len(have[0]):
        return "no detections"
    score = float((have[0].scores - want[0].scores).abs().max())
    return f"{len(have[0])} detections, scores within {score:.1g}"


def run(name: str, mode: str, backward: bool, compare: bool = True, small: bool = False) -> dict[str, Any]:
    """One architecture in one mode."""
    row: dict[str, Any] = {"name": name, "mode": mode, "ok": True}
    model, images, size, proposals = build(name, small)
    let_through(model)
    chosen = Options(
        fuse_conv_bn=mode == "fuse",
        channels_last=mode == "channels_last",
        amp=mode if mode in ("fp16", "bf16") else None,
    )
    begun = time.perf_counter()
    gpu = PretendCuda()
    try:
        if mode.startswith("losses"):
            torch.manual_seed(0)
            with gpu:
                model = model.train().to("cuda")
                gpu.clear()
                losses = train(model, images, size, proposals, torch.float16 if "fp16" in mode else None, backward)
                row["losses"] = {key: float(value.detach().sum().cpu()) for key, value in losses.items()}
        elif mode == "detect":
            with gpu:
                image = np.random.RandomState(0).randint(0, 255, (90, 120, 3), np.uint8)
                (detections,) = model.detect([image], "cuda") if proposals is None else [None]
                row["gap"] = "" if detections is None else f"{len(detections)} detections on {detections.boxes.device}"
        else:
            want = inference(model, images, size, proposals, "cpu", None, False) if compare else None
            with gpu:
                fast = optimizations.apply(model, chosen).to("cuda")
                call = lambda: inference(fast, images, size, proposals, "cuda", chosen.precision, chosen.channels_last)  # noqa: E731
                call()
                row["first"] = sum(n for (kind, _), n in gpu.waits.items() if "not waiting" not in kind)
                gpu.clear()
                detections = call()
                row["gap"] = gap(detections, want) if want else f"{len(detections[0])} detections"
    except Exception as error:  # whatever it is, it is the finding
        frames = [f for f in traceback.extract_tb(error.__traceback__) if any(p in f.filename for p in OURS)]
        where = f"{frames[-1].filename.split('/zoo/')[-1]}:{frames[-1].lineno} {frames[-1].name}" if frames else ""
        row |= {"ok": False, "fault": f"{type(error).__name__}: {str(error).splitlines()[0][:300]}", "where": where}
        row["traceback"] = traceback.format_exc()
    row["syncs"] = sum(n for (kind, _), n in gpu.waits.items() if "not waiting" not in kind)
    row["kinds"] = dict(gpu.kinds)
    row["places"] = {f"{kind} | {where}": count for (kind, where), count in gpu.waits.most_common()}
    row["operators"] = sum(gpu.operators.values())
    row["seconds"] = round(time.perf_counter() - begun, 1)
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="architectures (zoo list --architectures)")
    parser.add_argument("--families", action="store_true", help="the smallest recorded architecture of each family")
    parser.add_argument("--all", action="store_true", help="every recorded architecture")
    parser.add_argument("--modes", default="fp32", help=f"some of {','.join(MODES)}, or all (%(default)s)")
    parser.add_argument("--where", action="store_true", help="also where the host waits")
    parser.add_argument("--no-backward", action="store_true", help="losses only, without gradients and a step")
    parser.add_argument("--small", action="store_true", help="images of 128 x 160")
    parser.add_argument("--no-compare", action="store_true", help="do not run on the CPU as well")
    parser.add_argument("--json", metavar="FILE", help="append rows as JSON lines; what is in it is not run again")
    parser.add_argument("--seconds", type=float, default=0, help="stop after so long")
    args = parser.parse_args()
    modes = MODES if args.modes == "all" else args.modes.split(",")
    backward = any(mode.startswith("losses") for mode in modes) and not args.no_backward
    if backward:
        with_backward()
    torch.set_num_threads(1)
    names = args.names or (reference.names() if args.all else families() if args.families else [])
    begun, failed = time.perf_counter(), 0
    rows = (
        [json.loads(line) for line in Path(args.json).read_text().splitlines()]
        if args.json and os.path.exists(args.json)
        else []
    )
    done = {(row["name"], row["mode"]) for row in rows}
    print(f"{'architecture':60} {'mode':12} {'result':30} {'syncs':>5} {'first':>5}  kinds")
    for name in names:
        for mode in modes:
            if args.seconds and time.perf_counter() - begun > args.seconds:
                print("out of time before", name, mode)
                return 1
            if (name, mode) in done:
                continue
            row = run(name, mode, backward, not args.no_compare, args.small)
            failed += not row["ok"]
            result = row.get("gap", "ok") if row["ok"] else f"FAULT {row['fault']} ({row['where']})"
            kinds = ", ".join(f"{k} {n}" for k, n in sorted(row["kinds"].items()))
            print(
                f"{name[:60]:60} {mode:12} {result:30} {row['syncs']:5} {row.get('first', ''):>5}  {kinds}", flush=True
            )
            if args.where:
                print("".join(f"      {count:4} {where}\n" for where, count in row["places"].items()), end="")
            if args.json:
                with open(args.json, "a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
