"""CornerNet's head and detector on made-up maps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo.models.build import component
from zoo.models.detectors.keypoint import CornerNet
from zoo.structures import ImageGeometry, Sample

CFG = {
    "corner_topk": 20,
    "local_maximum_kernel": 3,
    "distance_threshold": 0.5,
    "max_per_img": 10,
    "nms": {"type": "soft_nms", "iou_threshold": 0.5, "method": "gaussian"},
}


def maps(corner: tuple[int, int], size: tuple[int, int] = (16, 20), **more: float) -> dict[str, torch.Tensor]:
    """One corner of class 1 at x, y, with offsets of a quarter; `more` are constant maps of two channels."""
    x, y = corner
    heat = torch.full((1, 2, *size), -9.0)
    heat[0, 1, y, x] = 4.0
    result = {"heat": heat, "off": torch.full((1, 2, *size), 0.25)}
    return result | {kind: torch.full((1, 2, *size), value) for kind, value in more.items()}


def test_two_corners_with_equal_tags_become_one_box():
    head = component({"type": "CornerHead", "num_classes": 2, "in_channels": 8}, test_cfg=CFG)
    outputs = [{"tl": maps((4, 3), emb=1.0), "br": maps((12, 9), emb=1.25)}]
    (detections,) = head.predict(outputs, [ImageGeometry.of_input((64, 80))], (64, 80))
    assert detections.boxes[0].tolist() == [17.0, 13.0, 49.0, 37.0]
    assert detections.labels[0] == 1 and detections.scores[0] == pytest.approx(torch.tensor(4.0).sigmoid().item())


def test_two_corners_that_point_to_one_center_become_one_box():
    description = {"type": "CentripetalHead", "num_classes": 2, "in_channels": 8, "corner_emb_channels": 0}
    head = component(description, test_cfg=CFG)
    outputs = [
        {
            corner: maps(place, centripetal=torch.tensor(3.5).log().item())
            for corner, place in (("tl", (4, 3)), ("br", (11, 10)))
        }
    ]
    (detections,) = head.predict(outputs, [ImageGeometry.of_input((64, 80))], (64, 80))
    assert detections.boxes[0].tolist() == [17.0, 13.0, 45.0, 41.0]


class Bright(nn.Module):
    """A head whose corners are where the image says; for a mirrored image where that says."""

    def __init__(self) -> None:
        super().__init__()
        self.head = component({"type": "CornerHead", "num_classes": 2, "in_channels": 8}, test_cfg=CFG)
        self.pairs, self.suppress, self.predict = self.head.pairs, self.head.suppress, self.head.predict

    def forward(self, features: list[torch.Tensor]) -> list[dict[str, dict[str, torch.Tensor]]]:
        x = features[0]
        bright = (x[:, 0] > 0).nonzero()
        parts: dict[str, list[dict[str, torch.Tensor]]] = {"tl": [], "br": []}
        for i in range(len(x)):
            places = bright[bright[:, 0] == i][:, 1:]
            low, high = places.amin(0).tolist(), places.amax(0).tolist()
            parts["tl"].append(maps((low[1], low[0]), tuple(x.shape[2:]), emb=0.0))
            parts["br"].append(maps((high[1] + 1, high[0] + 1), tuple(x.shape[2:]), emb=0.0))
        for part in parts.values():
            for m in part:
                m["off"].zero_()
        return [{c: {k: torch.cat([m[k] for m in part]) for k in part[0]} for c, part in parts.items()}]


def test_detect_merges_the_image_and_its_mirror_image():
    detector = CornerNet.__new__(CornerNet)
    nn.Module.__init__(detector)
    detector.backbone, detector.neck, detector.bbox_head = nn.Identity(), None, Bright()
    detector.features = lambda images: [images]  # type: ignore[method-assign, assignment]
    image = torch.zeros(3, 32, 40)
    image[:, 10:20, 8:18] = 1
    sample = Sample(image, size=(24, 30), scale=(0.5, 0.5), original_size=(48, 60), offset=(5.0, 4.0))
    result = detector.detect_sample(sample, torch.zeros(1))
    assert len(result) == 2  # the same box twice: soft-NMS lowers the second one
    for box in result.boxes:
        assert box.tolist() == [(8 - 5) * 2, (10 - 4) * 2, (18 - 5) * 2, (20 - 4) * 2]
    assert result.scores[1] < result.scores[0]
