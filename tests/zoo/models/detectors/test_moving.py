"""Moving a network to a device leaves it trainable."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

import zoo


def test_weights_that_detect_moved_are_no_inference_tensors() -> None:
    model = zoo.build("yolox_nano_8x8_300e_coco")
    with suppress(NotImplementedError, RuntimeError):  # nothing can be computed on this device
        model.detect([np.zeros((64, 64, 3), np.uint8)], device="meta")
    parameters = list(model.parameters())
    assert all(p.device.type == "meta" for p in parameters) and not any(p.is_inference() for p in parameters)
