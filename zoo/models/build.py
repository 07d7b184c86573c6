"""From an architecture's description, nested plain data, to modules.

`component_table` lists what exists. A description is a mapping with a `type`; its other keys are the keyword arguments
of that component's constructor, and nested descriptions are built by the component that owns them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from zoo.errors import BuildError
from zoo.models.argument_types import check_arguments
from zoo.models.build_budget import current
from zoo.models.component_table import find, kind_of
from zoo.models.layers.fast_conv import hold_steady

# Settings that only training, initialization or MMEngine needs: dropped for a component that does not take them.
TRAINING_ONLY = (
    "loss",
    "train_cfg",
    "init_cfg",
    "pretrained",
    "convert_weights",
    "teacher",
    "with_cp",
    "data_preprocessor",
    "_scope_",
    "use_syncbn",
    "num_cp",
)


def component(description: Mapping[str, Any] | list[Mapping[str, Any]], /, **context: Any) -> Any:
    """The object that `description` describes; a list of descriptions is a chain of modules (FPN and what refines it).

    context: what the owner hands down (`test_cfg`, `train_cfg`, ...), passed on where the constructor takes it and the
    description does not say otherwise. Raises BuildError for an unknown type or argument, or a missing one.
    """
    if isinstance(description, (list, tuple)):
        return nn.Sequential(*(component(link, **context) for link in description))
    kind, arguments = split(description)
    cls = find(kind)
    accepted = parameters(cls)
    settings = {k: v for k, v in context.items() if k in accepted}
    settings.update({k: v for k, v in arguments.items() if k in accepted or not k.startswith(TRAINING_ONLY)})
    unknown = sorted(set(settings) - accepted)
    if unknown:
        raise BuildError(
            f"{kind} takes no argument '{unknown[0]}'; it takes {', '.join(sorted(accepted))}", kind, unknown[0]
        )
    missing = sorted(required(cls) - set(settings))
    if missing:
        raise BuildError(f"{kind} needs the argument '{missing[0]}'", kind)
    return construct(cls, kind, settings)


def construct(cls: Any, kind: str, settings: Mapping[str, Any]) -> Any:
    """`cls(**settings)`. Raises BuildError for values that the constructor does not take."""
    if budget := current():
        budget.take_component()
    check_arguments(cls, kind, settings)
    try:
        return cls(**settings)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError) as error:
        raise BuildError(f"{kind} cannot be built: {reason(error)}", kind) from error
    except (RecursionError, RuntimeError, TypeError, ValueError) as error:
        raise BuildError(f"{kind} cannot be built: {reason(error)}", kind) from error


def reason(error: Exception) -> str:
    """The first line of an error's own words, or its type where it has none."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def split(description: Any) -> tuple[str, dict[str, Any]]:
    """A description's type and its other settings."""
    if not isinstance(description, Mapping) or "type" not in description:
        raise BuildError(f"a component is described by a mapping with a 'type', not by {description!r:.200}")
    arguments = dict(description)
    return kind_of(description), {key: value for key, value in arguments.items() if key != "type"}


def parameters(cls: Any) -> set[str]:
    """Names that a constructor takes; where it passes `**kwargs` on, also those of its base class."""
    return {p.name for p in signature(cls) if p.kind is not p.VAR_KEYWORD}


def required(cls: Any) -> set[str]:
    """Names that a constructor itself cannot do without (a base class's may be filled in by it)."""
    own = own_parameters(cls)
    return {p.name for p in own if p.default is p.empty and p.kind is not p.VAR_KEYWORD}


def signature(cls: Any) -> list[inspect.Parameter]:
    """A constructor's parameters, and those of the base class that it passes `**kwargs` on to."""
    own = own_parameters(cls)
    if any(p.kind is p.VAR_KEYWORD for p in own):
        seen = {p.name for p in own}
        own += [p for p in signature(cls.__mro__[1]) if p.name not in seen]
    return own


def own_parameters(cls: Any) -> list[inspect.Parameter]:
    """The parameters of a class's own constructor; none where there is none."""
    if cls.__init__ is object.__init__:
        return []
    return list(inspect.signature(cls.__init__).parameters.values())[1:]


def build_detector(description: Mapping[str, Any]) -> Any:
    """A whole detector, freshly initialized, in eval mode. Raises BuildError."""
    return hold_steady(component(description)).eval()
