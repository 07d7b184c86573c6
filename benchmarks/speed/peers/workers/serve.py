"""The worker's side of the contract. Runs in the peer's environment: Python 3.8, standard library and torch.

One JSON object per line. Requests have an `op`; answers are objects, `{"error": sentence}` when something went wrong.

    open     config, weights (path or null), device, threads, tf32 -> implementation, version, commit, python, torch,
             parameters, threads, tf32, settings (thresholds and numbers that decide how much work there is), classes
             (names of the labels, or null), masks (whether it gives them)
    load     index, path -> shape: [H, W] of the network's input. Reads and preprocesses; the worker keeps the result.
    compute  index -> seconds: of one call on what `load` kept, device synchronized before and after
    detect   index -> boxes, scores, labels (0-based), in the image's own coordinates; where it gives them, masks of the
             image's size as run lengths down the columns, zeros first: {"size": [H, W], "counts": [...]}
    memory   -> resident_peak_mib of this process, cuda_allocated_mib on a GPU
    train    batch (npz file of `benchmarks.speed.peers.training_batch`), take_all -> losses by name; prepares to train
    step     -> seconds of one iteration on the batch of the last `train`, cpu_seconds of its threads, its total loss
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from contextlib import contextmanager


def serve(open_detector):
    """Answer requests until the input ends. `open_detector(request)` returns an object with load, compute, detect."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the libraries print goes to stderr
    state: dict = {}
    for line in sys.stdin:
        try:
            answer = handle(json.loads(line), state, open_detector)
        except Exception as error:  # the other side decides what a failure means
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def handle(request, state, open_detector):
    """One request."""
    if request["op"] == "open":
        import torch

        if request.get("threads"):
            torch.set_num_threads(request["threads"])
        float32_as(bool(request.get("tf32")))
        state["detector"], state["inputs"], state["device"] = open_detector(request), {}, request["device"]
        return describe(state["detector"])
    detector, inputs = state["detector"], state["inputs"]
    if request["op"] == "load":
        inputs[request["index"]], shape = detector.load(request["path"])
        return {"shape": list(shape)}
    if request["op"] == "compute":
        return {"seconds": timed(detector.compute, inputs[request["index"]], state["device"])}
    if request["op"] == "detect":
        result = computed(detector.compute, inputs[request["index"]])
        boxes, scores, labels = detector.rows(result)
        masks = {"masks": detector.masks(result)} if gives_masks(detector) else {}
        return {"boxes": boxes, "scores": scores, "labels": labels, **masks}
    if request["op"] == "memory":
        return memory(state["device"])
    if request["op"] == "train":
        return {"losses": detector.train(request["batch"], request["take_all"])}
    if request["op"] == "step":
        start, busy = time.perf_counter(), time.process_time()
        loss = detector.step()
        wait(state["device"])
        return {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - busy, "loss": loss}
    raise ValueError("no operation " + request["op"])


def float32_as(tf32):
    """Whether a GPU multiplies float32 as TF32, by the switches of this PyTorch: 2.9 has new ones."""
    import torch

    if hasattr(torch.backends.cudnn, "conv"):  # the older `matmul` raises AssertionError for what it lacks
        for switch in (torch.backends.cuda.matmul, torch.backends.cudnn.conv):  # type: ignore[attr-defined]
            switch.fp32_precision = "tf32" if tf32 else "ieee"
    elif hasattr(torch.backends.cuda.matmul, "allow_tf32"):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32


def tf32():
    """The state of these switches."""
    import torch

    if hasattr(torch.backends.cudnn, "conv"):  # the older `matmul` raises AssertionError for what it lacks
        switches = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]
        return dict(zip(("matmul", "cudnn"), (switch.fp32_precision == "tf32" for switch in switches)))
    matmul = getattr(torch.backends.cuda.matmul, "allow_tf32", None)
    return {"matmul": matmul, "cudnn": getattr(torch.backends.cudnn, "allow_tf32", None)}


def memory(device):
    """Peaks since the process began."""
    import torch

    result = {"resident_peak_mib": resident_peak_mib()}
    if torch.device(device).type == "cuda":
        result["cuda_allocated_mib"] = torch.cuda.max_memory_allocated(device) / 2**20
    return result


def resident_peak_mib():
    """Peak resident size. On Linux getrusage's is at least that of the process that started this one."""
    import resource

    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def require(package, module, supported):
    """End with a sentence if the package has another version than this worker is written for."""
    version = version_of(module)
    if not version.startswith(supported):
        sys.exit(f"{package} {version} is installed; this worker is for {supported}*")


def version_of(module):
    """What the module says, or its installed package; "unknown" where neither does."""
    from importlib import metadata  # Python 3.8

    try:
        return str(getattr(module, "__version__", None) or metadata.version(module.__name__))
    except metadata.PackageNotFoundError:
        return "unknown"


@contextmanager
def nothing_dropped(model, wanted=True):
    """Dropout and stochastic depth leave nothing out for a while, if wanted. Their probabilities are attributes."""
    modules = list(model.modules()) if wanted else []
    found = [(module, name) for module in modules for name in drop_attributes(module)]
    before = [(module, name, getattr(module, name)) for module, name in found]
    for module, name, _ in before:
        setattr(module, name, 0.0)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def drop_attributes(module):
    """Names of a module's numbers that say how much it leaves out. Other modules, such as losses, have a `p`, too."""
    kind = type(module).__name__.lower()
    drops = "drop" in kind or kind == "stochasticdepth"
    names = ("p", "drop_prob") if drops else ("dropout", "attn_drop_rate")
    return [name for name in names if isinstance(vars(module).get(name), float)]


def timed(function, argument, device):
    """Seconds of one call, the device idle before and after."""
    wait(device)
    start = time.perf_counter()
    computed(function, argument)
    wait(device)
    return time.perf_counter() - start


def computed(function, argument):
    """The result of a call without gradients."""
    import torch

    with torch.no_grad():
        return function(argument)


def wait(device):
    """Until the device has nothing left to do."""
    import torch

    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def load_all(model, load):
    """Call `load`, which reads a checkpoint. ValueError if a parameter keeps its value.

    The peers' readers only log what does not fit: a file with other names would leave a random network.
    """
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    load()
    missing = [name for name, value in model.named_parameters() if value.isnan().any()]
    if missing:
        raise ValueError("the checkpoint has no " + missing[0] + "; it is not one of this implementation")


def describe(detector):
    """What the worker runs."""
    import torch

    return {
        "implementation": detector.implementation,
        "version": version_of(detector.module),
        "commit": commit(os.path.dirname(os.path.dirname(os.path.abspath(detector.module.__file__)))),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "tf32": tf32(),
        "parameters": sum(p.numel() for p in detector.model.parameters()),
        "settings": detector.settings() if hasattr(detector, "settings") else {},
        "classes": detector.classes() if hasattr(detector, "classes") else None,
        "masks": gives_masks(detector),
    }


def gives_masks(detector):
    """Whether its results have masks, of which `detector.masks(result)` gives run lengths."""
    return bool(getattr(detector, "gives_masks", False))


def run_lengths(mask):
    """A mask (H, W) of torch, bool, as COCO's uncompressed run lengths."""
    import torch

    flat = mask.t().flatten().int()
    changes = (flat[1:] != flat[:-1]).nonzero().flatten() + 1
    ends = torch.cat([changes.new_zeros(1), changes, changes.new_tensor([len(flat)])])
    counts = (ends[1:] - ends[:-1]).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if bool(flat[0]) else counts}


def commit(folder):
    """Commit of a source checkout, None for an installed package."""
    if not os.path.exists(os.path.join(folder, ".git")):
        return None
    command = ["git", "-C", folder, "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
