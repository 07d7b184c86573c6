"""`zoo sources`, and what `zoo list` says about licenses and hosts."""

from __future__ import annotations

import json

import pytest

from zoo.cli.main import main
from zoo.download.mirror_status import Response, save_responses
from zoo.manifest import api


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run a command with an empty cache: (status, stdout, stderr)."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    monkeypatch.setenv("ZOO_OFFLINE", "1")

    def call(*argv):
        status = main(list(argv))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_every_host_is_listed_with_the_name_it_uses(run):
    status, out, _ = run("sources", "faster_rcnn_r50_caffe_c4_1x_coco", "--json")
    (result,) = json.loads(out)
    names = {source["host"]: source["file"] for source in result["published"]["sources"]}
    assert status == 0 and names["openxlab"] == "faster-rcnn_r50-caffe-c4_1x_coco"
    assert names["onedl"] == "faster_rcnn_r50_caffe_c4_1x_coco_20220316_150152-3f885b85.pth"
    assert list(names)[-1] == "archive"
    assert result["substitutes"][0]["name"] == "detectron2/faster_rcnn_R_50_C4_1x"


def test_licenses_are_told_apart(run):
    (result,) = json.loads(run("sources", "retinanet_pvt-t_fpn_1x_coco", "--json")[1])
    assert result["licenses"]["code"] == result["licenses"]["weights"] == result["licenses"]["backbone"] == "Apache-2.0"
    assert result["licenses"]["dataset"].startswith("annotations CC-BY-4.0")
    (result,) = json.loads(run("sources", "detectron2/faster_rcnn_R_50_C4_1x", "--json")[1])
    assert result["licenses"]["code"] == "Apache-2.0" and result["licenses"]["weights"] == "CC-BY-SA-3.0"


def test_a_host_out_of_reach_is_unknown_and_not_missing(run):
    first, second, third, *_ = api.get("retinanet_r50").checkpoint.urls
    responses = [Response(first, "served", 9, 1e9), Response(second, "its name does not resolve", None, 1e9)]
    save_responses({response.url: response for response in [*responses, Response(third, "missing", None, 1e9)]})
    (result,) = json.loads(run("sources", "retinanet_r50", "--json")[1])
    assert [source["seen"] for source in result["published"]["sources"]][:4] == [
        "served",
        "unknown",
        "missing",
        "unknown",
    ]
    status, out, _ = run("sources", "retinanet_r50")
    assert status == 0 and "served 2001-09-0" in out and "missing 2001-09-0" in out


def test_other_files_of_the_same_weights_are_shown(run):
    _, out, _ = run("sources", "mask2former_r101")
    assert "same weights: mmdetection/v3.0/mask2former/" in out and "(mmdet-v3, ecf181e2)" in out


def test_all_models_take_a_line_each(run):
    status, out, _ = run("sources")
    assert status == 0 and len(out.splitlines()) == len(api.list_models())


def test_lists_are_chosen_by_license_and_source(run):
    assert "detectron2/faster_rcnn_R_50_C4_1x" in run("list", "--license", "cc-by-sa-3.0")[1]
    assert len(json.loads(run("list", "--source", "openxlab", "--json")[1])) == 21
    assert run("list", "--source", "download.openxlab.org.cn")[1] == run("list", "--source", "openxlab")[1]
    status, out, err = run("list", "--source", "nowhere")
    assert (status, out) == (2, "") and "no model has the source 'nowhere'; there are" in err and "openxlab" in err
    status, out, err = run("list", "--license", "GPL")
    assert (status, out) == (2, "") and "Apache-2.0" in err


def test_what_could_not_be_checked_is_said(capsys):
    from zoo.cli.main import main

    assert main(["sources", "detectron2/mask_rcnn_R_50_FPN_3x", "megvii/yolox_nano"]) == 0
    out = capsys.readouterr().out
    assert "hub-detectron2: Two of Detectron2's files" in out and "Their paths in the repository are assumed" in out
    assert "note: The URL is from the authors' release 0.1.1rc0; it was not tried" in out
    assert "license of the backbone: unknown" in out
