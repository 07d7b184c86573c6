"""Architectures and commands on a pretended CUDA device: faults of devices and types, and how often the host waits.

    python -m benchmarks.perf.pretend_cuda NAME ... [--modes fp32,fp16,losses_fp16 | all] [--where] [--json FILE]
    python -m benchmarks.perf.pretend_cuda --all --json reports/pretended_gpu.jsonl --report reports/pretended_gpu.md

`--all`: one architecture for each detector, backbone, neck and head, in every mode, and the commands. Prints for each
one whether it ran, or the first fault with its location, and how often the host waits for the device (`syncs`: in a
second call, `first`: with moving the network and filling caches), with the locations if `--where`. With `--json` the
same command goes on where it was stopped; faults are tried again.

Needs no GPU. Losses with gradients on a PyTorch built for CUDA need gcc and nm (Linux). `pretended_device` says what
is simulated and what cannot be seen.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_check.networks import families
from benchmarks.perf import pretended_commands, pretended_kinds, pretended_report, pretended_runs
from benchmarks.perf.pretended_commands import COMMANDS
from benchmarks.perf.pretended_runs import MODES, NOT_RUN
from zoo.system.atomic_write import atomic_write

SHIM = """
static int count = 0;
void pretend_devices(int n) { count = n; }
signed char _ZN3c104cuda12device_countEv(void) { return count; } /* c10::cuda::device_count() */
"""
# What `--all` runs: the options are tried together, and bf16 finds what fp16 does.
WHOLE = ("fp32", "options", "detect", "losses", "losses_fp16")
# What only helps while a fault is looked for.
PASSING = ("traceback", "losses", "said")


def with_backward() -> None:
    """Start this program again with what autograd's engine asks of CUDA: a build of PyTorch with CUDA, but without a
    driver, refuses to run backward on such tensors. Needs gcc and nm; a build without CUDA needs none of it."""
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


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help=f"architectures, or commands: {', '.join(COMMANDS)}")
    add("--families", action="store_true", help="the smallest recorded architecture of each family")
    add("--all", action="store_true", help="small images, one architecture for each part that there is, all modes")
    add("--modes", help=f"some of {','.join(MODES)}, or all (fp32)")
    add("--where", action="store_true", help="also where the host waits")
    add("--no-backward", action="store_true", help="losses only, without gradients and a step")
    add("--small", action="store_true", help="images of 128 x 160")
    add("--no-compare", action="store_true", help="do not run on the CPU as well")
    add("--json", type=Path, metavar="FILE", help="keep rows as JSON lines; what is in it is not run again")
    add("--report", type=Path, metavar="FILE", help="write all rows as tables in Markdown")
    add("--seconds", type=float, default=0, help="stop after so long")
    return parser


def main() -> int:
    args = make_parser().parse_args()
    modes = tuple(args.modes.split(",")) if args.modes else WHOLE if args.all else ("fp32",)
    modes = MODES if modes == ("all",) else modes
    whole = args.all or any(name in COMMANDS for name in args.names)
    if whole or (any(mode.startswith("losses") for mode in modes) and not args.no_backward):
        with_backward()
    torch.set_num_threads(1)
    rows = read(args.json)
    done, begun = (
        {(row["name"], row["mode"]) for row in rows if row["ok"] and row["result"] != NOT_RUN},
        time.perf_counter(),
    )
    print(f"{'architecture':60} {'mode':12} {'result':30} {'syncs':>5} {'first':>5}  kinds")
    for name, mode in work(args, modes):
        if (name, mode) in done:
            continue
        if args.seconds and time.perf_counter() - begun > args.seconds:
            print("out of time before", name, mode)
            return 1
        rows = [row for row in rows if (row["name"], row["mode"]) != (name, mode)] + [one(name, mode, args)]
        show(rows[-1], args.where)
        keep(rows, args.json)
    if args.report:
        atomic_write(args.report, pretended_report.render(rows))
    return int(any(not row["ok"] for row in rows))


def work(args: argparse.Namespace, modes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What is to be run: names and modes."""
    names = list(args.names) + (list(pretended_kinds.representatives()) if args.all else [])
    names += families() if args.families else []
    yield from ((name, "command") for name in COMMANDS if args.all or name in names)
    yield from ((name, mode) for name in names if name not in COMMANDS for mode in modes)


def one(name: str, mode: str, args: argparse.Namespace) -> dict[str, Any]:
    """The row of an architecture in one mode, or of a command."""
    if mode == "command":
        with tempfile.TemporaryDirectory() as out:
            return pretended_commands.run(name, Path(out))
    row = pretended_runs.run(name, mode, not args.no_backward, not args.no_compare, args.small or args.all)
    return described(row) if mode == "fp32" else row


def described(row: dict[str, Any]) -> dict[str, Any]:
    """A row with the kinds that its architecture stands for, and the waits that it needs."""
    name = row["name"]
    kinds = pretended_kinds.representatives().get(name, [])
    return {**row, "stands_for": kinds, "needed": pretended_kinds.needed(name)}


def show(row: dict[str, Any], locations: bool) -> None:
    """One row as a line, and where the host waits."""
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(row["kinds"].items()))
    numbers = f"{row['syncs'] if row['syncs'] is not None else '':>5} {row.get('first', ''):>5}"
    print(f"{row['name'][:60]:60} {row['mode']:12} {row['result']:30} {numbers}  {kinds}", flush=True)
    if locations:
        print("".join(f"      {count:4} {where}\n" for where, count in row.get("locations", {}).items()), end="")


def read(path: Path | None) -> list[dict[str, Any]]:
    """The rows of a file, if there is one."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path and path.exists() else []


def keep(rows: Sequence[dict[str, Any]], path: Path | None) -> None:
    """Write the rows to a file; of those without a fault what a reader needs."""
    if path:
        short = [row if not row["ok"] else {k: v for k, v in row.items() if k not in PASSING} for row in rows]
        atomic_write(path, "".join(json.dumps(row) + "\n" for row in short))


if __name__ == "__main__":
    raise SystemExit(main())
