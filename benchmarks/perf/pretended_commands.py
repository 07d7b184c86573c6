"""Whole commands with `--device cuda` on the pretended device."""

from __future__ import annotations

import io
import time
import traceback
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch

from benchmarks.cli.main import main as bench
from benchmarks.datasets import demo
from benchmarks.perf.pretended_device import PretendCuda
from zoo.cli.main import main as zoo

MODEL, RECORDED = "demo_yolox", "yolox_nano_8x8_300e_coco"
QUICK = ("min_iterations=2", "min_seconds=0", "max_seconds=1", "warmup_seconds=0.1")
TRAINED = ("iterations=3", "skipped=1", "prepared=2")

# {out}: a folder with the generated dataset in {out}/data.
COMMANDS: dict[str, tuple[str, ...]] = {
    "bench inference": ("bench", "inference", MODEL, "--limit", "2", *(w for v in QUICK for w in ("--set", v))),
    "bench inference, options": (
        *("bench", "inference", MODEL, "--limit", "2", *(w for v in QUICK for w in ("--set", v))),
        *("--fuse-conv-bn", "--channels-last", "--amp", "fp16", "--tf32", "--no-effects"),
    ),
    "bench accuracy": ("bench", "accuracy", MODEL, "--data", "{out}/data", "--limit", "3"),
    "bench accuracy, batches": (
        "bench",
        "accuracy",
        MODEL,
        "--data",
        "{out}/data",
        "--limit",
        "4",
        "--batch-size",
        "2",
    ),
    "bench parity": ("bench", "parity", RECORDED),
    "bench parity, fused": ("bench", "parity", RECORDED, "--fuse-conv-bn", "--channels-last"),
    "bench training": (
        *("bench", "training", RECORDED, "--protocol", "detectron2"),
        *(w for v in TRAINED for w in ("--set", v)),
    ),
    "zoo train": (
        *("zoo", "train", MODEL, "--data", "{out}/data", "--out", "{out}/run", "--epochs", "1", "--log-every", "1"),
        *("--no-mosaic", "--no-mixup", "--validate-every", "1", "--ema", "0.001"),
    ),
    "zoo train, fp16": (
        *("zoo", "train", MODEL, "--data", "{out}/data", "--out", "{out}/half", "--epochs", "1", "--precision", "fp16"),
        *("--no-mosaic", "--no-mixup"),
    ),
    "zoo detect": ("zoo", "detect", MODEL, "{out}/data/val"),
}
# Those that keep records, and their option.
STORING = ("inference", "accuracy", "training")


def prepare(out: Path) -> None:
    """The generated dataset with a few images."""
    if not (out / "data").exists():
        demo.write(out / "data", {"train": 4, "val": 4})


def run(name: str, out: Path) -> dict[str, Any]:
    """A row as `pretended_runs.run` returns it. A command that says why it cannot is at fault."""
    prepare(out)
    words = [word.format(out=out) for word in COMMANDS[name]] + ["--device", "cuda"]
    if words[1] in STORING:
        words += ["--results", str(out / "results.db")]
    row: dict[str, Any] = {"name": name, "mode": "command", "ok": True, "result": "ok"}
    begun, gpu, said, errors = time.perf_counter(), PretendCuda(), io.StringIO(), io.StringIO()
    with redirect_stdout(said), redirect_stderr(errors):
        try:
            with gpu:
                status = call(words)
        except Exception as error:  # whatever it is, it is the finding
            status, row["traceback"] = 1, traceback.format_exc()
            print(f"{type(error).__name__}: {error}", file=errors)
    if status:
        row |= {"ok": False, "result": f"FAULT {last_line(errors.getvalue())}", "said": errors.getvalue()[-2000:]}
    row |= {"syncs": None, "kinds": dict(gpu.kinds), "operators": sum(gpu.operators.values())}
    return {**row, "seconds": round(time.perf_counter() - begun, 1)}


def call(words: Sequence[str]) -> int:
    """The exit status of a command of this project."""
    threads = torch.get_num_threads()
    try:
        return int((bench if words[0] == "bench" else zoo)(list(words[1:])) or 0)
    except SystemExit as error:
        return int(error.code or 0)
    finally:
        torch.set_num_threads(threads)


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing was said"
