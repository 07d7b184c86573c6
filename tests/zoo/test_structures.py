"""Detections for people and for other libraries."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

import zoo
from zoo.errors import UsageError

NAMES = ("person", "bicycle", "car")


@pytest.fixture
def detections() -> zoo.Detections:
    """Two boxes with masks in an image of 40 x 60 pixels (height x width)."""
    masks = torch.zeros(2, 40, 60, dtype=torch.bool)
    masks[0, 10:30, 6:36] = True
    masks[1, :5, :5] = True
    boxes = torch.tensor([[6.0, 10.0, 36.0, 30.0], [-3.0, -2.0, 5.0, 5.0]])
    return zoo.Detections(boxes, torch.tensor([0.9, 0.4]), torch.tensor([2, 0]), masks)


def test_a_notebook_shows_a_table_of_the_best(detections):
    html = detections._repr_html_()
    assert "2 detections, with masks" in html and "<td>0.900</td><td>6.0, 10.0, 36.0, 30.0</td>" in html
    many = zoo.Detections(torch.zeros(25, 4), torch.ones(25), torch.zeros(25, dtype=torch.long))
    assert many._repr_html_().count("<td>1.000</td>") == 20 and "and 5 more" in many._repr_html_()
    assert "0 detections" in zoo.Detections.empty(torch.zeros(1))._repr_html_()


def test_supervision_takes_them(detections):
    supervision = pytest.importorskip("supervision", reason="supervision is not installed")
    result = detections.to_supervision(NAMES)
    assert isinstance(result, supervision.Detections) and len(result) == 2
    assert result.xyxy.tolist() == detections.boxes.tolist() and result.class_id.tolist() == [2, 0]
    assert result.mask.sum() == detections.masks.sum() and list(result["class_name"]) == ["car", "person"]
    assert result.confidence.tolist() == pytest.approx([0.9, 0.4])
    assert len(zoo.Detections.empty(torch.zeros(1)).to_supervision(NAMES)) == 0


@pytest.fixture
def fiftyone(monkeypatch):
    """A stand-in with the two constructors that FiftyOne documents; the package brings a database server."""
    module = ModuleType("fiftyone")
    module.Detection = lambda **values: SimpleNamespace(**values)  # type: ignore[attr-defined]
    module.Detections = lambda detections: SimpleNamespace(detections=detections)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fiftyone", module)


def test_fiftyone_gets_relative_boxes_and_masks_that_fill_them(detections, fiftyone):
    first, second = detections.to_fiftyone(NAMES).detections
    assert first.label == "car" and first.bounding_box == pytest.approx([0.1, 0.25, 0.5, 0.5])
    assert first.confidence == pytest.approx(0.9) and first.mask.shape == (20, 30) and first.mask.all()
    assert second.bounding_box == pytest.approx([0, 0, 5 / 60, 5 / 40]) and second.mask.shape == (5, 5)


def test_fiftyone_needs_a_size_where_no_mask_has_it(detections, fiftyone):
    plain = zoo.Detections(detections.boxes, detections.scores, detections.labels)
    with pytest.raises(UsageError, match="pass its size"):
        plain.to_fiftyone(NAMES)
    (first, _) = plain.to_fiftyone(size=(40, 60)).detections
    assert first.label == "2" and first.bounding_box == pytest.approx([0.1, 0.25, 0.5, 0.5])


@pytest.mark.parametrize(("method", "package"), [("to_supervision", "supervision"), ("to_fiftyone", "fiftyone")])
def test_what_is_not_installed_is_a_sentence(detections, method, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=f"pip install {package}"):
        getattr(detections, method)()


@pytest.mark.parametrize("method", ["to_supervision", "to_fiftyone"])
def test_panoptic_maps_are_not_dropped_in_silence(detections, method):
    detections.panoptic = torch.zeros(40, 60, dtype=torch.long)
    with pytest.raises(UsageError, match="no panoptic maps"):
        getattr(detections, method)()
