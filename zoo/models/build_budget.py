"""How much the description in a checkpoint may build: no more than the file's own tensors can fill.

A description comes from a file of unknown origin, and a few of its characters can ask for ten million layers or for
300 GB. So a network is built from it under a budget of components, modules and tensor elements, which is checked
before memory is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.modules.module import register_module_module_registration_hook
from torch.overrides import TorchFunctionMode

from zoo.errors import BuildError

# Beside what the file holds: buffers that are computed, parts that only training needs, temporaries.
SPARE_ELEMENTS = 25_000_000
SPARE_MODULES = 5_000
MODULES_PER_TENSOR = 8
MAX_COMPONENTS = 20_000
"""Described components, modules or not; the largest published network has about 2,000."""

# Factories whose sizes are the first argument or arguments, and those that compute a length from two numbers.
SIZED = (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full)
RANGED = (torch.arange, torch.linspace)


@dataclass
class Budget(TorchFunctionMode):
    """What may still be built. Raises BuildError from inside the constructor that asks for more."""

    elements: int
    modules: int
    components: int = MAX_COMPONENTS

    def __post_init__(self) -> None:
        super().__init__()

    @classmethod
    def of_tensors(cls, sizes: Iterable[int]) -> Budget:
        """The budget of a file whose tensors have so many elements each."""
        listed = list(sizes)
        return cls(sum(listed) + SPARE_ELEMENTS, MODULES_PER_TENSOR * len(listed) + SPARE_MODULES)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in SIZED:
            self.take_elements(elements_of(args, kwargs or {}))
        elif func in RANGED:
            self.take_elements(length_of(func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))

    def take_elements(self, count: int) -> None:
        """Account for a tensor before it is allocated."""
        self.elements -= count
        if self.elements < 0:
            raise BuildError("the description asks for more parameters than the file has")

    def take_module(self, *_: Any) -> None:
        """Account for a module that another one takes in."""
        self.modules -= 1
        if self.modules < 0:
            raise BuildError("the description asks for more layers than the file has tensors for")

    def take_component(self) -> None:
        """Account for a described component, a module or not."""
        self.components -= 1
        if self.components < 0:
            raise BuildError(f"the description builds more than {MAX_COMPONENTS:,} components")


def elements_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Elements of the tensor that a factory is asked for; 0 for sizes that the factory itself will refuse."""
    sizes = kwargs.get("size", args[0] if args and not isinstance(args[0], (int, float)) else args)
    try:
        return math.prod(int(size) for size in sizes)
    except (TypeError, ValueError, OverflowError):
        return 0


def length_of(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Elements of a range; 0 for arguments that the factory itself will refuse."""
    try:
        if func is torch.linspace:
            return int(kwargs.get("steps", args[2] if len(args) > 2 else 0))
        return len(range(*(int(bound) for bound in args[:3])))
    except (TypeError, ValueError, OverflowError):
        return 0


_CURRENT: ContextVar[Budget | None] = ContextVar("budget", default=None)


def current() -> Budget | None:
    """The budget in force, if there is one."""
    return _CURRENT.get()


@contextmanager
def limited(budget: Budget) -> Iterator[None]:
    """Build under a budget. Components, modules and tensors that are made inside count."""
    token = _CURRENT.set(budget)
    handle = register_module_module_registration_hook(budget.take_module)
    try:
        with budget:
            yield
    finally:
        handle.remove()
        _CURRENT.reset(token)
