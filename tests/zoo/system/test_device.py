"""A device that is not there is named in one sentence."""

from __future__ import annotations

import pytest
import torch

from zoo.errors import UsageError
from zoo.system.device import usable_device


def test_the_cpu_is_always_usable() -> None:
    assert usable_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:63", "nonsense"])
def test_a_device_that_cannot_be_used_is_a_usage_error_of_one_line(name: str) -> None:
    with pytest.raises(UsageError, match=f"device '{name}' cannot be used here") as caught:
        usable_device(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["mps", "xpu", "xpu:1"])
def test_a_device_whose_clock_cannot_be_read_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(UsageError, match=f"device '{name}' is not supported"):
        usable_device(name)
