"""`zoo.fetch` is a function, cheap to import, and stays one; names become verified files."""

from __future__ import annotations

import subprocess
import sys

import pytest

import zoo
from zoo.download.locations import backbone_file, log_file, model_file
from zoo.errors import FetchError, UnknownModel
from zoo.manifest import api


def run(script):
    subprocess.run([sys.executable, "-c", script], check=True)


def test_importing_the_module_does_not_replace_the_function():
    run("import zoo; from zoo.download.fetch import cached_path; assert callable(zoo.fetch), zoo.fetch")
    run("import zoo.download.fetch; import zoo; assert callable(zoo.fetch)")


def test_importing_the_package_imports_neither_torch_nor_requests():
    run("import sys, zoo.download.fetch; assert not {'torch', 'requests', 'tqdm', 'yaml', 'numpy'} & set(sys.modules)")


def test_a_name_or_alias_becomes_a_verified_file(own):
    path = zoo.fetch("mine")
    assert path.read_bytes() == b"weights" and path == zoo.fetch("my_nano")
    assert path.is_relative_to(own / "cache")


def test_a_local_file_with_a_hash_goes_the_same_way(own):
    manifests = own / "mine.yaml"
    manifests.write_text(manifests.read_text().replace("{path: mine", "{file: mirror/mine"))
    path = zoo.fetch("mine")
    assert path.read_bytes() == b"weights" and path == own / "cache" / "user" / "nano.pth"


def test_a_local_file_with_another_hash_is_refused(own):
    manifests = own / "mine.yaml"
    manifests.write_text(manifests.read_text().replace("{path: mine", "{file: mirror/mine"))
    (own / "mirror" / "mine" / "nano.pth").write_bytes(b"other weights")
    with pytest.raises(FetchError, match=r"nano\.pth"):
        zoo.fetch("mine")
    assert not (own / "cache" / "user" / "nano.pth").exists()


def test_progress_is_told(own):
    told = []
    zoo.fetch("mine", progress=lambda count, total: told.append((count, total)))
    assert told == [(7, 7)]


def test_what_is_cached_is_known_without_hashing(own):
    from zoo.download.fetch import cached_path

    entry = api.get("mine")
    assert cached_path(entry) is None
    path = zoo.fetch("mine")
    assert cached_path(entry) == path
    path.write_bytes(b"changed")
    assert cached_path(entry) is None


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownModel, match="faster_rcnn_r50"):
        zoo.fetch("faster_rcnn_r50_fpn_1x_cocoo")


def test_published_files_keep_the_layout_of_their_host():
    entry = api.get("retinanet_r50_fpn_1x_coco")
    file = model_file(entry)
    assert file.path == f"mmdetection/{entry.checkpoint.path}"
    assert file.also == (entry.checkpoint.path, file.name)
    assert all(url.endswith(f"mmdetection/{entry.checkpoint.path}") for url in file.urls)


def test_every_published_file_has_a_place_of_its_own():
    places = {}
    for name in api.list_models():
        entry = api.get(name)
        if entry.checkpoint is None or entry.checkpoint.own_file is not None:
            continue
        file = model_file(entry)
        assert file.urls and not file.path.startswith("/") and ".." not in file.path.split("/")
        assert places.setdefault(file.path, entry.checkpoint.sha256) == entry.checkpoint.sha256


def test_files_of_other_hosts_lie_below_the_hosts_name():
    entries = map(api.get, api.list_models())
    foreign = [e for e in entries if e.checkpoint is not None and "amazonaws" in e.checkpoint.path]
    assert foreign and all(model_file(e).path.startswith("s3.ap-northeast-2.amazonaws.com/") for e in foreign)


def test_backbones_and_logs_have_files_too():
    file = backbone_file("open-mmlab://detectron2/resnet50_caffe")
    assert file.path == "pretrain/third_party/resnet50_msra-5891d200.pth" and len(file.urls) > 1
    with pytest.raises(UnknownModel):
        backbone_file("open-mmlab://nothing")
    log = log_file(api.get("retinanet_r50_fpn_1x_coco"))
    assert log.path.startswith("mmdetection/v2.0/retinanet/") and log.sha256 is None


def test_a_model_without_weights_is_a_sentence():
    unpublished = [n for n in api.list_models(unpublished=True) if api.get(n).checkpoint is None]
    if unpublished:
        with pytest.raises(FetchError, match="no weights were ever published"):
            zoo.fetch(unpublished[0])
