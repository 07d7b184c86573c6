"""A network's share of the machine's limit, for people. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def described(limit: Mapping[str, Any], peak_mib: float | None) -> list[str]:
    """The share, the memory, and the layers that lose most. limit: as a record has it."""
    peaks = {name: value / 1e9 for name, value in limit["peaks"].items()}
    measured = "unknown" if peak_mib is None else f"{peak_mib:.0f} MiB"
    lines = [
        f"{limit['share']:.0%} of the limit: {milliseconds(limit['limit'])} of {milliseconds(limit['seconds'])}; "
        f"convolutions {peaks['convolution']:.0f}, products {peaks['product']:.0f}, depthwise "
        f"{peaks['depthwise']:.0f} GFLOP/s, memory {peaks['memory']:.1f}, cache {peaks['cache']:.1f} GB/s",
        f"at least {limit['floor_mib']:.0f} MiB for weights ({limit['weights_mib']:.0f} MiB), input and live tensors; "
        f"measured peak {measured}",
    ]
    return lines + [
        f"  {one['name']} ({one['operations']}): {milliseconds(one['seconds'])}, limit {milliseconds(one['limit'])}"
        for one in limit["worst"]
    ]


def milliseconds(seconds: float) -> str:
    """As text."""
    return f"{1000 * seconds:.1f} ms"
