"""Grouping corners against an obvious loop over all pairs."""

from __future__ import annotations

import numpy as np
import torch

from zoo.models.dense_heads.corner_groups import Corners, group_corners
from zoo.models.dense_heads.heatmaps import find_peaks
from zoo.models.detectors.keypoint import mirror
from zoo.structures import ImageGeometry


def corners(seed: int, count: int = 40) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def rand(*size: int) -> torch.Tensor:
        return torch.rand(*size, generator=generator)

    return {
        "scores": rand(count),
        "labels": torch.randint(3, (count,), generator=generator),
        "positions": rand(count, 2) * 100,
    }


def slow_pairs(tl: Corners, br: Corners, matches) -> list[tuple]:
    result = []
    for i in range(len(tl.scores)):
        for j in range(len(br.scores)):
            (x1, y1), (x2, y2) = tl.positions[i].tolist(), br.positions[j].tolist()
            if tl.labels[i] != br.labels[j] or x2 <= x1 or y2 <= y1 or not matches(i, j, (x1, y1, x2, y2)):
                continue
            score = ((tl.scores[i] + br.scores[j]) / 2).item()
            result.append((score, int(tl.labels[i]), x1, y1, x2, y2))
    return sorted(result, reverse=True)


def rows(result) -> list[tuple]:
    return [(s, int(label), *b) for s, label, b in zip(result.scores.tolist(), result.labels, result.boxes.tolist())]


def test_corners_with_near_tags_make_a_box():
    tl, br = (Corners(**corners(i), tags=torch.rand(40) * 3) for i in (0, 1))
    expected = slow_pairs(tl, br, lambda i, j, box: abs(tl.tags[i] - br.tags[j]) <= 0.5)
    assert len(expected) > 20
    assert np.allclose(rows(group_corners(tl, br, 0.5)), expected)


def test_corners_whose_centers_meet_in_the_central_region_make_a_box():
    """Section 3.2 of CentripetalNet, word for word."""
    generator = torch.Generator().manual_seed(2)
    tl, br = (
        Corners(**corners(i, count=120), centers=40 + torch.rand(120, 2, generator=generator) * 20) for i in (2, 3)
    )

    def matches(i: int, j: int, box: tuple) -> bool:
        x1, y1, x2, y2 = box
        mu = 1 / 2.1 if (x2 - x1) * (y2 - y1) > 3500 else 1 / 2.4
        cx, cy, half_w, half_h = (x1 + x2) / 2, (y1 + y2) / 2, mu * (x2 - x1) / 2, mu * (y2 - y1) / 2
        for x, y in (tl.centers[i].tolist(), br.centers[j].tolist()):
            if not (cx - half_w < x < cx + half_w and cy - half_h < y < cy + half_h):
                return False
        (ax, ay), (bx, by) = tl.centers[i].tolist(), br.centers[j].tolist()
        return abs((bx - ax) * (by - ay)) / (4 * half_w * half_h) <= 0.5

    expected = slow_pairs(tl, br, matches)
    assert len(expected) > 5
    assert np.allclose(rows(group_corners(tl, br, 0.5)), expected)


def test_at_most_so_many_pairs_are_kept_the_best_first():
    tl, br = (Corners(**corners(i), tags=torch.zeros(40)) for i in (4, 5))
    everything, some = group_corners(tl, br, 0.5), group_corners(tl, br, 0.5, count=10)
    torch.testing.assert_close(some.scores, everything.scores[:10])


def test_no_pair_at_all_is_no_detection():
    tl, br = (Corners(**corners(i), tags=torch.full((40,), 10.0 * i)) for i in (6, 7))
    assert len(group_corners(tl, br, 0.5)) == 0


def test_peaks_are_the_best_local_maxima_of_all_classes():
    heat = torch.rand(3, 9, 11)
    expected = []
    for c in range(3):
        for y in range(9):
            for x in range(11):
                around = heat[c, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
                if heat[c, y, x] == around.max():
                    expected.append((heat[c, y, x].item(), c, x, y))
    peaks = find_peaks(heat, 8)
    result = list(zip(peaks.scores.tolist(), peaks.labels.tolist(), peaks.x.tolist(), peaks.y.tolist()))
    assert result == sorted(expected, reverse=True)[:8]
    torch.testing.assert_close(peaks.read(heat)[torch.arange(8), peaks.labels], peaks.scores)


def test_boxes_of_the_mirrored_input_come_back_to_where_they_were():
    geometry = ImageGeometry(size=(40, 60), output_size=(40, 60), offset=(7.0, 3.0))
    boxes = torch.tensor([[10.0, 5.0, 30.0, 20.0]])
    width = 60 + 2 * 7
    mirrored = torch.tensor([[width - 30.0, 5.0, width - 10.0, 20.0]])
    torch.testing.assert_close(mirror(mirrored, geometry), boxes)
