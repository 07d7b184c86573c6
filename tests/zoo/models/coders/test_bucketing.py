"""Boxes as buckets and offsets of their sides."""

from __future__ import annotations

import torch

from zoo.models.coders.bucketing import BucketingBBoxCoder


def test_encoded_boxes_decode_to_themselves() -> None:
    coder = BucketingBBoxCoder(14, 1.7)
    priors = torch.tensor([[10.0, 20, 50, 90], [0, 0, 30, 30]])
    boxes = torch.tensor([[5.0, 30, 60, 85], [2, 1, 33, 28]])
    offsets, _, labels, _ = coder.encode(priors, boxes)
    decoded, confidence = coder.decode(priors, (labels * 100, offsets))
    torch.testing.assert_close(decoded, boxes, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(confidence, torch.ones(2))


def test_the_nearest_buckets_learn_the_offset_and_near_ones_are_no_negatives() -> None:
    coder = BucketingBBoxCoder(4, 1.0)
    offsets, weights, labels, label_weights = coder.encode(
        torch.tensor([[0.0, 0, 40, 40]]), torch.tensor([[9.0, 5, 35, 35]])
    )
    left = slice(0, 2)  # centers at 5 and 15, the side at 9: 0.4 buckets before the first, 0.6 behind the second
    torch.testing.assert_close(offsets[0, left], torch.tensor([-0.4, 0.6]))
    assert labels[0, left].tolist() == [1, 0]
    assert weights[0, left].tolist() == [1, 1]
    assert label_weights[0, left].tolist() == [1, 0]


def test_decoded_boxes_stay_inside_the_image() -> None:
    coder = BucketingBBoxCoder(14, 1.7)
    priors, wild = torch.tensor([[0.0, 0, 100, 100]]), torch.randn(1, 28) * 10
    boxes, _ = coder.decode(priors, (wild, wild), size=(50, 60))
    assert boxes.min() >= 0 and (boxes[:, [0, 2]] <= 59).all() and (boxes[:, [1, 3]] <= 49).all()
