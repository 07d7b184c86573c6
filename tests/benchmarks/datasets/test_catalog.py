"""The table of datasets: how folders may name their files."""

from __future__ import annotations

from benchmarks.datasets import catalog, demo


def test_a_users_folder_in_cocos_layout_needs_no_year_in_its_names(tmp_path):
    demo.write(tmp_path, {"val": 2})
    opened = catalog.open_dataset("coco_2017", tmp_path)
    assert [image.path.parent.name for image in opened.images] == ["val", "val"]
