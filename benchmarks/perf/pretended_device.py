"""A CUDA device that is not there: tensors that say `cuda:0`, refuse what CUDA refuses, and compute on the CPU.

`Pretend` is a wrapper subclass of torch.Tensor whose `.device` is cuda:0 and which holds a tensor of the CPU. All
operators reach `Pretend.__torch_dispatch__` (or, for those without a tensor, the mode `PretendCuda`), which

- refuses operands on different devices, except for what PyTorch allows: 0-dimensional CPU tensors in pointwise
  operators, CPU indices of a CUDA tensor, a CPU scalar written into a CUDA tensor, copies;
- refuses what CUDA's kernels refuse: mixed types in convolutions and matrix products, generators of the CPU;
- runs the operator on the CPU (half precision: matrix products and convolutions in float32, then rounded);
- counts where a real host would wait: items, copies between host and device, masks as indices, nonzero, unique, NMS.

Dispatch keys are CUDA's: `torch.autocast("cuda")` casts by CUDA's lists. What cannot be seen: numbers of CUDA's
kernels, their speed and memory, streams and races, limits of grids and shared memory.

    with PretendCuda() as gpu:
        model.to("cuda")
        detections = model(images.to("cuda"))
    gpu.waits  # Counter of (kind, "zoo/models/...py:123 function")
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeGuard
from unittest import mock

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.perf import pretended_torch_cuda
from benchmarks.perf.pretended_operators import (
    ON_CPU,
    UNSUPPORTED,
    check_devices,
    check_types,
    compute,
    fault,
    source_location,
    waits,
)

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
aten = torch.ops.aten


class Pretend(torch.Tensor):
    """A tensor on the pretended device. inner: the tensor of the CPU that it is."""

    inner: Tensor  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, inner: Tensor) -> Pretend:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=CUDA,
            requires_grad=False,
        )

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["inner"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], meta: None, size: Any, stride: Any) -> Pretend:
        return Pretend(inner["inner"])

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"Pretend(cuda:0, {self.dtype}, {tuple(self.shape)}, requires_grad={self.requires_grad})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) in memo:
            return memo[id(self)]
        with torch.no_grad():
            copied = Pretend(self.inner.clone())
        if isinstance(self, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, requires_grad=self.requires_grad)  # type: ignore[assignment]
        else:
            copied.requires_grad_(self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __reduce_ex__(self, protocol: int) -> Any:  # type: ignore[override]
        return (_on_device, (self.inner.detach().clone(), self.requires_grad, isinstance(self, torch.nn.Parameter)))

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return self.detach().cpu().numpy()
        raise TypeError(
            f"can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first. [{source_location()}]"
        )

    def tolist(self) -> Any:
        current().note("tolist")
        return self.inner.tolist()

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return self.numpy()

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return dispatch(func, args, kwargs or {}, current())


def _on_device(inner: Tensor, grad: bool, parameter: bool) -> Tensor:
    result = Pretend(inner)
    return torch.nn.Parameter(result, grad) if parameter else result.requires_grad_(grad)


class NoNotes:
    """Counts nothing, outside of the mode."""

    def note(self, kind: str) -> None:
        pass


_ACTIVE: list[PretendCuda] = []


def current() -> Any:
    """Who takes notes now."""
    return _ACTIVE[-1] if _ACTIVE else NoNotes()


class PretendCuda(TorchDispatchMode):
    """While it is entered, there is one CUDA device. waits: (kind, source location) -> how often the host waited."""

    def __init__(self, locations: bool = True) -> None:
        super().__init__()
        self.waits: Counter[tuple[str, str]] = Counter()
        self.operators: Counter[str] = Counter()
        self.locations = locations
        self.patches: list[Any] = []

    def note(self, kind: str) -> None:
        """The host waits now."""
        self.waits[kind, source_location() if self.locations else ""] += 1

    def clear(self) -> None:
        self.waits.clear()
        self.operators.clear()

    @property
    def kinds(self) -> Counter[str]:
        """Waits by kind."""
        result: Counter[str] = Counter()
        for (kind, _), count in self.waits.items():
            result[kind] += count
        return result

    def __enter__(self) -> PretendCuda:
        torch._C._ensureCUDADeviceGuardSet()
        count_devices()
        self.lift = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        self.patches = [
            mock.patch.multiple(torch.cuda, **pretended_torch_cuda.functions(lambda kind: current().note(kind))),
            mock.patch.object(torch.Tensor, "pin_memory", lambda self, *a: self),
        ]
        self.patches.append(mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", attention))
        for patch in self.patches:
            patch.start()
        _ACTIVE.append(self)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        _ACTIVE.remove(self)
        for patch in self.patches:
            patch.stop()
        torch._C._set_only_lift_cpu_tensors(self.lift)

    @contextmanager
    def again(self) -> Iterator[None]:
        """The mode once more, inside an operator that is made of others."""
        TorchDispatchMode.__enter__(self)
        try:
            yield
        finally:
            TorchDispatchMode.__exit__(self, None, None, None)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {}, self)


_sdpa = torch.nn.functional.scaled_dot_product_attention


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **kwargs: Any,
) -> Tensor:
    """Scaled dot products by plain operators: which kernel is chosen depends on a real device's properties."""
    if not isinstance(query, Pretend):
        return _sdpa(query, key, value, attn_mask, dropout_p, is_causal, **kwargs)
    if torch.is_autocast_enabled("cuda"):
        query, key, value = (x.to(torch.get_autocast_dtype("cuda")) for x in (query, key, value))
        if attn_mask is not None and attn_mask.is_floating_point():
            attn_mask = attn_mask.to(query.dtype)
    if attn_mask is not None and attn_mask.is_floating_point() and attn_mask.dtype != query.dtype:
        raise fault(f"scaled_dot_product_attention: mask of {attn_mask.dtype}, query of {query.dtype}")
    return torch._scaled_dot_product_attention_math(query, key, value, attn_mask, dropout_p, is_causal, **kwargs)[0]


def dispatch(func: Any, args: Any, kwargs: dict[str, Any], notes: Any) -> Any:
    """One operator: check, note, run on the CPU, wrap."""
    wrapped = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Pretend)]
    device = wanted_device(func, args, kwargs)
    if not wrapped and not is_cuda(device):
        return func(*args, **kwargs)
    if is_cuda(device) and device.index not in (None, 0):
        raise fault(f"CUDA error: invalid device ordinal {device}")
    name = func.overloadpacket.__name__
    if name in UNSUPPORTED:
        raise fault(f"{name} has no CUDA kernel")
    if isinstance(notes, PretendCuda):
        notes.operators[name] += 1
    if func is aten._has_compatible_shallow_copy_type.default:
        return False
    result = converted(func, name, args, kwargs, notes)
    if result is NotImplemented:
        result = decomposed(func, name, args, kwargs, notes)
    if result is not NotImplemented:
        return result
    if name in ("_to_copy", "to", "copy_", "copy"):
        return copied(func, name, args, kwargs, is_cuda(device), device, notes)
    check(func, name, args, kwargs, notes)
    return wrapped_again(func, on_cpu(func, name, args, kwargs), wrapped, device)


def wanted_device(func: Any, args: Any, kwargs: dict[str, Any]) -> torch.device | None:
    """The device that a call names."""
    named = args[1] if func is aten.to.device else kwargs.get("device")
    return torch.device(named) if named is not None else None


def is_cuda(device: torch.device | None) -> TypeGuard[torch.device]:
    """Whether it is the pretended one."""
    return device is not None and device.type == "cuda"


def converted(func: Any, name: str, args: Any, kwargs: dict[str, Any], notes: Any) -> Any:
    """What `x.to(device)` and `x.to(other)` give; NotImplemented for other calls."""
    if func is aten.to.device:
        target = torch.device(args[1])
        wanted = {"device": target, "dtype": args[2]}
        return copied(aten._to_copy.default, name, args[:1], wanted, is_cuda(target), target, notes)
    if func is aten.to.other:
        other, held = args[1], isinstance(args[0], Pretend)
        like = isinstance(other, Pretend)
        if held != like or (is_cuda(other.device) and not held):
            wanted = {**kwargs, "dtype": other.dtype, "device": CUDA if like else CPU}
            return copied(aten._to_copy.default, name, args[:1], wanted, like, other.device, notes)
    return NotImplemented


def decomposed(func: Any, name: str, args: Any, kwargs: dict[str, Any], notes: Any) -> Any:
    """An operator that is made of others, as in inference mode; NotImplemented for one that is not."""
    if name in ("copy_", "_to_copy") or func.namespace != "aten" or not func._can_decompose():
        return NotImplemented
    with notes.again() if isinstance(notes, PretendCuda) else nullcontext():
        return func.decompose(*args, **kwargs)


def check(func: Any, name: str, args: Any, kwargs: dict[str, Any], notes: Any) -> None:
    """Refuse what CUDA refuses, and note where the host waits."""
    flat = pytree.tree_leaves((args, kwargs))
    plain = [x for x in flat if isinstance(x, Tensor) and not isinstance(x, Pretend)]
    if plain and any(isinstance(x, Pretend) for x in flat):
        check_devices(func, name, args, plain)
    waits(func, name, args, kwargs, notes)
    check_types(name, flat)
    if kwargs.get("generator") is not None and kwargs["generator"].device.type != "cuda":
        raise fault(f"{name}: expected a 'cuda' device type for generator but found 'cpu'")


def on_cpu(func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
    """The operator's result on the tensors of the CPU."""
    if name in ON_CPU:
        func, name = ON_CPU[name], name.removeprefix("cudnn_")
    inner_args, inner_kwargs = pytree.tree_map_only(Pretend, lambda x: x.inner, (args, kwargs))
    if inner_kwargs.get("device") is not None:
        inner_kwargs["device"] = CPU
    inner_kwargs.pop("pin_memory", None)
    with torch.no_grad():
        return compute(func, name, inner_args, inner_kwargs)


def wrapped_again(func: Any, result: Any, wrapped: list[Pretend], device: torch.device | None) -> Any:
    """A result's tensors on the pretended device; an operand that an operator hands back is itself."""
    if device is not None and not is_cuda(device):
        return result
    owner = {id(x.inner): x for x in wrapped}
    if getattr(func, "is_view", False) and torch.is_inference_mode_enabled() and not wrapped[0].is_inference():
        with torch.inference_mode(False):  # views of plain tensors are plain ones
            return pytree.tree_map_only(Tensor, Pretend, result)
    return pytree.tree_map_only(Tensor, lambda x: owner.get(id(x)) if id(x) in owner else Pretend(x), result)


def copied(func: Any, name: str, args: Any, kwargs: dict[str, Any], to_cuda: bool, device: Any, notes: Any) -> Any:
    """Copies, which alone may cross from one device to the other."""
    if name in ("copy_", "copy"):
        target, source = args[0], args[1]
        if isinstance(target, Pretend) != isinstance(source, Pretend):
            kind = "host to device" if isinstance(target, Pretend) else "device to host"
            notes.note(kind + (" (not waiting)" if len(args) > 2 and args[2] and kind == "host to device" else ""))
        with torch.no_grad():
            func(*(x.inner if isinstance(x, Pretend) else x for x in args))
        return target
    source = args[0]
    held = source.inner if isinstance(source, Pretend) else source
    if device is None:
        to_cuda = isinstance(source, Pretend)
    if isinstance(source, Pretend) != to_cuda:
        kind = "host to device" if to_cuda else "device to host"
        later = kwargs.get("non_blocking") and to_cuda
        notes.note(kind + (" (not waiting)" if later else ""))
    inner_kwargs = {k: v for k, v in kwargs.items() if k not in ("device", "pin_memory")}
    with torch.no_grad():
        result = func(held, **inner_kwargs)
    return Pretend(result) if to_cuda else result


def count_devices() -> None:
    """Tell autograd's engine of the device, where the library that `with_backward` makes is loaded."""
    import ctypes

    tell = getattr(ctypes.CDLL(None), "pretend_devices", None)
    if tell is not None:
        tell(64)
