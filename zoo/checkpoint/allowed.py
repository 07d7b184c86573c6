"""The allow-list: every global that a checkpoint may name, and the function of ours that answers for it.

Nothing is ever imported or called by a name from the file. A name in `BUILDERS` selects one of the functions below; any
other third-party name becomes an `Inert` object; a name from the standard library, or one known to run code, is refused
at once, because no checkpoint needs it and attacks do.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from zoo.checkpoint.values import ITEM_SIZES, ArrayData, Inert, StorageRef, TensorRef
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

# Data classes of the standard library that training scripts leave in their metadata: kept as inert objects.
INERT_STANDARD = {
    "argparse.Namespace",
    "collections.Counter",
    "collections.defaultdict",
    "collections.deque",
    "datetime.date",
    "datetime.datetime",
    "datetime.timedelta",
    "datetime.timezone",
    "decimal.Decimal",
    "fractions.Fraction",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.PureWindowsPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath",
    "types.SimpleNamespace",
    "uuid.UUID",
}
INERT_STANDARD |= {
    f"{module}.{kind}"
    for module in ("builtins", "__builtin__")
    for kind in ("bool", "complex", "dict", "float", "int", "long", "range", "slice", "str", "unicode")
}

# Modules of Python 2, and third-party ones, whose functions run code or read other pickles.
REFUSED_MODULES = {
    "__builtin__",
    "commands",
    "cPickle",
    "cloudpickle",
    "copy_reg",
    "dill",
    "execnet",
    "joblib",
    "IPython",
    "nt",
    "numba",
    "pip",
    "pkg_resources",
    "pydoc",
    "setuptools",
    "urllib2",
}
# Within these, only what BUILDERS lists may be called; their other names are inert as long as nothing calls them. So
# are the states of random number generators, which some training code keeps.
GUARDED_MODULES = {"numpy", "torch"}
INERT_CALLS = ("numpy.random.",)


class Global:
    """A name that the file mentioned. Calling it in the file's sense goes to `build`, or leaves an inert record."""

    __slots__ = ("build", "name")

    def __init__(self, name: str, build: Callable[..., object] | None = None) -> None:
        self.name = name
        self.build = build

    def call(self, arguments: tuple[object, ...]) -> object:
        """What the file's call of this name amounts to. Raises UnsafeCheckpoint for a call that is never harmless."""
        if self.build is not None:
            return self.build(*arguments)
        if self.name.partition(".")[0] in GUARDED_MODULES and not self.name.startswith(INERT_CALLS):
            raise UnsafeCheckpoint(f"calls {self.name}, which is not on the allow-list")
        return Inert(self.name, arguments)


def find_global(module: str, name: str) -> Global:
    """The allow-list's answer to `module.name`. Raises UnsafeCheckpoint when the name must not occur at all."""
    full = f"{module}.{name}"
    if full in BUILDERS:
        return Global(full, BUILDERS[full])
    root = module.partition(".")[0]
    if full not in INERT_STANDARD and (root in REFUSED_MODULES or root in sys.stdlib_module_names):
        raise UnsafeCheckpoint(f"names {full}, which is not on the allow-list")
    return Global(full)


class DtypeData:
    """A numpy dtype under construction; `set_state` is told its byte order afterwards."""

    __slots__ = ("name",)

    def __init__(self, code: object, *_: object) -> None:
        code = str(code).lstrip("<|=")
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
        if not isinstance(data, bytes):
            raise UnsafeCheckpoint("holds a numpy array of objects")
        self.array = ArrayData(dtype.name, check_shape(shape), bool(fortran_order), data)
        if len(data) != ITEM_SIZES[dtype.name] * _product(self.array.shape):
            raise CorruptCheckpoint(f"holds a numpy array of shape {self.array.shape} with {len(data)} bytes")


def array_from_buffer(data: object, dtype: object, shape: object, order: object = "C", *_: object) -> ArrayData:
    """`numpy.core.numeric._frombuffer`, which is how protocol 5 writes arrays."""
    if not isinstance(data, (bytes, bytearray)) or not isinstance(dtype, DtypeData) or order not in ("C", "F"):
        raise CorruptCheckpoint("holds a numpy array without plain data")
    array = ArrayData(dtype.name, check_shape(shape), order == "F", bytes(data))
    if len(data) != ITEM_SIZES[dtype.name] * _product(array.shape):
        raise CorruptCheckpoint(f"holds a numpy array of shape {array.shape} with {len(data)} bytes")
    return array


def check_shape(shape: object) -> tuple[int, ...]:
    """A tuple of non-negative integers. Raises CorruptCheckpoint."""
    if not isinstance(shape, (tuple, list)) or len(shape) > 32:
        raise CorruptCheckpoint("holds a tensor whose shape is no list of integers")
    if any(type(size) is not int or not 0 <= size < 2**48 for size in shape):
        raise CorruptCheckpoint("holds a tensor whose shape is no list of integers")
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


def ordered_dict(pairs: object = ()) -> OrderedDict[object, object]:
    """`collections.OrderedDict`, from nothing or from the pairs that Python 2 wrote."""
    result: OrderedDict[object, object] = OrderedDict()
    if not isinstance(pairs, (list, tuple)):
        raise CorruptCheckpoint("holds a dictionary made of something else than pairs")
    for key, value in pairs:
        result[check_key(key)] = value
    return result


def check_key(key: object) -> object:
    """A dictionary key that is cheap to hash and cannot recurse. Raises CorruptCheckpoint."""
    if key is None or isinstance(key, (str, bytes, bool, float, Inert, Global)):
        return key
    if isinstance(key, int) and -(2**63) <= key < 2**64:
        return key
    if isinstance(key, tuple) and len(key) <= 16 and all(isinstance(part, (str, int, float)) for part in key):
        return key
    raise CorruptCheckpoint(f"uses a {type(key).__name__} as the key of a dictionary")


def scalar(dtype: object, data: object = b"") -> object:
    """`numpy.core.multiarray.scalar`: one number."""
    from struct import error, unpack

    if isinstance(data, str):
        data = data.encode("latin-1")
    formats = {"float64": "d", "float32": "f", "float16": "e", "int64": "q", "int32": "i", "uint8": "B", "bool": "?"}
    if not isinstance(dtype, DtypeData) or not isinstance(data, bytes) or dtype.name not in formats:
        raise CorruptCheckpoint("holds a numpy number of an unknown type")
    try:
        return unpack("<" + formats[dtype.name], data)[0]
    except error as reason:
        raise CorruptCheckpoint(f"holds a broken numpy number: {reason}") from None


def encode(text: object, encoding: object = "latin1") -> bytes:
    """`_codecs.encode`, which is how protocol 2 writes bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise UnsafeCheckpoint("encodes text in another way than pickled bytes do")
    return text.encode("latin-1")


def byte_string(text: object = b"", encoding: object = "latin-1") -> bytes:
    """`bytes` and `bytearray`, as older protocols write them."""
    return text if isinstance(text, bytes) else encode(text, encoding)


def attribute(owner: object, name: object) -> Inert:
    """`builtins.getattr`, as mmengine's history buffers use it: the attribute of an inert name is an inert name."""
    third_party = (isinstance(owner, Global) and owner.build is None) or isinstance(owner, Inert)
    if not third_party or not isinstance(name, str):
        raise UnsafeCheckpoint("looks up an attribute of something that is not inert")
    return Inert(f"{owner.name}.{name}")  # type: ignore[attr-defined]


def collect(kind: Callable[..., object], items: object = ()) -> object:
    """`set`, `frozenset`, `list` and `tuple` of what the file lists."""
    if not isinstance(items, (list, tuple)):
        raise CorruptCheckpoint("holds a collection made of something else than a list")
    return kind(check_key(item) for item in items) if kind in (set, frozenset) else kind(items)


def reconstruct(kind: object, *_: object) -> object:
    """`copyreg._reconstructor`: an object of an unlisted class, without running its constructor."""
    if isinstance(kind, Global):
        return kind.call(())
    raise UnsafeCheckpoint("constructs an object in an unknown way")


def shape_tuple(sizes: object = ()) -> tuple[int, ...]:
    """`torch.Size`."""
    return check_shape(sizes)


def device(*arguments: object) -> str:
    """`torch.device`, kept as its text."""
    return ":".join(str(argument) for argument in arguments if isinstance(argument, (str, int)))


TENSOR_BUILDERS = (rebuild_tensor, rebuild_tensor_v3)

COLLECTIONS: tuple[Callable[..., object], ...] = (set, frozenset, list, tuple)

BUILDERS: dict[str, Callable[..., object]] = {
    "collections.OrderedDict": ordered_dict,
    "torch._utils._rebuild_tensor": rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": rebuild_parameter,
    "torch._tensor._rebuild_from_type_v2": rebuild_from_type,
    "torch.nn.parameter.Parameter": rebuild_parameter,
    "torch.Size": shape_tuple,
    "torch.device": device,
    "numpy.dtype": DtypeData,
    "numpy.ndarray": ArrayBuilder,
    "numpy.core.multiarray.scalar": scalar,
    "numpy._core.multiarray.scalar": scalar,
    "numpy.core.multiarray._reconstruct": ArrayBuilder,
    "numpy._core.multiarray._reconstruct": ArrayBuilder,
    "numpy.core.numeric._frombuffer": array_from_buffer,
    "numpy._core.numeric._frombuffer": array_from_buffer,
    "_codecs.encode": encode,
    "builtins.getattr": attribute,
    "copyreg._reconstructor": reconstruct,
    "copy_reg._reconstructor": reconstruct,
}
for _module in ("builtins", "__builtin__"):
    BUILDERS |= {f"{_module}.{kind}": byte_string for kind in ("bytes", "bytearray")}
    BUILDERS |= {f"{_module}.{kind.__name__}": partial(collect, kind) for kind in COLLECTIONS}  # type: ignore[attr-defined]
    # Python 2 and 3 name the base of every class, which `_reconstructor` mentions and nothing calls.
    BUILDERS[f"{_module}.object"] = lambda *_: Inert("object")


def storage_type(value: object) -> str:
    """The dtype that a storage class stands for. Raises CorruptCheckpoint."""
    name = value.name if isinstance(value, Global) else ""
    module, _, kind = name.rpartition(".")
    if module not in ("torch", "torch.cuda", "torch.storage") or kind not in STORAGE_TYPES:
        raise CorruptCheckpoint(f"holds a tensor with storage '{name[:60]}', which is no known storage type")
    return STORAGE_TYPES[kind]
