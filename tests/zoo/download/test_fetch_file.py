"""What `obtain` promises: one verified file, whatever servers do."""

from __future__ import annotations

import gzip
import hashlib
import json
import os

import pytest

from tests.zoo.download.conftest import CONTENT, SHA256
from tests.zoo.download.server import ETAG, body, cut, hangs, ignores_ranges, stalls, status, whole
from zoo.download import cache as cached
from zoo.download import lock, transfer
from zoo.download.fetch_file import obtain
from zoo.download.remote_file import RemoteFile, candidates, safe_path
from zoo.errors import FetchError, NoNetwork, UsageError


def parts(cache):
    """Names of everything in the visible layout but the lock file."""
    return sorted(p.name for p in cache.rglob("*") if p.is_file() and ".zoo" not in p.parts and p.name != "zoo.lock")


def test_a_file_arrives_whole_verified_and_in_the_published_layout(remote, cache, server):
    path = obtain(remote)
    assert path == cache / "models" / "file.pth"
    assert path.read_bytes() == CONTENT
    assert parts(cache) == ["file.pth"]
    assert server.gets()[0]["Accept-Encoding"] == "identity"


def test_a_verified_file_is_not_fetched_again(remote, server):
    obtain(remote)
    obtain(remote)
    assert len(server.requests) == 1


def test_a_file_that_was_changed_on_disk_is_fetched_again(remote, server):
    path = obtain(remote)
    path.write_bytes(b"x" * len(CONTENT))
    assert obtain(remote).read_bytes() == CONTENT


def test_a_file_put_into_the_cache_by_hand_is_verified_and_taken(remote, cache, server):
    (cache / "models").mkdir(parents=True)
    (cache / "models" / "file.pth").write_bytes(CONTENT)
    obtain(remote)
    assert server.requests == []


MISDEEDS = {
    "not found": ([status(404)], "404"),
    "forbidden": ([status(403)], "403"),
    "server error": ([status(500)], "500"),
    "too many requests, for an hour": ([status(429, Retry_After=3600)], "429"),
    "web page": ([body(b"<!DOCTYPE html><p>gone", Content_Type="text/html")], "web page"),
    "web page in disguise": ([body(b"\n<!doctype html><p>gone")], "web page"),
    "gzip": ([body(gzip.compress(CONTENT), Content_Encoding="gzip")], "gzip"),
    "wrong bytes": ([body(b"y" + CONTENT[1:])], "SHA-256"),
    "wrong bytes, longer": ([body(CONTENT + b"!")], "SHA-256"),
    "empty body": ([body(b"")], "SHA-256"),
    "short body": ([cut(1000, etag="W/x")], "of 700,000 bytes"),
    "a part nobody asked for": ([lambda h: h.reply(206, CONTENT[5:], Content_Range="bytes 5-9/10")], "not asked for"),
    "hangs": ([hangs], "sent nothing"),
}


@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_any_misdeed_of_a_mirror_ends_in_the_next_mirror(misdeed, server, cache, waits):
    server.behaviors["/bad"] = list(MISDEEDS[misdeed][0])
    remote = RemoteFile("models/file.pth", (server.url("/bad"), server.url()), SHA256[:8])
    assert obtain(remote).read_bytes() == CONTENT
    assert parts(cache) == ["file.pth"]


@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_without_another_mirror_it_ends_in_one_sentence_and_no_file(misdeed, server, cache, waits):
    server.behaviors["/bad"] = list(MISDEEDS[misdeed][0])
    with pytest.raises(FetchError, match=MISDEEDS[misdeed][1]) as error:
        obtain(RemoteFile("models/file.pth", (server.url("/bad"),), SHA256[:8]))
    assert "127.0.0.1" in str(error.value) and "\n" not in str(error.value)
    assert not (cache / "models" / "file.pth").exists()


def test_the_sentence_lists_what_each_mirror_said(server, waits):
    server.behaviors["/bad"] = [status(404)]
    urls = (server.url("/bad"), "http://127.0.0.1:1/file.pth", "http://host.invalid/file.pth")
    with pytest.raises(FetchError, match=r"answered 404.*; 127.0.0.1:1 refused.*; host.invalid has a name"):
        obtain(RemoteFile("models/file.pth", urls, SHA256[:8]))


def test_a_pause_that_a_server_asks_for_is_made(remote, server, waits):
    server.behaviors["/file.pth"] = [status(429, Retry_After=7), status(503), whole]
    obtain(remote)
    assert waits[0] == 7 and len(waits) == 2


def test_a_broken_connection_is_continued_where_it_broke(remote, server, waits):
    server.behaviors["/file.pth"] = [cut(100_000), cut(200_000), whole]
    assert obtain(remote).read_bytes() == CONTENT
    assert [headers.get("Range") for headers in server.gets()] == [None, "bytes=100000-", "bytes=300000-"]
    assert server.gets()[1]["If-Range"] == ETAG


def test_a_server_that_falls_silent_midway_is_asked_for_the_rest(remote, server, waits):
    server.behaviors["/file.pth"] = [stalls(100_000), whole]
    assert obtain(remote).read_bytes() == CONTENT
    assert [headers.get("Range") for headers in server.gets()] == [None, "bytes=100000-"]


def test_a_mirror_that_fails_is_not_asked_for_other_paths(server, waits):
    server.behaviors["/models/file.pth"] = [status(500)]
    with pytest.raises(FetchError, match="500"):
        obtain(RemoteFile("models/file.pth", also=("file.pth",)), mirrors=[server.url("")])
    assert {path for _, path, _ in server.requests} == {"/models/file.pth"}


def test_a_part_of_an_earlier_run_is_continued(remote, server, waits):
    server.behaviors["/file.pth"] = [cut(50_000)] + [status(500)] * 4
    with pytest.raises(FetchError):
        obtain(remote)
    server.behaviors.clear()
    server.requests.clear()
    assert obtain(remote).read_bytes() == CONTENT
    assert [headers.get("Range") for headers in server.gets()] == ["bytes=50000-"]


def test_a_server_that_ignores_ranges_is_read_from_the_start(remote, server, waits):
    server.behaviors["/file.pth"] = [cut(100_000), ignores_ranges]
    assert obtain(remote).read_bytes() == CONTENT


def test_a_file_that_changed_on_the_server_is_not_continued(remote, server, waits):
    server.behaviors["/file.pth"] = [cut(100_000, etag='"old"'), whole]
    assert obtain(remote).read_bytes() == CONTENT


def test_a_part_that_was_damaged_on_disk_is_thrown_away(remote, server, cache, waits):
    server.behaviors["/file.pth"] = [cut(100_000)] + [status(500)] * 4
    with pytest.raises(FetchError):
        obtain(remote)
    (cache / "models" / "file.pth.part").write_bytes(b"z" * 100_000)
    server.behaviors.clear()
    assert obtain(remote).read_bytes() == CONTENT


def test_a_download_that_lacked_only_its_last_step_asks_no_server(remote, server, cache):
    path = obtain(remote)
    os.replace(path, part := path.with_name("file.pth.part"))
    facts = {"url": server.url(), "validator": ETAG, "total": len(CONTENT)}
    part.with_name("file.pth.part.json").write_text(json.dumps(facts))
    server.requests.clear()
    assert obtain(remote).read_bytes() == CONTENT and server.requests == []
    assert parts(cache) == ["file.pth"]


def test_a_body_without_an_end_does_not_fill_the_disk(remote, server, waits, monkeypatch):
    def endless(handler):
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        while True:
            handler.wfile.write(bytes(100_000))

    server.behaviors["/file.pth"] = [endless]
    monkeypatch.setattr(transfer, "SPARE", 1_000_000)
    usage = iter([10**9] + [100_000] * 10)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: type("Usage", (), {"free": next(usage)}))
    with pytest.raises(FetchError, match="MiB are needed"):
        obtain(remote)


def test_a_password_in_a_mirrors_address_is_not_told(remote, server, waits):
    server.behaviors["/secret"] = [status(404)]
    url = server.url("/secret").replace("http://", "http://user:password@")
    with pytest.raises(FetchError) as error:
        obtain(RemoteFile(remote.path, (url,), remote.sha256))
    assert "password" not in str(error.value)


def test_a_timeout_that_is_no_number_is_a_sentence(remote, monkeypatch):
    monkeypatch.setenv("ZOO_TIMEOUT", "soon")
    with pytest.raises(UsageError, match="soon"):
        obtain(remote)


def test_a_range_that_the_server_cannot_satisfy_starts_over(remote, server, waits):
    server.behaviors["/file.pth"] = [cut(100_000), status(416), whole]
    assert obtain(remote).read_bytes() == CONTENT


def test_a_range_with_a_wrong_start_starts_over(remote, server, waits):
    wrong = lambda handler: handler.reply(206, CONTENT[9:], ETag=ETAG, Content_Range="bytes 9-699999/700000")  # noqa: E731
    server.behaviors["/file.pth"] = [cut(100_000), wrong, whole]
    assert obtain(remote).read_bytes() == CONTENT


def test_the_users_mirrors_come_first_and_may_be_folders(server, tmp_path, monkeypatch):
    folder = tmp_path / "my mirror"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "file.pth").write_bytes(CONTENT)
    monkeypatch.setenv("ZOO_MIRRORS", f"{folder.as_uri()},")
    obtain(RemoteFile("models/file.pth", (server.url(),), SHA256[:8]))
    assert server.requests == []


def test_a_users_mirror_with_wrong_bytes_is_passed_over(remote, tmp_path):
    (tmp_path / "file.pth").write_bytes(b"evil")
    obtain(RemoteFile(remote.path, remote.urls, remote.sha256, also=("file.pth",)), mirrors=[str(tmp_path)])


def test_offline_never_opens_a_socket(remote, tmp_path, monkeypatch):
    def forbidden(*_):
        raise AssertionError("a socket was opened")

    monkeypatch.setenv("ZOO_OFFLINE", "1")
    monkeypatch.setattr("socket.socket.__init__", forbidden)
    monkeypatch.setattr("socket.getaddrinfo", forbidden)
    with pytest.raises(NoNetwork, match=r"no network: .*not in the cache"):
        obtain(remote)
    (tmp_path / "file.pth").write_bytes(CONTENT)
    also = RemoteFile(remote.path, remote.urls, remote.sha256, also=("file.pth",))
    assert obtain(also, mirrors=[str(tmp_path)]).read_bytes() == CONTENT


@pytest.mark.parametrize(("hosts", "kind"), [(1, FetchError), (2, NoNetwork)])
def test_several_hosts_without_an_answer_are_a_missing_network_and_one_is_not(hosts, kind, tmp_path):
    urls = tuple(f"http://host-{number}.invalid/file.pth" for number in range(hosts))
    with pytest.raises(FetchError, match="does not resolve") as error:
        obtain(RemoteFile("models/file.pth", urls, SHA256[:8]), mirrors=[str(tmp_path)])
    assert type(error.value) is kind


def test_a_host_that_answers_is_a_network(server):
    urls = ("http://a.invalid/file.pth", "http://b.invalid/file.pth", server.url("/gone"))
    server.behaviors["/gone"] = [status(404)]
    with pytest.raises(FetchError) as error:
        obtain(RemoteFile("models/file.pth", urls, SHA256[:8]))
    assert type(error.value) is FetchError


def test_the_first_download_locks_the_whole_hash(remote, server, cache):
    obtain(remote).unlink()
    assert lock.read(cache / "zoo.lock")[remote.path].sha256 == SHA256
    # Another file with the same published digits would now be refused. The lock is edited to stand for that.
    other = hashlib.sha256(b"other").hexdigest()
    text = (cache / "zoo.lock").read_text().replace(SHA256, other)
    (cache / "zoo.lock").write_text(text)
    with pytest.raises(FetchError, match=r"zoo\.lock has it"):
        obtain(remote)


def test_a_teams_lock_wins(remote, tmp_path, monkeypatch):
    facts = {"sha256": "0" * 64, "size": len(CONTENT)}
    (tmp_path / "zoo.lock").write_text(json.dumps({"schema": 1, "files": {remote.path: facts}}))
    with pytest.raises(FetchError, match="SHA-256"):
        obtain(remote)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"schema": 2, "files": {}}', '{"schema": 1, "files": {"a": {"sha256": "", "size": 1}}}']
)
def test_a_broken_lock_file_locks_nothing_and_says_so(text, remote, tmp_path):
    (tmp_path / "zoo.lock").write_text(text)
    with pytest.raises(UsageError, match=r"zoo\.lock"):
        obtain(remote)


def test_a_locked_size_refuses_before_downloading(remote, tmp_path, server):
    facts = {"sha256": SHA256, "size": 5}
    (tmp_path / "zoo.lock").write_text(json.dumps({"schema": 1, "files": {remote.path: facts}}))
    with pytest.raises(FetchError, match="700,000 bytes where 5"):
        obtain(remote)


def test_a_full_disk_is_noticed_before_the_download(remote, cache, monkeypatch):
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: os.terminal_size((0, 0)) and _Usage())
    with pytest.raises(FetchError, match="MiB are needed"):
        obtain(remote)
    assert parts(cache) == []


class _Usage:
    free = 1000


def test_a_cache_that_cannot_be_written_is_a_sentence(remote, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file"))
    with pytest.raises(FetchError, match="cannot write"):
        obtain(remote)


def test_a_cache_that_may_only_be_read_is_of_use(remote, cache, server, monkeypatch):
    (cache / "models").mkdir(parents=True)
    (cache / "models" / "file.pth").write_bytes(CONTENT)

    def refuse(*_, **__):
        raise PermissionError("read-only")

    monkeypatch.setattr("zoo.download.cache.atomic_write", refuse)
    assert obtain(remote).read_bytes() == CONTENT and server.requests == []


def test_an_md5_prefix_is_checked_where_it_is_all_that_was_published(server, waits):
    digits = hashlib.md5(CONTENT).hexdigest()[:6]
    assert obtain(RemoteFile("a/model_final.pkl", (server.url(),), md5=digits)).is_file()
    with pytest.raises(FetchError, match="MD5"):
        obtain(RemoteFile("b/model_final.pkl", (server.url(),), md5="000000"))


def test_a_host_that_cannot_be_reached_is_not_asked_for_every_file(server, monkeypatch):
    from zoo.download import fetch_file as module
    from zoo.download.stream import Refusal

    asked = []

    def transfer(url, *_):
        asked.append(url)
        raise Refusal("its name does not resolve", unreachable=True)

    monkeypatch.setattr(module, "transfer", transfer)
    for number in range(3):
        with pytest.raises(FetchError, match="does not resolve"):
            obtain(RemoteFile(f"models/{number}.pth", (f"http://host.invalid/{number}",), "00"))
    assert len(asked) == 1


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/..", "", "a\\b", "c:/x", "a/\0"])
def test_a_path_never_leaves_the_cache(path):
    with pytest.raises(UsageError):
        safe_path(path)


def test_candidates_are_tried_in_order_without_repetition():
    remote = RemoteFile("a/b c.pth", ("https://one/a/b%20c.pth", "https://two/x"), also=("b c.pth",))
    assert list(candidates(remote, ["https://one"])) == [
        "https://one/a/b%20c.pth",
        "https://one/b%20c.pth",
        "https://two/x",
    ]


def test_a_mirror_of_another_kind_is_refused(remote):
    with pytest.raises(UsageError, match="ftp"):
        obtain(remote, mirrors=["ftp://host/"])


def test_known_digests_notice_a_touched_file(remote):
    path = obtain(remote)
    assert cached.known_digest(path).sha256 == SHA256
    path.write_bytes(CONTENT)
    os.utime(path, ns=(1, 1))
    assert cached.known_digest(path) is None
