"""What one host or one answer does wrong costs that host or that answer, and no more than the bytes a file can have."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.zoo.download.conftest import CONTENT, SHA256
from tests.zoo.download.server import ETAG, body, cut, raw, serving, status
from zoo.download import cache as cache_module
from zoo.download import fetch_file, response, transfer
from zoo.download.fetch_file import obtain
from zoo.download.remote_file import RemoteFile
from zoo.download.request import check_redirect
from zoo.download.stream import Refusal
from zoo.errors import FetchError

OK = b"HTTP/1.1 200 OK\r\n"
OTHER = b"x" * len(CONTENT)


@pytest.fixture(autouse=True)
def small_files(monkeypatch, waits):
    """No file of these tests' zoo is larger than two MiB."""
    monkeypatch.setattr(transfer, "LARGEST", 2 * 2**20)


def both(server, behaviors):
    """A file that a first mirror serves as told, and a second one as it should."""
    server.behaviors["/bad"] = behaviors
    return RemoteFile("models/file.pth", (server.url("/bad"), server.url()), SHA256[:8])


def leftovers(cache):
    return [path.name for path in cache.rglob("*.part*")]


def pours(head, blocks=64):
    """A header, and 64 MiB; far more than a file can have, and an end for the test's sake."""

    def behavior(handler):
        handler.wfile.write(head)
        for _ in range(blocks):
            handler.wfile.write(bytes(2**20))
        handler.close_connection = True

    return behavior


def resumed(span):
    """The beginning of the file at first; then a 206 that says `span` of itself."""
    answer = b'HTTP/1.1 206 Partial\r\nETag: "one"\r\nContent-Range: bytes 1000-%b\r\n\r\n' % span
    return [cut(1000), pours(answer)]


HUGE = {
    "a length of 10^15": [raw(OK + b"Content-Length: 1000000000000000\r\n\r\n")],
    "a length of 18 digits": [raw(OK + b"Content-Length: 999999999999999999\r\n\r\n")],
    "a total of 10^12 on a resume": resumed(b"999999999999/1000000000000"),
    "a body without a length": [pours(OK + b"Connection: close\r\n\r\n")],
    "a right 206 without an end": resumed(b"1999/*"),
    "more than was announced": [pours(OK + b"Content-Length: 500\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n")],
}


@pytest.mark.parametrize("behaviors", HUGE.values(), ids=HUGE)
def test_a_mirror_that_claims_or_sends_too_much_is_passed_over(behaviors, server, cache):
    assert obtain(both(server, list(behaviors))).read_bytes() == CONTENT
    assert leftovers(cache) == []


@pytest.mark.parametrize("behaviors", HUGE.values(), ids=HUGE)
def test_no_more_than_a_file_can_have_is_written_and_the_part_is_given_up(behaviors, server, cache):
    server.behaviors["/bad"] = list(behaviors)
    with pytest.raises(FetchError, match="no mirror serves"):
        obtain(RemoteFile("models/file.pth", (server.url("/bad"),), SHA256[:8]))
    assert sum(path.stat().st_size for path in cache.rglob("*.part")) <= transfer.LARGEST


def test_what_one_mirror_announced_bounds_another_that_announces_nothing(server, cache, monkeypatch):
    monkeypatch.setattr(transfer, "LARGEST", 2**40)
    server.behaviors["/first"] = [body(OTHER, ETag=ETAG)]
    server.behaviors["/second"] = [pours(OK + b"Connection: close\r\n\r\n")]
    with pytest.raises(FetchError, match=f"sends more than the {len(CONTENT):,} bytes"):
        obtain(RemoteFile("models/file.pth", (server.url("/first"), server.url("/second")), SHA256[:8]))
    assert leftovers(cache) == []


@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_a_device_or_pipe_in_a_mirror_folder_is_no_file(kind, server, tmp_path):
    folder = tmp_path / "mirror" / "models"
    folder.mkdir(parents=True)
    if kind == "device":
        (folder / "file.pth").symlink_to("/dev/zero")
    else:
        os.mkfifo(folder / "file.pth")
    remote = RemoteFile("models/file.pth", (server.url(),), SHA256[:8])
    assert obtain(remote, [str(tmp_path / "mirror")]).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "date",
    ["Fri, 31 Dec 9999 23:59:59 -2400", "Mon, 01 Jan 0001 00:00:00 +2300", "1e400", "nan", "-5", "never", "\xff"],
)
def test_a_pause_that_no_clock_can_show_is_a_number_all_the_same(date):
    assert response.retry_after(date) >= 0


def test_a_redirect_to_a_dead_port_is_not_the_mirrors_fault(server):
    dead = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n"
    server.behaviors["/bad"] = [raw(dead)]
    with pytest.raises(FetchError, match=r"redirects to 127\.0\.0\.1:1, which refused the connection"):
        obtain(RemoteFile("models/first.pth", (server.url("/bad"),), SHA256[:8]))
    assert obtain(RemoteFile("models/file.pth", (server.url(),), SHA256[:8])).read_bytes() == CONTENT


def test_contradicting_lengths_are_one_files_bad_answer(server):
    server.behaviors["/bad"] = [raw(OK + b"Content-Length: 5\r\nContent-Length: 700000\r\n\r\n", CONTENT)]
    with pytest.raises(FetchError, match="headers that contradict each other"):
        obtain(RemoteFile("models/first.pth", (server.url("/bad"),), SHA256[:8]))
    assert fetch_file.unreachable == {}
    assert obtain(RemoteFile("models/file.pth", (server.url(),), SHA256[:8])).read_bytes() == CONTENT


def test_words_in_an_address_do_not_decide_what_went_wrong(server):
    server.behaviors["/SSL/refused/unreachable"] = [raw(b"")]
    remote = RemoteFile("models/file.pth", (server.url("/SSL/refused/unreachable"),), SHA256[:8])
    with pytest.raises(FetchError, match="broke off the connection"):
        obtain(remote)
    assert fetch_file.unreachable == {}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("https://a.example/x", "http://a.example/x"),
        ("https://a.example/x", "https://a.other/x"),
        ("http://127.0.0.1/x", "http://127.0.0.2/x"),
    ],
)
def test_a_file_without_a_hash_is_not_taken_from_http_or_another_site(source, target):
    with pytest.raises(Refusal, match="no hash of this file is known"):
        check_redirect(source, target)


@pytest.mark.parametrize("target", ["https://a.example/y", "https://cdn.a.example/x"])
def test_a_file_without_a_hash_may_move_within_its_site(target):
    check_redirect("https://files.a.example/x", target)


def test_a_log_is_not_followed_to_another_host_but_a_published_file_is(server):
    with serving(CONTENT) as other:
        away = other.url().replace("127.0.0.1", "localhost")
        server.behaviors["/moved"] = [status(302, Location=away)]
        with pytest.raises(FetchError, match="another site"):
            obtain(RemoteFile("logs/file.log", (server.url("/moved"),), None))
        assert obtain(RemoteFile("models/file.pth", (server.url("/moved"),), SHA256[:8])).read_bytes() == CONTENT


def test_wrong_bytes_once_are_asked_for_once_more(server):
    server.behaviors["/flaky"] = [body(OTHER, ETag=ETAG), body(CONTENT, ETag=ETAG)]
    assert obtain(RemoteFile("models/file.pth", (server.url("/flaky"),), SHA256[:8])).read_bytes() == CONTENT


def test_wrong_bytes_twice_are_a_reason_to_ask_another_mirror(server, cache):
    assert obtain(both(server, [body(OTHER, ETag=ETAG)])).read_bytes() == CONTENT
    assert len([path for _, path, _ in server.requests if path == "/bad"]) == 2


DAMAGED = [
    b"",
    b"null",
    b"[]",
    b"5",
    b'"x"',
    b"{",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"url": 5, "validator": ["a"], "total": "x"}',
]


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_note_is_as_good_as_none(text, server, remote, cache):
    path = cache_module.location(remote)
    path.parent.mkdir(parents=True)
    part = fetch_file.partial_download(path, alone=True)
    part.path.write_bytes(CONTENT[:1000])
    part.facts_file.write_bytes(text)
    assert obtain(remote).read_bytes() == CONTENT


def test_a_note_cannot_smuggle_a_header_into_the_request(server, remote, cache):
    path = cache_module.location(remote)
    path.parent.mkdir(parents=True)
    part = fetch_file.partial_download(path, alone=True)
    part.path.write_bytes(CONTENT[:1000])
    part.facts_file.write_text(json.dumps({"url": server.url(), "validator": "x\r\nEvil: 1", "total": 700_000}))
    assert obtain(remote).read_bytes() == CONTENT
    assert all("Evil" not in headers for headers in server.gets())


SCRIPT = """
import resource, sys
from zoo.download.fetch_file import obtain
from zoo.download.remote_file import RemoteFile
from zoo.errors import FetchError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    obtain(RemoteFile("models/file.pth", (sys.argv[1],), sys.argv[2]))
except FetchError as error:
    print(error)
"""


def test_a_limit_on_file_sizes_is_one_sentence_and_leaves_no_temporary_file(server, cache):
    command = [sys.executable, "-c", SCRIPT, server.url(), SHA256[:8]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=sys.path[0] or ".")
    assert done.returncode == 0 and "cannot write" in done.stdout and "Traceback" not in done.stderr, done.stderr
    assert [path.name for path in cache.rglob("*.tmp")] == []


def test_the_sentence_about_space_names_the_reserve(server, remote, monkeypatch):
    monkeypatch.setattr("zoo.download.transfer.shutil.disk_usage", lambda _: type("U", (), {"free": 2**20}))
    with pytest.raises(FetchError, match=r"1 MiB and a reserve of 64 MiB are needed in .*, but only 1 MiB are free"):
        obtain(remote)
