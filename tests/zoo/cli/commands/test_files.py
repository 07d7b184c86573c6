"""The commands around files: data on stdout, words on stderr, one sentence for what goes wrong."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import zoo
from zoo.cli.main import main
from zoo.manifest import api


@pytest.fixture
def run(capsys):
    """Run a command: (status, stdout, stderr)."""

    def call(*argv):
        status = main(list(argv))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_fetch_prints_the_path_or_json(own, run):
    status, out, _ = run("fetch", "mine")
    assert status == 0 and out.strip() == str(own / "cache" / "mmdetection" / "mine" / "nano.pth")
    _, out, _ = run("fetch", "mine", "--json")
    assert json.loads(out)[0]["sha256"] == hashlib.sha256(b"weights").hexdigest()


def test_fetch_says_what_failed_and_fetches_the_rest(own, run):
    status, out, err = run("fetch", "mine", "retinanet_r50_fpn_1x_coco", "--jobs", "2")
    assert status == 1 and out.count("\n") == 1
    assert err.startswith("zoo: no mirror serves retinanet_r50_fpn_1x_coco_20200130-c2398f9e.pth: file://")


def test_fetch_dry_run_asks_nobody(own, run):
    status, out, err = run("fetch", "--family", "retinanet", "--dry-run", "--json")
    rows = json.loads(out)
    assert status == 0 and len(rows) > 10 and not any(row["cached"] for row in rows)
    _, out, err = run("fetch", "--all", "--dry-run")
    assert out.count("\n") > 550 and "files to download" in err


def test_backbones_are_fetched_by_their_keys_and_globs_pass_over_what_nobody_has(own, run):
    names = ["torchvision://resnet50", "detectron2:R-50.pkl"]
    status, out, _ = run("fetch", *names, "--dry-run")
    assert status == 0 and out.count("download.pytorch.org") == out.count("dl.fbaipublicfiles.com") == 1
    status, out, err = run("fetch", "--backbone", "*", "--dry-run")
    assert status == 0 and out.count("\n") > 100 and "were never published, and are left out" in err
    status, out, err = run("fetch", "res2net50_v1b_26w_4s-3cf99910.pth", "torchvision://resnet50", "--dry-run")
    assert (status, out) == (1, "") and "no download location is known" in err


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["fetch"], "name a model, or use --all"),
        (["fetch", "nonsense_model"], "no model 'nonsense_model'"),
        (["fetch", "--family", "nonsense"], "no model matches family 'nonsense'"),
        (["fetch", "nonsense*"], "no model matches 'nonsense*'"),
        (["fetch", "mine", "--mirror", "ftp://x"], "ftp://x"),
        (["fetch", "--backbone", "open-mmlab://nothing"], "no backbone"),
        (["convert", "a.pth", "b.pth"], "must end in .safetensors"),
        (["lock"], "no verified file"),
    ],
)
def test_misuse_is_one_sentence_and_status_2(argv, sentence, own, run):
    status, out, err = run(*argv)
    assert (status, out) == (2, "") and sentence in err and err.count("\n") == 1


def test_the_cache_is_listed_verified_and_pruned(own, run):
    run("fetch", "mine")
    (row,) = json.loads(run("cache", "list", "--json")[1])
    assert (row["state"], row["size"]) == ("verified", 7)
    assert run("cache", "verify")[0] == 0
    path = own / "cache" / "mmdetection" / "mine" / "nano.pth"
    path.write_bytes(b"damaged")
    status, out, _ = run("cache", "verify")
    assert status == 1 and out.startswith("BAD  mmdetection/mine/nano.pth  has SHA-256")
    assert run("cache", "path")[1].strip() == str(own / "cache")
    assert run("cache", "path", "mine")[1].strip() == str(path)
    path.with_name("other.pth.part").write_bytes(b"x")
    run("cache", "prune")
    assert path.exists() and not path.with_name("other.pth.part").exists()
    run("cache", "prune", "--all", "--dry-run")
    assert path.exists()
    run("cache", "prune", "--all")
    assert not path.exists() and json.loads(run("cache", "list", "--json")[1]) == []


def test_a_lock_file_is_written_checked_and_enforced(own, run):
    assert run("lock", "mine")[0] == 0
    locked = json.loads((own / "zoo.lock").read_text())
    assert locked["files"]["mmdetection/mine/nano.pth"]["sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert run("lock", "--check")[0] == 0
    locked["files"]["mmdetection/mine/nano.pth"]["sha256"] = "0" * 64
    (own / "zoo.lock").write_text(json.dumps(locked))
    status, _, err = run("fetch", "mine")
    assert status == 1 and "zoo.lock has it" in err


def test_a_mirror_is_made_continued_and_verified(own, run):
    folder = own / "public"
    assert run("mirror", str(folder), "mine")[1].split() == ["added", "mmdetection/mine/nano.pth"]
    assert run("mirror", str(folder), "mine")[1].split()[0] == "present"
    assert run("mirror", str(folder), "--verify")[0] == 0
    (folder / "mmdetection" / "mine" / "nano.pth").write_bytes(b"damaged")
    assert run("mirror", str(folder), "--verify")[0] == 1
    run("cache", "prune", "--all")
    (own / "mirror" / "mine" / "nano.pth").unlink()
    assert run("fetch", "mine", "--mirror", str(folder))[0] == 1


def test_a_dry_run_of_a_mirror_lists_what_the_mirror_lacks(own, run):
    folder = str(own / "public")
    assert "nano.pth" in run("mirror", folder, "mine", "--dry-run")[1]
    run("mirror", folder, "mine")
    assert run("mirror", folder, "mine", "--dry-run")[1] == ""


def test_a_mirror_that_cannot_be_written_is_a_failure_of_its_files(own, run):
    (own / "public").write_text("not a folder")
    status, out, err = run("mirror", str(own / "public"), "mine")
    assert status == 1 and out.startswith("failed") and "cannot write" in err and err.count("\n") == 1


def test_a_file_that_cannot_be_written_is_one_sentence(own, run):
    run("fetch", "mine")
    status, _, err = run("lock", "--file", str(own / "cache" / "zoo.lock" / "x"))
    assert status == 1 and err.startswith("zoo: ") and err.count("\n") == 1


def test_mirrors_are_listed_and_checked(own, run, monkeypatch):
    monkeypatch.delenv("ZOO_OFFLINE")
    rows = json.loads(run("mirrors", "list", "--json")[1])
    assert rows[0]["name"] == "yours" and len(rows) > 3
    monkeypatch.setattr("zoo.download.mirror_status.head", answer_without_network)
    status, out, _ = run("mirrors", "check", "mine", "retinanet_r50_fpn_1x_coco", "--json")
    result = json.loads(out)
    assert status == 1 and [row["served"] for row in result["files"]] == [True, False]
    assert result["lost"] == [result["files"][1]["file"]]
    status, out, _ = run("mirrors", "check", "mine", "--missing")
    assert status == 0 and "served" in out.splitlines()[0]


def answer_without_network(url):
    from pathlib import Path
    from urllib.parse import urlsplit

    from zoo.download.mirror_status import Response

    there = url.startswith("file:") and Path(urlsplit(url).path).is_file()
    return Response(url, "served" if there else "missing", 7 if there else None, 2e10), False


def test_a_manifest_may_be_given_behind_subcommands(own, run, monkeypatch):
    monkeypatch.delenv("ZOO_MANIFESTS")
    monkeypatch.setattr(api, "_added", [])
    assert json.loads(run("cache", "path", "mine", "--json", "--manifest", str(own / "mine.yaml"))[1])["path"]


def test_offline_mirror_checks_are_refused(own, run):
    assert run("mirrors", "check", "mine")[0] == 1


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "x.pth"
    meta = {"CLASSES": ("cat", "dog"), "mmdet_version": "2.11.0", "config": "a = 1\nb = 2\n"}
    torch.save({"meta": meta, "state_dict": {"backbone.w": torch.zeros(2, 3), "head.b": torch.zeros(4)}}, path)
    return path


def test_inspect_shows_what_is_in_a_file(checkpoint, run):
    _, out, _ = run("inspect", str(checkpoint))
    facts = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert facts["format"] == "torch (zip)" and facts["classes"] == "2: cat, dog" and facts["MMDetection"] == "2.11.0"
    assert facts["parts"] == "backbone (1), head (1)"
    assert "backbone.w  float32  [2, 3]" in run("inspect", str(checkpoint), "--keys")[1]
    assert run("inspect", str(checkpoint), "--config")[1] == "a = 1\nb = 2\n\n"
    assert json.loads(run("inspect", str(checkpoint), "--json")[1])["tensors"][0]["shape"] == [2, 3]


def test_names_in_a_file_cannot_steer_the_terminal(tmp_path, run):
    evil = "\x1b]0;owned\x07\nzoo: all is well"
    torch.save({"meta": {"CLASSES": (evil,), "config": evil}, "state_dict": {evil: torch.zeros(1)}}, tmp_path / "x.pth")
    for options in ([], ["--keys"], ["--config"], ["--json"]):
        status, out, _ = run("inspect", str(tmp_path / "x.pth"), *options)
        assert status == 0 and "\x1b" not in out and "\x07" not in out
    torch.save({"state_dict": {evil: 3, "a": torch.zeros(1)}}, tmp_path / "y.pth")
    status, _, err = run("inspect", str(tmp_path / "y.pth"))
    assert status == 1 and "\x1b" not in err and err.count("\n") == 1


def test_convert_writes_a_file_that_reads_the_same(checkpoint, tmp_path, run):
    target = tmp_path / "x.safetensors"
    assert run("convert", str(checkpoint), str(target))[1].strip() == str(target)
    assert run("convert", str(checkpoint), str(target))[0] == 2
    assert "classes        2: cat, dog" in run("inspect", str(target))[1]


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"PK\x03\x04 broken", b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R."]
)
def test_files_that_are_no_checkpoints_end_in_one_sentence(content, tmp_path, run):
    (tmp_path / "x.pth").write_bytes(content)
    for command in (
        ["inspect", str(tmp_path / "x.pth")],
        ["convert", str(tmp_path / "x.pth"), str(tmp_path / "y.safetensors")],
    ):
        status, out, err = run(*command)
        assert (status, out) == (1, "") and err.startswith(f"zoo: {tmp_path}") and err.count("\n") == 1
    assert not (tmp_path / "y.safetensors").exists()


def test_fetch_and_inspect_never_import_torch(checkpoint, own):
    script = "import sys; from zoo.cli.main import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    for argv in (["fetch", "mine"], ["inspect", str(checkpoint)], ["cache", "list"]):
        subprocess.run([sys.executable, "-c", script, *argv], check=True, cwd=Path(zoo.__file__).parents[1])
