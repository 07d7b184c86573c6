"""Other files of the same weights, substitutes, whole hashes, the Hub, and hosts that do not answer."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from tests.zoo.download.conftest import CONTENT, SHA256
from tests.zoo.download.server import status
from zoo.download import fetch_file, lock
from zoo.download.batch import obtain_all
from zoo.download.fetch_file import obtain, silent_hosts
from zoo.download.locations import model_file
from zoo.download.remote_file import RemoteFile
from zoo.errors import FetchError, UsageError
from zoo.manifest import api
from zoo.manifest.hosts import web_address


def with_alternate(server, **fields):
    """A file that nobody has, and another one with the same weights that the server has."""
    other = RemoteFile("v3/other.pth", (server.url("/other.pth"),), SHA256[:8])
    return RemoteFile("v2/file.pth", (server.url("/gone.pth"),), "0" * 8, alternates=(other,), **fields)


def test_another_file_of_the_same_weights_will_do(server, cache):
    server.behaviors["/gone.pth"] = [status(404)]
    remote = with_alternate(server)
    path = obtain(remote)
    assert path == cache / "v3" / "other.pth" and path.read_bytes() == CONTENT
    assert [name for _, name, _ in server.requests] == ["/gone.pth", "/other.pth"]
    assert remote.at(path).path == "v3/other.pth"
    assert obtain(remote) == path and len(server.requests) == 2  # the cache is asked for both before any host is


def test_an_alternate_is_held_to_its_own_hash(server):
    server.behaviors["/gone.pth"] = [status(404)]
    wrong = RemoteFile("v3/other.pth", (server.url("/other.pth"),), "ffffffff")
    with pytest.raises(FetchError, match=r"file\.pth: .*404.* And no mirror serves other\.pth: .*not ffffffff"):
        obtain(RemoteFile("v2/file.pth", (server.url("/gone.pth"),), "0" * 8, alternates=(wrong,)))


def test_advice_comes_last_and_nothing_else_is_taken(server, cache):
    server.behaviors["/gone.pth"] = [status(404)]
    remote = RemoteFile("v2/file.pth", (server.url("/gone.pth"),), "0" * 8, advice="Other weights: X (box_ap 1).")
    with pytest.raises(FetchError, match=r"Other weights: X \(box_ap 1\)\.$"):
        obtain(remote)
    assert not list(cache.rglob("*.pth"))


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("faster_rcnn_r50_caffe_c4_1x_coco", "detectron2/faster_rcnn_R_50_C4_1x (box_ap 35.7, CC-BY-SA-3.0)"),
        (
            "deformable_detr_r50_16x2_50e_coco",
            "sensetime/deformable_detr_r50 (box_ap 44.5, Apache-2.0)",
        ),
        ("rfnext_search_mask_rcnn_pvtv2-b0_fpn_1x_coco", "No other weights are known that could stand in for rfnext_"),
    ],
)
def test_what_could_stand_in_is_named_or_its_absence(name, advice):
    assert advice in model_file(api.get(name)).advice


# Whole hashes


def test_a_file_known_by_a_part_of_its_hash_is_refused_on_demand(remote, monkeypatch, server):
    monkeypatch.setenv("ZOO_REQUIRE_FULL_HASH", "1")
    with pytest.raises(FetchError, match=r"only part of the hash of file\.pth is known.*zoo lock"):
        obtain(remote)
    assert server.requests == []
    lock.write(fetch_file.cache.cache_dir() / lock.NAME, {remote.path: lock.Digest(SHA256, len(CONTENT))})
    assert obtain(remote).read_bytes() == CONTENT


def test_a_cached_file_of_unknown_origin_is_refused_too(remote, monkeypatch):
    path = obtain(remote)
    (fetch_file.cache.cache_dir() / lock.NAME).unlink()
    monkeypatch.setenv("ZOO_REQUIRE_FULL_HASH", "1")
    with pytest.raises(FetchError, match="only part of the hash"):
        obtain(remote)
    assert path.exists()


# Hosts that do not answer


def test_a_host_that_does_not_answer_is_named_once_for_many_files(server):
    urls = [f"http://127.0.0.1:9/{number}.pth" for number in range(3)]
    outcomes = obtain_all([RemoteFile(f"m/{n}.pth", (url,), "0" * 8) for n, url in enumerate(urls)])
    assert all("1 host does not answer" in outcome.error and "refused" not in outcome.error for outcome in outcomes)
    assert silent_hosts() == "given up for all files: 127.0.0.1:9 refused the connection."


def test_one_file_alone_gives_the_reason_itself():
    (outcome,) = obtain_all([RemoteFile("m/a.pth", ("http://127.0.0.1:9/a.pth",), "0" * 8)])
    assert "127.0.0.1:9 refused the connection" in outcome.error


# Addresses


def test_addresses_may_have_ports_passwords_and_a_path_in_front(server, cache):
    server.behaviors["/some/where/v2/file.pth"] = []
    address = server.url("/some/where").replace("http://", "http://me:secret@")
    remote = RemoteFile("v2/file.pth", (), SHA256[:8])
    assert obtain(remote, [address]).read_bytes() == CONTENT
    ((_, path, headers),) = server.requests
    assert path == "/some/where/v2/file.pth" and headers["Authorization"].startswith("Basic ")


def test_a_password_is_in_no_message(server):
    server.behaviors["/gone/v2/file.pth"] = server.behaviors["/gone/file.pth"] = [status(404)]
    with pytest.raises(FetchError) as caught:
        obtain(RemoteFile("v2/file.pth", (), "0" * 8), [server.url("/gone").replace("http://", "http://me:secret@")])
    assert "secret" not in str(caught.value)


# The Hub


@pytest.mark.parametrize(
    ("stated", "address"),
    [
        ("hf://o/r/a/b.pth@v1", "https://huggingface.co/o/r/resolve/v1/a/b.pth"),
        ("hf://o/r/b.pth", "https://huggingface.co/o/r/resolve/main/b.pth"),
        ("hf://o/r", "https://huggingface.co/o/r/resolve/main"),
        ("hf://o/r@v1", "https://huggingface.co/o/r/resolve/v1"),
        ("https://o/r@v1", "https://o/r@v1"),
    ],
)
def test_an_address_on_the_hub(stated, address):
    assert web_address(stated) == address


def test_an_address_without_a_repository_is_a_mistake():
    with pytest.raises(UsageError, match="hf://OWNER/REPO"):
        web_address("hf://owner")


@pytest.fixture
def hub(server, monkeypatch):
    """A server that stands in for the Hub."""
    monkeypatch.setenv("HF_ENDPOINT", server.url(""))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    return server


HUB_FILE = RemoteFile("huggingface.co/o/r/resolve/main/f.pth", (web_address("hf://o/r/f.pth"),), SHA256[:8])


def test_a_repository_is_a_source(hub):
    assert obtain(HUB_FILE).read_bytes() == CONTENT
    ((_, path, headers),) = hub.requests
    assert path == "/o/r/resolve/main/f.pth" and "Authorization" not in headers


def test_a_repository_is_a_mirror(hub):
    assert obtain(RemoteFile("v2/f.pth", (), SHA256[:8]), ["hf://o/r@v1"]).read_bytes() == CONTENT
    assert hub.requests[0][1] == "/o/r/resolve/v1/v2/f.pth"


def test_the_token_goes_to_the_hub_and_not_to_where_it_redirects(hub, monkeypatch):
    from tests.zoo.download.server import serving

    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    with serving(CONTENT) as storage:
        hub.behaviors["/o/r/resolve/main/f.pth"] = [status(302, Location=storage.url("/blob"))]
        assert obtain(HUB_FILE).read_bytes() == CONTENT
        assert hub.requests[0][2]["Authorization"] == "Bearer hf_very_secret"
        assert all("Authorization" not in headers for _, _, headers in storage.requests)


@pytest.mark.parametrize(
    ("code", "error", "sentence"),
    [
        (401, "RepoNotFound", "the repository does not exist or is private; HF_TOKEN"),
        (403, "GatedRepo", "the repository is gated; accept its terms"),
        (404, "RevisionNotFound", "no such revision"),
        (404, "EntryNotFound", "no such file"),
    ],
)
def test_a_repository_that_is_private_or_gone_is_a_sentence(hub, monkeypatch, cache, code, error, sentence):
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    hub.behaviors["/o/r/resolve/main/f.pth"] = [status(code, X_Error_Code=error)]
    with pytest.raises(FetchError) as caught:
        obtain(HUB_FILE)
    assert sentence in str(caught.value) and "secret" not in str(caught.value)
    assert not list(cache.rglob("*.pth"))


def test_the_hub_is_not_asked_offline(hub, monkeypatch):
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    with pytest.raises(FetchError, match="ZOO_OFFLINE"):
        obtain(HUB_FILE)
    assert hub.requests == []


def test_the_hash_that_the_hub_publishes_is_read_without_the_file(hub):
    from zoo.download.hub_hashes import published_digest

    linked = status(302, Location=hub.url("/blob"), X_Linked_Etag=f'"{SHA256}"', X_Linked_Size=len(CONTENT))
    hub.behaviors["/o/r/resolve/main/f.pth"] = [linked]
    assert published_digest(HUB_FILE.urls[0]) == lock.Digest(SHA256, len(CONTENT))
    hub.behaviors["/o/r/resolve/main/f.pth"] = [status(200, ETag='"small-file"')]
    assert published_digest(HUB_FILE.urls[0]) is None
    assert [method for method, _, _ in hub.requests] == ["HEAD", "HEAD"]


# The models that no living host is documented to have under their own names

ELEVEN = [name for name in api.list_models(origin="mmdetection") if api.get(name).alternates]


@pytest.mark.parametrize("name", ELEVEN)
def test_a_server_with_the_alternates_alone_is_enough(name, server, monkeypatch):
    remote = model_file(api.get(name))
    (other,) = remote.alternates
    served = f"/mmdetection/{api.get(name).alternates[0].path}"
    for path in (remote.path, *remote.also, *other.also):
        server.behaviors[f"/{path}"] = [status(404)]
    monkeypatch.setenv("ZOO_MIRRORS", server.url(""))
    mine = replace(remote, urls=(), alternates=(replace(other, urls=(), sha256=SHA256[:8]),))  # of this test's content
    assert obtain(mine).read_bytes() == CONTENT
    assert server.requests[-1][1] == served


# A forger needs a small file and a counter: 32 bits of a hash are no obstacle.

FORGED_FOR, COUNTER = "mask2former_swin-l-p4-w12-384-in21k_lsj_16x1_100e_coco-panoptic", 254126773
FORGED = b"zoo forged file %012d\n" % COUNTER  # its SHA-256 begins like that of the model's alternate


@pytest.fixture
def forger(server, monkeypatch):
    """A mirror that serves the forged file in place of the alternate."""
    remote = model_file(api.get(FORGED_FOR))
    server.content = FORGED
    server.behaviors = {f"/{path}": [status(404)] for path in (remote.path, *remote.also)}
    monkeypatch.setenv("ZOO_MIRRORS", server.url(""))
    return replace(remote, urls=(), alternates=tuple(replace(file, urls=()) for file in remote.alternates))


def test_a_forged_file_has_the_published_digits(forger):
    (other,) = forger.alternates
    assert hashlib.sha256(FORGED).hexdigest().startswith(other.sha256) and len(other.sha256) == 8
    assert obtain(forger).read_bytes() == FORGED  # which is why whole hashes are wanted


def test_a_forged_file_is_refused_where_the_whole_hash_is_known(forger, tmp_path, monkeypatch, cache):
    (other,) = forger.alternates
    whole = f"{other.sha256}{'0' * 56}"
    (tmp_path / "own.yaml").write_text(f'schema: 1\nsha256:\n  {other.name}: "{whole}"\n')
    monkeypatch.setenv("ZOO_MANIFESTS", str(tmp_path / "own.yaml"))
    (known,) = model_file(api.get(FORGED_FOR)).alternates
    assert known.sha256 == whole
    with pytest.raises(FetchError, match=rf"has SHA-256 {other.sha256}\w+\.\.\., not {other.sha256}0+"):
        obtain(replace(forger, alternates=(replace(known, urls=()),)))
    assert not list(cache.rglob("*.pth"))


def test_a_forged_file_is_refused_on_demand_where_it_is_not(forger, monkeypatch, server):
    monkeypatch.setenv("ZOO_REQUIRE_FULL_HASH", "1")
    with pytest.raises(FetchError, match="only part of the hash"):
        obtain(forger)
    assert server.requests == []


def linked(sha256):
    """How the Hub answers a request for a large file."""
    return status(302, Location="http://127.0.0.1:9/blob", X_Linked_Etag=f'"{sha256}"', X_Linked_Size=len(CONTENT))


def test_hashes_of_the_hub_are_locked_if_they_begin_as_published(hub, tmp_path, capsys):
    from zoo.cli.main import main

    (yolox,) = [path for path in model_file(api.get("yolox_tiny")).urls if "huggingface" in path]
    place = yolox.removeprefix("https://huggingface.co")
    hub.behaviors[place] = [linked("b4047906" + "1" * 56)]
    assert main(["lock", "--from-hub", "yolox_tiny", "--file", str(tmp_path / "team.lock")]) == 0
    assert [d.sha256[:9] for d in lock.read(tmp_path / "team.lock").values()] == ["b40479061"]
    hub.behaviors[place] = [linked("0" * 64)]
    assert main(["lock", "--from-hub", "yolox_tiny", "--file", str(tmp_path / "other.lock")]) == 2
    assert "the Hub states a file that has SHA-256 0000" in capsys.readouterr().err
    assert not (tmp_path / "other.lock").exists()


def test_a_forged_file_is_refused_by_the_hashes_that_ship(server, cache, monkeypatch):
    remote = model_file(api.get("facebook/detr_r50_dc5"))  # detr-r50-dc5-f0fb7ef5.pth
    server.content = b"zoo forged file %012d\n" % 1179281041
    assert hashlib.sha256(server.content).hexdigest().startswith("f0fb7ef5")
    monkeypatch.setenv("ZOO_MIRRORS", server.url(""))
    with pytest.raises(FetchError, match=r"has SHA-256 f0fb7ef5\w+\.\.\., not f0fb7ef52a6b0bbd"):
        obtain(replace(remote, urls=()))
    assert not list(cache.rglob("*.pth"))
