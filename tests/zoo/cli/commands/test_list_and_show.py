"""`zoo list`, `zoo show` and `zoo completion`, as a user sees them."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from zoo.cli.main import COMMANDS, main
from zoo.manifest import api
from zoo.manifest.query import KINDS


@pytest.fixture
def zoo(capsys):
    def run(*arguments):
        status = main(arguments)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def rows(output):
    return json.loads(output[1])


def test_json_lists_every_published_model(zoo):
    assert len(rows(zoo("list", "--json"))) >= 562


def test_text_and_json_list_the_same(zoo):
    text = [line.split()[0] for line in zoo("list", "mask_rcnn_r50*")[1].splitlines()]
    assert text[0] == "model" and text[1:] == [row["name"] for row in rows(zoo("list", "mask_rcnn_r50*", "--json"))]


def test_sorting_puts_the_best_first(zoo):
    listed = rows(
        zoo("list", "--task", "instance segmentation", "--sort", "mask_ap", "--dataset", "coco_2017", "--json")
    )
    figures = [row["metrics"].get("coco_2017_val", {}).get("mask_ap") for row in listed]
    known = [figure for figure in figures if figure is not None]
    assert known == sorted(known, reverse=True) and figures[: len(known)] == known


def test_a_minimum_keeps_only_models_that_reach_it(zoo):
    listed = rows(zoo("list", "--metric", "box_ap", "--min", "50", "--json"))
    assert listed and all(max(v.get("box_ap", 0) for v in row["metrics"].values()) >= 50 for row in listed)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_other_kind_can_be_listed(zoo, kind):
    assert rows(zoo("list", f"--{kind}", "--json"))
    assert zoo("list", f"--{kind}")[1]


def test_all_architectures_are_listed(zoo):
    names = [row["architecture"] for row in rows(zoo("list", "--architectures", "--json"))]
    assert names == api.architecture_names()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("list", "--task", "levitation"), "levitation"),
        (("list", "--family", "yolo9000"), "yolo9000"),
        (("list", "--sort", "beauty"), "beauty"),
        (("list", "--min", "3"), "--metric"),
        (("show", "faster_rcnn_r51"), "faster_rcnn_r50"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(zoo, arguments, word):
    status, out, err = zoo(*arguments)
    assert status == 2 and out == "" and word in err and len(err.splitlines()) == 1


def test_nothing_found_is_status_1_with_the_nearest_names(zoo):
    status, out, err = zoo("list", "yolxo")
    assert (status, out) == (1, "") and "yolox_s" in err and len(err.splitlines()) == 1
    assert zoo("list", "nothing*", "--json")[:2] == (1, "[]\n")
    assert zoo("list", "--recipes", "nothing*")[0] == 1


def test_a_word_lists_what_contains_it(zoo):
    listed = [row["name"] for row in rows(zoo("list", "yolox", "--json"))]
    assert "yolox_s_8x8_300e_coco" in listed and all("yolox" in name for name in listed)


def test_the_sorted_column_is_shown_one_dataset_after_another(zoo):
    lines = [line.split() for line in zoo("list", "mask_rcnn", "--sort", "mask_ap")[1].splitlines()]
    assert lines[0][:3] == ["model", "dataset", "mask_ap"]
    datasets = [line[1] for line in lines[1:]]
    assert len(set(datasets)) > 1 and datasets == sorted(datasets, key=datasets.index)
    assert len(list(dict.fromkeys(datasets))) == sum(a != b for a, b in zip(["", *datasets], datasets))


def test_the_table_fits_the_terminal(zoo, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    lines = zoo("list", "mask_rcnn")[1].splitlines()
    assert max(map(len, lines)) == 60 and any(line.endswith("…") for line in lines)


@pytest.mark.parametrize("origin", ["detectron2", "torchvision", "mmdetection"])
def test_models_can_be_listed_by_publisher(zoo, origin):
    assert {row["origin"] for row in rows(zoo("list", "--origin", origin, "--json"))} == {origin}


def test_show_says_whether_the_file_is_cached_its_size_and_classes(zoo):
    text = zoo("show", "demo_yolox")[1]
    assert "cached: /" in text and " MiB\n" in text and "classes: 4 (disk, square, triangle, cross)" in text
    assert "cached: no\n" in zoo("show", "retinanet_r50")[1]
    assert rows(zoo("show", "retinanet_r50", "--json"))["local"]["path"] is None


def test_the_cache_path_of_a_missing_file_is_status_1(zoo):
    status, out, err = zoo("cache", "path", "retinanet_r50")
    assert (status, out) == (1, "") and "zoo fetch retinanet_r50" in err
    assert zoo("cache", "path")[0] == 0


def test_show_says_everything_about_a_model(zoo):
    text = zoo("show", "cornernet_hourglass104_mstest_8x6_210e_coco")[1]
    for word in ("sha256: ", "log url: ", "box_ap: 41.2", "flip at test time", "center_pad", "license: Apache-2.0"):
        assert word.lower() in text.lower().replace("centerpad", "center_pad"), word
    assert rows(zoo("show", "yolox_s", "--json"))["recipe"]["steps"]


def test_show_gives_the_networks_description(zoo):
    assert rows(zoo("show", "retinanet_r101", "--architecture", "--json"))["backbone"]["depth"] == 101


@pytest.mark.parametrize("name", ["torchvision", "resize_1333x800_pad32", "lvis_v1", "torchvision://resnet50", "fpn"])
def test_show_knows_what_models_refer_to(zoo, name):
    assert zoo("show", name)[0] == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_and_options(zoo, shell):
    script = zoo("completion", shell)[1]
    assert all(command in script for command in COMMANDS) and "sort" in script


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_bash_script_completes(zoo):
    script = (
        zoo("completion", "bash")[1]
        + """
zoo() { printf 'retinanet_r50\\nretinanet_r101\\nssd300\\n'; }
try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _zoo_complete; echo "${COMPREPLY[@]}"; }
try zoo sh; try zoo list --arch; try zoo show retina
"""
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["show", "--architectures", "retinanet_r50 retinanet_r101"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_bash_script_completes_values(zoo):
    script = (
        zoo("completion", "bash")[1]
        + """
zoo() { [ "$2" = families ] && printf 'retinanet\nssd\n'; }
try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _zoo_complete; echo "${COMPREPLY[@]}"; }
try zoo list --family ret; try zoo detect --device cu; try zoo train --precision b
"""
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["retinanet", "cuda cuda:0 cuda:1", "bf16"]


@pytest.mark.parametrize(("kind", "value"), [("families", "yolox"), ("tasks", "instance_segmentation")])
def test_values_for_completion_can_be_given_to_list(zoo, kind, value):
    assert value in zoo("completion", kind)[1].split()
    option = {"families": "--family", "tasks": "--task"}[kind]
    assert zoo("list", option, value)[0] == 0


def test_names_for_completion_include_aliases(zoo):
    names = zoo("completion", "names")[1].split()
    assert "retinanet_r50" in names and "retinanet_r50_fpn_1x_coco" in names
