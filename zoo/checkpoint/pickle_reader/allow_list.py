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

from zoo.checkpoint.pickle_reader.limits import check_name
from zoo.checkpoint.pickle_reader.rebuild import (
    ArrayBuilder,
    DtypeData,
    array_from_buffer,
    device,
    rebuild_from_type,
    rebuild_parameter,
    rebuild_tensor,
    rebuild_tensor_v3,
    scalar,
    shape_tuple,
)
from zoo.checkpoint.pickle_reader.values import Global, Inert
from zoo.errors import CorruptCheckpoint, UnsafeCheckpoint

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


def call(function: Global | Inert, arguments: tuple[object, ...]) -> object:
    """What the file's call of a name amounts to. Raises UnsafeCheckpoint for a call that is never harmless."""
    if isinstance(function, Global) and function.build is not None:
        return function.build(*arguments)
    if function.name.partition(".")[0] in GUARDED_MODULES and not function.name.startswith(INERT_CALLS):
        raise UnsafeCheckpoint(f"calls {function.name}, which is not on the allow-list")
    return Inert(function.name, arguments)


def find_global(module: str, name: str) -> Global:
    """The allow-list's answer to `module.name`. Raises UnsafeCheckpoint when the name must not occur at all."""
    full = f"{check_name(module)}.{check_name(name)}"
    if full in BUILDERS:
        return Global(full, BUILDERS[full])
    root = module.partition(".")[0]
    if full not in INERT_STANDARD and (root in REFUSED_MODULES or root in sys.stdlib_module_names):
        raise UnsafeCheckpoint(f"names {full}, which is not on the allow-list")
    return Global(full)


def ordered_dict(pairs: object = ()) -> OrderedDict[object, object]:
    """`collections.OrderedDict`, from nothing or from the pairs that Python 2 wrote."""
    result: OrderedDict[object, object] = OrderedDict()
    if not isinstance(pairs, (list, tuple)):
        raise CorruptCheckpoint("holds a dictionary made of something else than pairs")
    for key, value in pairs:
        result[check_key(key)] = value
    return result


def check_key(key: object) -> object:
    """A dictionary key that is cheap to hash and cannot recurse. Raises CorruptCheckpoint.

    Whoever knows Python can write a million tuples of numbers with the same hash; hashes of texts are salted.
    """
    if key is None or isinstance(key, (str, bytes, bool, float, Inert, Global)):
        return key
    if isinstance(key, int) and -(2**63) <= key < 2**64:
        return key
    if isinstance(key, tuple) and len(key) <= 16 and all(isinstance(part, str) for part in key):
        return key
    raise CorruptCheckpoint(f"uses a {type(key).__name__} as the key of a dictionary")


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
    return Inert(check_name(f"{owner.name}.{check_name(name)}"))  # type: ignore[attr-defined]


def collect(kind: Callable[..., object], items: object = ()) -> object:
    """`set`, `frozenset`, `list` and `tuple` of what the file lists."""
    if not isinstance(items, (list, tuple)):
        raise CorruptCheckpoint("holds a collection made of something else than a list")
    return kind(check_key(item) for item in items) if kind in (set, frozenset) else kind(items)


def reconstruct(kind: object, *_: object) -> object:
    """`copyreg._reconstructor`: an object of an unlisted class, without running its constructor."""
    if isinstance(kind, Global):
        return call(kind, ())
    raise UnsafeCheckpoint("constructs an object in an unknown way")


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
