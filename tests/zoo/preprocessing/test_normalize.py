"""Looking bytes up gives what arithmetic gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.preprocessing.normalize import normalize, to_chw
from zoo.preprocessing.preprocess import pad
from zoo.preprocessing.recipe import Normalization, Pad

SIDES = st.integers(1, 40)
MEANS, STDS = st.floats(0, 255, width=32), st.floats(0.0625, 300, width=32)


@settings(deadline=None)
@given(SIDES, SIDES, st.integers(0, 3), st.tuples(MEANS, MEANS, MEANS), st.tuples(STDS, STDS, STDS), st.booleans())
def test_planes_equal_normalizing_then_padding_then_transposing(height, width, more, mean, std, to_rgb):
    image = np.random.default_rng(height * 100 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    normalization, fill = Normalization(mean, std, to_rgb), (0.1, -2.0, 3.0)
    size = (height + more, width + 2 * more)
    want = pad(Pad(size=size, value=fill), normalize(image, normalization)).transpose(2, 0, 1)
    assert np.array_equal(to_chw(image, normalization, size, fill), want)


@pytest.mark.parametrize("size", [(3, 5), (8, 5), (3, 9)])
def test_bytes_without_a_normalization_stay_as_they_are(size):
    image = np.arange(45, dtype=np.uint8).reshape(3, 5, 3)
    out = to_chw(image, None, size, (7.0, 8.0, 9.0))
    assert np.array_equal(out[:, :3, :5], image.transpose(2, 0, 1))
    outside = np.ones(size, bool)
    outside[:3, :5] = False
    assert np.array_equal(np.unique(out[:, outside]), [7, 8, 9] if outside.any() else [])
