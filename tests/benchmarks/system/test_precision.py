"""TF32 is chosen by the switches of current PyTorch, said in the record, and left as it was."""

from __future__ import annotations

import pytest
import torch

from benchmarks.system import environment


@pytest.mark.parametrize("tf32", [True, False])
def test_the_choice_holds_inside_and_is_undone_afterwards(tf32: bool) -> None:
    switches = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    before = [switch.fp32_precision for switch in switches]
    with environment.float32_as(tf32):
        numbers = environment.numerics()
        assert (numbers["tf32_matmul"], numbers["tf32_cudnn"]) == (tf32, tf32)
    assert [switch.fp32_precision for switch in switches] == before


def test_the_switches_can_be_read_after_a_user_has_set_the_new_ones() -> None:
    with environment.float32_as(True), environment.full_precision():
        assert environment.numerics()["tf32_cudnn"] is False
