"""The options that make a network faster: what can be switched on, and how a command line says it. No torch needed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError

if TYPE_CHECKING:
    import torch

PRECISIONS = {"bf16": "bfloat16", "fp16": "float16"}  # option -> torch's name of the type


@dataclass(frozen=True)
class Options:
    """What to switch on. amp: None, "bf16" or "fp16", for automatic mixed precision."""

    fuse_conv_bn: bool = False
    amp: str | None = None
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        if self.amp is not None and self.amp not in PRECISIONS:
            raise UsageError(f"--amp is bf16 or fp16, not '{self.amp}'.")

    @property
    def precision(self) -> torch.dtype | None:
        """The type that autocast uses, None for float32."""
        import torch

        return getattr(torch, PRECISIONS[self.amp]) if self.amp else None

    def chosen(self) -> dict[str, Any]:
        """The options that are on."""
        return {name: value for name, value in asdict(self).items() if value}

    def single(self) -> dict[str, Options]:
        """Each option that is on, alone, and all of them together where there are several."""
        chosen = self.chosen()
        alone = {name: Options(**{name: value}) for name, value in chosen.items()}
        return alone | ({"all": self} if len(chosen) > 1 else {})


def from_args(args: Any) -> Options:
    """The options of a parsed command line."""
    return Options(**{field.name: getattr(args, field.name) for field in fields(Options)})


def configure(parser: Any) -> None:
    """Declare the options on a command's parser."""
    parser.add_argument("--fuse-conv-bn", action="store_true", help="fold batch norm into the convolutions")
    parser.add_argument("--amp", choices=list(PRECISIONS), help="automatic mixed precision")
    parser.add_argument("--channels-last", action="store_true", help="NHWC memory layout")
    parser.add_argument("--compile", action="store_true", help="torch.compile backbone, neck and heads")
