"""A folder of files: recognized by content whatever they are called, and nothing unverified in the cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil

import pytest
import torch

import zoo
from zoo.cli.main import main
from zoo.download import cache as cached
from zoo.download import folders, recognize
from zoo.download.locations import model_file
from zoo.download.recognize import Published
from zoo.download.remote_file import RemoteFile
from zoo.errors import FetchError
from zoo.manifest import api

CONTENT = b"weights of some model\n" * 99
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FORGED = b"zoo forged file %012d\n" % 254126773  # has the digits of a published file; see test_sources.py
MODEL = "mask2former_swin-l-p4-w12-384-in21k_lsj_16x1_100e_coco-panoptic"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "disk" / "deep").mkdir(parents=True)
    return tmp_path / "disk"


@pytest.fixture
def known():
    return Published([RemoteFile("mmdetection/v2.0/a/file.pth", (), SHA256[:8])])


def test_a_file_is_recognized_whatever_it_is_called(folder, known, cache):
    (folder / "deep" / "epoch_12.bin").write_bytes(CONTENT)
    result = recognize.add(folder / "deep" / "epoch_12.bin", known)
    (place,) = result.cached
    assert result.state == "added" and place == cache / "mmdetection/v2.0/a/file.pth" and place.read_bytes() == CONTENT
    assert cached.known_digest(place).sha256 == SHA256
    assert place.stat().st_ino == (folder / "deep" / "epoch_12.bin").stat().st_ino  # takes no space twice
    assert json.loads((cache / "zoo.lock").read_text())["files"]["mmdetection/v2.0/a/file.pth"]["sha256"] == SHA256


def test_a_copy_on_demand_is_one(folder, known):
    (folder / "a").write_bytes(CONTENT)
    (place,) = recognize.add(folder / "a", known, copy=True).cached
    assert place.read_bytes() == CONTENT and place.stat().st_ino != (folder / "a").stat().st_ino


def test_two_files_of_one_model_are_both_recognized(folder, known):
    for name in ("a", "b"):
        (folder / name).write_bytes(CONTENT)
    assert [recognize.add(folder / name, known).state for name in ("a", "b")] == ["added", "present"]


def test_a_half_copied_file_is_unknown_and_stays_out(folder, known, cache):
    (folder / "a").write_bytes(CONTENT[:-1])
    assert recognize.add(folder / "a", known).state == "unknown"
    assert not list(cache.rglob("*.pth"))


def test_detectron2s_digits_of_an_md5_are_recognized(folder):
    (folder / "a").write_bytes(CONTENT)
    digits = hashlib.md5(CONTENT).hexdigest()[:6]
    published = Published([RemoteFile("dl/model_final.pkl", (), None, digits)])
    assert recognize.add(folder / "a", published).state == "added"


def test_a_file_that_does_not_fit_its_lock_is_unknown(folder, known, cache):
    from zoo.download import lock

    (folder / "a").write_bytes(CONTENT)
    lock.write(cache / "zoo.lock", {"mmdetection/v2.0/a/file.pth": lock.Digest(SHA256[:8] + "0" * 56, len(CONTENT))})
    assert recognize.add(folder / "a", known).state == "unknown"


def test_a_file_that_changes_while_it_is_read_is_not_taken(folder, known, cache, monkeypatch):
    (folder / "a").write_bytes(CONTENT)

    def change(source, target, link=True):
        target.write_bytes(CONTENT + b"more")

    monkeypatch.setattr(recognize, "link_or_copy", change)
    result = recognize.add(folder / "a", known)
    assert result.state == "failed" and "changed while it was read" in result.problem
    assert [path.suffix for path in cache.rglob("*.pth*")] == [".lock"]


def test_an_unreadable_file_is_a_sentence_and_the_rest_goes_on(folder, cache, capsys, monkeypatch):
    read = recognize.of_file

    def refuse(path, **options):
        if path.name == "gone":
            raise PermissionError(13, "Permission denied")
        return read(path, **options)

    monkeypatch.setattr(recognize, "of_file", refuse)
    (folder / "gone").write_bytes(CONTENT)
    (folder / "other").write_bytes(FORGED)
    assert main(["cache", "add", str(folder)]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("added") and f"zoo: {folder / 'gone'}: Permission denied" in err
    assert err.splitlines()[-1] == "1 added, 1 failed"


def test_the_command_adds_what_the_manifests_know(folder, cache, capsys, monkeypatch):
    (folder / "whatever.pt").write_bytes(FORGED)
    assert main(["cache", "add", str(folder), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["state"] == "added" and row["cached"][0].endswith("20220407_104949-82f8d28d.pth")
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    assert str(zoo.fetch(MODEL)) == row["cached"][0]  # an alternate of this model


def test_a_folder_that_does_not_exist_is_misuse(folder, capsys):
    assert main(["cache", "add", str(folder / "none")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_what_is_not_known_is_described(folder, capsys):
    meta = {"config": "model = dict(\n    type='RetinaNet',\n)", "CLASSES": ("cat", "dog")}
    state = {"weight": torch.zeros(37_000_000, dtype=torch.uint8), "bn.running_mean": torch.zeros(9)}
    torch.save({"meta": meta, "state_dict": state}, folder / "mine.pth")
    (folder / "notes.txt").write_text("not a checkpoint")
    assert main(["cache", "add", str(folder)]) == 0
    err = capsys.readouterr().err
    assert "RetinaNet, 2 classes, 37,000,000 parameters, nearest architecture " in err
    assert "notes.txt: no published file, and no readable checkpoint (" in err
    assert err.splitlines()[-1] == "2 unknown"


def test_too_many_files_are_a_sentence(folder, monkeypatch):
    for number in range(5):
        (folder / str(number)).touch()
    with pytest.raises(FetchError, match="more than 4 files"):
        folders.bounded([folder], most=4)


def test_links_to_folders_are_not_followed(folder):
    (folder / "deep" / "loop").symlink_to(folder)
    (folder / "deep" / "a").touch()
    assert [path.name for path in folders.bounded([folder])] == ["a"]


# A folder as a mirror


def test_a_mirror_folder_may_have_other_names(folder, cache, monkeypatch):
    (folder / "deep" / "my favourite.ckpt").write_bytes(FORGED)
    (folder / "noise").write_bytes(b"something else")
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    path = zoo.fetch(MODEL, mirrors=[str(folder)])
    assert path.read_bytes() == FORGED and path.name.endswith("82f8d28d.pth")


def test_files_with_the_digits_of_others_are_not_hashed(folder, monkeypatch):
    (folder / "retinanet-c2398f9e.pth").write_bytes(FORGED)
    (folder / "free").write_bytes(FORGED)
    (other,) = model_file(api.get(MODEL)).alternates
    hashed = []
    monkeypatch.setattr(cached, "foreign_digest", lambda path: hashed.append(path.name) or cached.digests.of_file(path))
    assert [path.name for path in folders.renamed(folder, other)] == ["free"] and hashed == ["free"]


def test_digests_of_foreign_files_are_remembered_until_they_change(folder, monkeypatch):
    file = folder / "a"
    file.write_bytes(CONTENT)
    first = cached.foreign_digest(file)
    with monkeypatch.context() as patch:
        patch.setattr(cached.digests, "of_file", lambda *_, **__: pytest.fail("hashed again"))
        assert cached.foreign_digest(file) == first
    shutil.copyfile(file, folder / "b")
    file.write_bytes(CONTENT + b".")
    os.utime(file, ns=(1, 1))
    assert cached.foreign_digest(file).sha256 != first.sha256
