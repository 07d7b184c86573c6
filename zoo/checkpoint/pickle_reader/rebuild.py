"""Tensors, arrays and numbers from what their pickles say: descriptions that are proven to stay inside the file.

Each function answers for one name of the allow-list (`allowed.BUILDERS`), whose arguments come from the file.
"""

from __future__ import annotations

import struct

from zoo.checkpoint.pickle_reader.values import ITEM_SIZES, ArrayData, Global, Slice, StorageRef, TensorRef
from zoo.errors import CorruptCheckpoint, UnsafeCheckpoint

STORAGE_TYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}

NUMPY_DTYPES = {
    "f8": "float64",
    "f4": "float32",
    "f2": "float16",
    "i8": "int64",
    "i4": "int32",
    "i2": "int16",
    "i1": "int8",
    "u1": "uint8",
    "u2": "uint16",
    "u4": "uint32",
    "u8": "uint64",
    "b1": "bool",
}

SCALARS = {"float64": "d", "float32": "f", "float16": "e", "int64": "q", "int32": "i", "uint8": "B", "bool": "?"}
"""Layouts of single numbers, for `struct`."""


class DtypeData:
    """A numpy dtype under construction; `set_state` is told its byte order afterwards."""

    __slots__ = ("name",)

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str):
            raise CorruptCheckpoint("holds a numpy array whose type is not text")
        code = code.lstrip("<|=")
        if code.startswith(("O", "object")):
            raise UnsafeCheckpoint("holds a numpy array of objects")
        if code.startswith(">"):
            raise CorruptCheckpoint("holds big-endian numbers, which no published checkpoint has")
        if code not in NUMPY_DTYPES and code not in NUMPY_DTYPES.values():
            raise CorruptCheckpoint(f"holds a numpy array of type '{code[:20]}', which no tensor has")
        self.name = NUMPY_DTYPES.get(code, code)

    def set_state(self, state: object) -> None:
        """state: (version, byte order, ...) as numpy writes it."""
        if isinstance(state, tuple) and len(state) > 1 and state[1] in (">", b">"):
            raise CorruptCheckpoint("holds big-endian numbers, which no published checkpoint has")


class ArrayBuilder:
    """A numpy array under construction: `_reconstruct` makes it, its state fills it."""

    __slots__ = ("array",)

    def __init__(self, *_: object) -> None:
        self.array: ArrayData | None = None

    def set_state(self, state: object) -> None:
        """state: (version, shape, dtype, Fortran order, bytes)."""
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], DtypeData):
            raise CorruptCheckpoint("holds a numpy array without a plain element type")
        _, shape, dtype, fortran_order, data = state
        if isinstance(data, str):  # Python 2 wrote bytes as a string
            data = data.encode("latin-1")
        if not isinstance(data, (bytes, Slice)):
            raise UnsafeCheckpoint("holds a numpy array of objects")
        self.array = ArrayData(dtype.name, check_shape(shape), bool(fortran_order), data)
        if len(data) != ITEM_SIZES[dtype.name] * _product(self.array.shape):
            raise CorruptCheckpoint(f"holds a numpy array of shape {self.array.shape} with {len(data)} bytes")


def array_from_buffer(data: object, dtype: object, shape: object, order: object = "C", *_: object) -> ArrayData:
    """`numpy.core.numeric._frombuffer`, which is how protocol 5 writes arrays."""
    if not isinstance(data, (bytes, Slice)) or not isinstance(dtype, DtypeData) or order not in ("C", "F"):
        raise CorruptCheckpoint("holds a numpy array without plain data")
    array = ArrayData(dtype.name, check_shape(shape), order == "F", data)
    if len(data) != ITEM_SIZES[dtype.name] * _product(array.shape):
        raise CorruptCheckpoint(f"holds a numpy array of shape {array.shape} with {len(data)} bytes")
    return array


def check_shape(shape: object) -> tuple[int, ...]:
    """A tuple of non-negative integers. Raises CorruptCheckpoint."""
    if not isinstance(shape, (tuple, list)) or len(shape) > 32:
        raise CorruptCheckpoint("holds a tensor whose shape is not a list of integers")
    for size in shape:
        if type(size) is not int or not 0 <= size < 2**48:
            raise CorruptCheckpoint("holds a tensor whose shape is not a list of integers")
    return tuple(shape)


def _product(shape: tuple[int, ...]) -> int:
    result = 1
    for size in shape:
        result *= size
    return result


def rebuild_tensor(storage: object, offset: object, shape: object, strides: object, *_: object) -> TensorRef:
    """`torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`; gradients and hooks are not kept."""
    if not isinstance(storage, StorageRef):
        raise CorruptCheckpoint("holds a tensor without a storage")
    return window(storage, offset, shape, strides, storage.dtype)


def rebuild_tensor_v3(*arguments: object) -> TensorRef:
    """`torch._utils._rebuild_tensor_v3`, which names the dtype beside an untyped storage."""
    storage, offset, shape, strides, _grad, _hooks, dtype, *_ = arguments
    name = dtype.name.removeprefix("torch.") if isinstance(dtype, Global) else ""
    if not isinstance(storage, StorageRef) or name not in ITEM_SIZES:
        raise CorruptCheckpoint("holds a tensor without a storage or element type")
    return window(storage, offset, shape, strides, name)


def window(storage: StorageRef, offset: object, shape: object, strides: object, dtype: str) -> TensorRef:
    """A tensor that provably stays inside its storage and repeats no element. Raises CorruptCheckpoint."""
    sizes, steps = check_shape(shape), check_shape(strides)
    if type(offset) is not int or offset < 0 or len(sizes) != len(steps):
        raise CorruptCheckpoint("holds a tensor with an impossible offset or strides")
    available = storage.view_numel if storage.view_numel is not None else storage.numel
    available = available * ITEM_SIZES[storage.dtype] // ITEM_SIZES[dtype]
    numel = _product(sizes)
    last = offset + sum((size - 1) * step for size, step in zip(sizes, steps))
    if numel and (last >= available or numel > available):
        raise CorruptCheckpoint(f"holds a tensor of shape {sizes} that exceeds its storage of {available} elements")
    start = storage.start * ITEM_SIZES[storage.dtype] // ITEM_SIZES[dtype]
    return TensorRef(storage, start + offset if numel else 0, sizes, steps, dtype)


def rebuild_parameter(data: object, *_: object) -> TensorRef:
    """`torch._utils._rebuild_parameter`: a parameter is its tensor."""
    if not isinstance(data, TensorRef):
        raise CorruptCheckpoint("holds a parameter without a tensor")
    return data


TENSOR_BUILDERS = (rebuild_tensor, rebuild_tensor_v3)


def rebuild_from_type(function: object, kind: object, arguments: object, *_: object) -> TensorRef:
    """`torch._tensor._rebuild_from_type_v2`, for plain tensors and parameters only."""
    plain = isinstance(kind, Global) and kind.name in ("torch.Tensor", "torch.nn.parameter.Parameter")
    if not plain or not isinstance(function, Global) or function.build not in TENSOR_BUILDERS:
        raise UnsafeCheckpoint("rebuilds a tensor of a class that is not on the allow-list")
    if not isinstance(arguments, tuple):
        raise CorruptCheckpoint("holds a tensor without a storage")
    tensor = function.build(*arguments)
    assert isinstance(tensor, TensorRef)
    return tensor


def scalar(dtype: object, data: object = b"") -> object:
    """`numpy.core.multiarray.scalar`: one number."""
    if isinstance(data, str):
        data = data.encode("latin-1")
    if not isinstance(dtype, DtypeData) or not isinstance(data, bytes) or dtype.name not in SCALARS:
        raise CorruptCheckpoint("holds a numpy number of an unknown type")
    try:
        return struct.unpack("<" + SCALARS[dtype.name], data)[0]
    except struct.error as error:
        raise CorruptCheckpoint(f"holds a broken numpy number: {error}") from None


def shape_tuple(sizes: object = ()) -> tuple[int, ...]:
    """`torch.Size`."""
    return check_shape(sizes)


def device(*arguments: object) -> str:
    """`torch.device`, kept as its text."""
    return ":".join(str(argument) for argument in arguments if isinstance(argument, (str, int)))


def storage_type(value: object) -> str:
    """The dtype that a storage class stands for. Raises CorruptCheckpoint."""
    name = value.name if isinstance(value, Global) else ""
    module, _, kind = name.rpartition(".")
    if module not in ("torch", "torch.cuda", "torch.storage") or kind not in STORAGE_TYPES:
        raise CorruptCheckpoint(f"holds a tensor with storage '{name[:60]}', which is not a known storage type")
    return STORAGE_TYPES[kind]
